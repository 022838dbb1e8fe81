// What follows a contraction, where that is a sum.
#pragma once

#include <optional>
#include <vector>

#include "codegen/loops.h"

namespace onrush {

// activation(scale * sum of products + terms), stored once.
struct LinearEpilogue {
  double scale = 1;
  std::vector<const LoadValue*> terms;  // of the loops; read in place, without bounds
  bool relu = false;
};

// Nothing where the epilogue is more than that.
std::optional<LinearEpilogue> as_linear(const Loops& epilogue);

}  // namespace onrush
