// Conv, ConvInteger, ConvTranspose, CausalConvWithState
#include <algorithm>

#include "lower/contraction.h"
#include "lower/contraction_ops.h"
#include "lower/helpers.h"
#include "lower/pooling_window.h"

namespace onrush {
namespace {

// The kernel's extents, which the attribute kernel_shape may repeat.
std::vector<int64_t> kernel_size(const OpContext& c, NodeId w) {
  std::vector<int64_t> size;
  for (int i = 2; i < c.b.rank(w); ++i) size.push_back(fix(c.b.shape(w)[i], "kernel size"));
  const auto given = c.ints("kernel_shape");
  c.require(!given || given->empty() || *given == size,
            "attribute 'kernel_shape' differs from the shape of the weights");
  return size;
}

int64_t group_count(const OpContext& c) {
  const int64_t groups = c.attr("group", int64_t{1});
  c.require(groups > 0, "attribute 'group' must be positive");
  return groups;
}

NodeId add_bias(const OpContext& c, NodeId y, int input) {
  return c.has(input) ? c.b.add(y, c.in(input)) : y;
}

void check_channels(const OpContext& c, Dim have, Dim expected) {
  if (!decide(equal(have, expected), "channels of a convolution"))
    c.fail(fmt::format("the input has {} channels, the weights are for {}", have.value(),
                       expected.value()));
}

// Padding of one axis of a transposed convolution: what is cut from the full result.
struct Cut {
  Dim low, high;
};

// `full`: the extent without cuts, output_padding included.
Cut transposed_cut(const OpContext& c, int axis, Dim full, Dim extent, int64_t stride) {
  const std::string mode = c.attr("auto_pad", "NOTSET");
  const bool same_size = mode == "SAME_UPPER" || mode == "SAME_LOWER";
  const auto shape = c.ints("output_shape");
  if (!same_size && !shape) {
    const int axes = c.rank(0) - 2;
    const auto pads = list_attr(c, "pads", 2 * axes, 0);
    return {pads[axis], pads[axes + axis]};
  }
  c.require(!shape || static_cast<int>(shape->size()) >= c.rank(0) - 2,
            "attribute 'output_shape' must have one entry a spatial axis");
  // Some exporters write N and C too.
  const Dim target =
      shape ? Dim((*shape)[shape->size() - (c.rank(0) - 2) + axis]) : extent * stride;
  const Dim total = full - target;
  if (decide(less(total, 0), "ConvTranspose: the result is larger than what it covers"))
    return {0, total};
  const Dim half = floordiv(total, 2);
  return mode == "SAME_UPPER" ? Cut{half, total - half} : Cut{total - half, half};
}

// Weights [C, M / g, kernel...] as those of the equivalent convolution, channels last and turned
// round: [M, kernel..., C / g].
NodeId transposed_weights(Builder& b, NodeId w, int64_t groups) {
  const Dims shape = b.shape(w);
  const int axes = b.rank(w) - 2;
  const Dim inputs = floordiv(shape[0], groups);
  Dims split = {groups, inputs}, merged = {shape[1] * groups}, start(2 + axes, Dim(0));
  std::vector<int64_t> step(2 + axes, 1);
  for (int i = 0; i < axes; ++i) {
    merged.push_back(shape[2 + i]);
    start[1 + i] = shape[2 + i] - 1;
    step[1 + i] = -1;
  }
  merged.push_back(inputs);
  split.insert(split.end(), shape.begin() + 1, shape.end());
  Axes order = axis_range(0, 3 + axes);
  std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  const NodeId grouped = b.transpose(b.reshape(w, split), order);
  return b.slice(b.reshape(grouped, merged), start, step, merged);
}

}  // namespace

Convolution convolution(const OpContext& c, NodeId x, NodeId w, DType result) {
  Builder& b = c.b;
  const Dims extents = spatial_extents(c, x);
  const int axes = static_cast<int>(extents.size());
  c.require(b.rank(w) == b.rank(x), "input and weights must have one rank");
  const int64_t groups = group_count(c);
  check_channels(c, b.shape(x)[1], b.shape(w)[1] * groups);
  c.require(decide(divisible(b.shape(w)[0], groups), "groups of a convolution"),
            "the number of output channels must be a multiple of 'group'");
  SlidingWindow window = sliding_window(c, kernel_size(c, w), extents);
  require_fit(c, window, extents);
  return {to_channels_last(b, x),
          to_channels_last(b, w),
          {std::move(window.stride), std::move(window.dilation), std::vector<int64_t>(axes, 1),
           std::move(window.low), std::move(window.high), groups, result}};
}

NodeId convolve(const OpContext& c, NodeId x, NodeId w, DType result) {
  Convolution conv = convolution(c, x, w, result);
  return c.b.conv(conv.x, conv.w, std::move(conv.attr));
}

Results lower_conv(OpContext& c) {
  c.require(c.dtype(0) == c.dtype(1), "input and weights must have one element type");
  const NodeId y = convolve(c, c.in(0), c.in(1), c.dtype(0));
  return to_channels_first(c.b, add_bias(c, y, 2));
}

Results lower_conv_integer(OpContext& c) {
  return to_channels_first(c.b, integer_convolve(c, c.in(0), c.maybe(2), c.in(1), c.maybe(3)));
}

// A convolution of x with `stride` - 1 zeros between its elements by the kernel turned round.
Results lower_conv_transpose(OpContext& c) {
  Builder& b = c.b;
  c.require(c.dtype(0) == c.dtype(1), "input and weights must have one element type");
  const Dims extents = spatial_extents(c, c.in(0));
  const int axes = static_cast<int>(extents.size());
  c.require(c.rank(1) == c.rank(0), "input and weights must have one rank");
  check_channels(c, c.shape(0)[1], c.shape(1)[0]);
  const auto size = kernel_size(c, c.in(1));
  const auto stride = list_attr(c, "strides", axes, 1);
  const auto dilation = list_attr(c, "dilations", axes, 1);
  const auto extra = list_attr(c, "output_padding", axes, 0);
  const int64_t groups = group_count(c);
  c.require(decide(divisible(c.shape(0)[1], groups), "groups of a convolution"),
            "the number of input channels must be a multiple of 'group'");
  const NodeId w = transposed_weights(b, c.in(1), groups);
  ConvAttr attr{std::vector<int64_t>(axes, 1), dilation, stride, {}, {}, groups, c.dtype(0)};
  // The primitive's padding is not negative; a cut beyond the kernel's reach is made afterwards.
  Dims start(axes + 2, Dim(0)), high(axes + 2, Dim(0));
  for (int i = 0; i < axes; ++i) {
    const Dim reach = (size[i] - 1) * dilation[i];
    const Dim full = (extents[i] - 1) * stride[i] + 1 + reach + extra[i];
    const Cut cut = transposed_cut(c, i, full, extents[i], stride[i]);
    const Dim low = reach - cut.low;
    high[1 + i] = reach - cut.high + extra[i];
    const bool cut_low = decide(less(low, 0), "ConvTranspose: padding beyond the kernel");
    const bool cut_high = decide(less(high[1 + i], 0), "ConvTranspose: padding beyond the kernel");
    attr.low.push_back(cut_low ? Dim(0) : low);
    attr.high.push_back(cut_high ? Dim(0) : high[1 + i]);
    start[1 + i] = attr.low.back() - low;
    high[1 + i] = attr.high.back() - high[1 + i];
  }
  NodeId y = b.conv(to_channels_last(b, c.in(0)), w, std::move(attr));
  Dims shape = b.shape(y);
  for (size_t i = 0; i < shape.size(); ++i) shape[i] = shape[i] - start[i] - high[i];
  y = b.slice(y, std::move(start), std::vector<int64_t>(axes + 2, 1), std::move(shape));
  return to_channels_first(b, add_bias(c, y, 2));
}

Results lower_causal_conv_with_state(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) == 3 && c.rank(1) == 3, "input and weights must have rank 3");
  const Dim channels = c.shape(0)[1], length = c.shape(0)[2];
  check_channels(c, channels, c.shape(1)[0]);
  check_channels(c, c.shape(1)[1], 1);
  const int64_t groups = fix(channels, "a depthwise convolution");
  const int64_t past = fix(c.shape(1)[2], "kernel size") - 1;
  NodeId x = c.in(0);
  if (c.has(3)) {
    const NodeId parts[] = {c.in(3), x};
    x = b.concat(parts, 2);
  } else {
    x = b.pad(x, b.like(x, 0), {0, 0, past}, {0, 0, 0});
  }
  NodeId y = b.conv(to_channels_last(b, x), to_channels_last(b, c.in(1)),
                    {{1}, {1}, {1}, {0}, {0}, groups, c.dtype(0)});
  y = to_channels_first(b, add_bias(c, y, 2));
  const std::string activation = c.attr("activation", "none");
  c.require(activation == "none" || activation == "silu" || activation == "swish",
            "attribute 'activation' must be none, silu or swish");
  if (activation != "none") {
    const NodeId wide_y = widen(b, y);
    y = b.cast(b.mul(wide_y, b.unary(Op::sigmoid, wide_y)), c.dtype(0));
  }
  return {y, b.slice_axis(x, 2, length, past)};
}

}  // namespace onrush
