// Sizes computed in floating point: small float tensors whose elements are constants, or what
// arithmetic with constants makes of a dim (Cast to float, Mul by a scale, Floor, Cast to int64).
#pragma once

#include <functional>
#include <optional>

#include "ir/graph.h"

namespace onrush {

// Elements of a small integer tensor, if they are known as dims.
using IntegerElements = std::function<std::optional<Dims>(NodeId)>;

// The elements of a cast of such a tensor to i32 or i64; nullopt if it is none.
std::optional<Dims> fold_float_cast(const Graph& graph, const Node& cast,
                                    const IntegerElements& integers);

}  // namespace onrush
