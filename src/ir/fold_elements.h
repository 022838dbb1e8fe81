// Shape arithmetic: primitives evaluated over small integer tensors whose elements are dims.
#pragma once

#include <optional>
#include <span>

#include "ir/graph.h"

namespace onrush {

// A small tensor by its elements, row-major.
struct ElementTensor {
  Dims elements;
  Shape shape;
};

// Most elements of a tensor that is folded as dims.
inline constexpr int64_t kMaxFoldedElements = 256;

// Elements of `node` over the operands; nullopt where they cannot be expressed. Comparisons and
// integer divisions may record guards.
std::optional<Dims> fold_elements(const Node& node, std::span<const ElementTensor> operands,
                                  const Shape& result_shape);

}  // namespace onrush
