// A reshape as independent splits and merges of axes.
#pragma once

#include <optional>
#include <vector>

#include "ir/graph.h"

namespace onrush {

// These axes of the operand hold the elements of these axes of the result, in order.
struct AxisBlock {
  Axes from, to;
};

// The finest division, in order. Axes of extent 1 belong to no block, except where a whole side of
// one consists of them. Nullopt where sizes do not tell.
std::optional<std::vector<AxisBlock>> axis_blocks(const Dims& from, const Dims& to);

// A reshape as splits of axes followed by merges of neighbours.
struct SplitAndMerge {
  Dims split;  // the shape in between
  std::vector<Axes>
      merged;  // for each axis of the result, those that it is made of; none: extent 1
};
std::optional<SplitAndMerge> split_and_merge(const Dims& from, const Dims& to);

// The reshape from -> to of something that has extent 1 along some axes of `from`: the shape with
// extent 1 along the corresponding axes of `to`. Nullopt where `narrow` has extent 1 along a part
// of a block only.
std::optional<Dims> narrow_reshape(const Dims& from, const Dims& to, const Dims& narrow);

}  // namespace onrush
