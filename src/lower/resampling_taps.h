// Reading tensors between their elements: sums of weighted gathers.
#pragma once

#include <optional>
#include <vector>

#include "lower/op_context.h"

namespace onrush {

// One element that a sample along an axis reads.
struct Tap {
  NodeId index;                  // i64, in range
  std::optional<NodeId> weight;  // absent: 1, and the element keeps its dtype
  std::optional<NodeId> inside;  // boolean; where false the element counts as zero
};
using Taps = std::vector<Tap>;

// What stands beyond the ends of an axis.
enum class Outside { zero, edge };

// The element at an integral position (float, of any value).
Tap tap_at(Builder& b, NodeId position, std::optional<NodeId> weight, Dim extent, Outside outside);
// The two neighbours of `position` by their distance.
Taps linear_taps(Builder& b, NodeId position, Dim extent, Outside outside);

// Keys' cubic convolution kernel with parameter a at a distance from 0 to 1, and from 1 to 2.
NodeId cubic_inner(Builder& b, NodeId distance, double a);
NodeId cubic_outer(Builder& b, NodeId distance, double a);

// Samples `data` at the product of taps[0] x taps[1] x ...; `source` as in gather: the index
// operands are the axes' taps, then `others`. Weighted elements are combined by `combine` (add or
// max) in the weights' dtype.
NodeId sample(Builder& b, NodeId data, const std::vector<int>& source,
              const std::vector<Taps>& taps, const std::vector<NodeId>& others, const Dims& shape,
              Op combine = Op::add);

// The float dtype that samples of `dtype` are weighted in.
DType weight_dtype(DType dtype);

}  // namespace onrush
