// A loop whose trips are runs of a plan of its body.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace onrush::cpu {

class CpuLoop {
 public:
  // `body` gives one trip, with the inputs and outputs that LoopAttr says.
  CpuLoop(const Node& loop, std::shared_ptr<const Binding> body, const SizeTable& sizes);

  // Operands that the body does not read may be null. Gives the parts of the loop's result.
  std::vector<Tensor> run(RunState& state, std::span<const Tensor> operands) const;

 private:
  struct Part {
    DType dtype;
    Shape shape;
  };

  std::shared_ptr<const Binding> body_;
  int64_t trips_;
  size_t carried_, scanned_;
  bool reverse_;
  std::vector<Part> parts_;
};

// Whether a trip's elements of the loop's operands and results can be read and written where they
// lie: no text, and none of less than a byte.
bool can_run_in_place(const Graph& graph, const Node& loop);

}  // namespace onrush::cpu
