// The sliding window of convolutions and poolings, from ONNX's attributes.
#pragma once

#include <vector>

#include "lower/op_context.h"

namespace onrush {

// One entry a spatial axis.
struct SlidingWindow {
  std::vector<int64_t> size, stride, dilation;
  Dims low, high;  // padding

  int axes() const { return static_cast<int>(size.size()); }
  // Elements from the first to the last that a window sees.
  int64_t span(int axis) const { return (size[axis] - 1) * dilation[axis] + 1; }
};

// Reads strides, dilations, pads and auto_pad for an input with these spatial extents.
SlidingWindow sliding_window(const OpContext& c, std::vector<int64_t> size, const Dims& extents);

// Fails unless a window is no longer than the padded input.
void require_fit(const OpContext& c, const SlidingWindow& w, const Dims& extents);

// A list attribute of `count` entries, each `otherwise` if it is absent.
std::vector<int64_t> list_attr(const OpContext& c, std::string_view name, int count,
                               int64_t otherwise);

Dims spatial_extents(const OpContext& c, NodeId x);  // those of [N, C, spatial...]

// [N, C, spatial...] to [N, spatial..., C] and back.
NodeId to_channels_last(Builder& b, NodeId x);
NodeId to_channels_first(Builder& b, NodeId x);

}  // namespace onrush
