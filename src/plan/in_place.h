// Results that may take the memory of an operand.
#pragma once

#include <optional>

#include "plan/steps.h"

namespace onrush {

// The operand, in memory as `storage` says, that an elementwise step may write its result over if
// nobody reads it later: each element is read where it is written, and nowhere else.
std::optional<NodeId> operand_in_place(const Step& step, std::span<const DType> storage);

}  // namespace onrush
