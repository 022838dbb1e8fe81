#include "lower/pooling_window.h"

#include <algorithm>

#include "lower/helpers.h"

namespace onrush {
namespace {

enum class AutoPad { explicit_pads, valid, same_upper, same_lower };

AutoPad auto_pad(const OpContext& c) {
  const std::string mode = c.attr("auto_pad", "NOTSET");
  if (mode == "NOTSET" || mode.empty()) return AutoPad::explicit_pads;
  if (mode == "VALID") return AutoPad::valid;
  if (mode == "SAME_UPPER") return AutoPad::same_upper;
  if (mode == "SAME_LOWER") return AutoPad::same_lower;
  c.fail("attribute 'auto_pad' must be NOTSET, VALID, SAME_UPPER or SAME_LOWER");
}

// The padding that makes ceil(extent / stride) windows, split as evenly as can be.
struct Padding {
  Dim low, high;
};

Padding same_padding(Dim extent, int64_t span, int64_t stride, bool more_below) {
  const Dim total = max(span - 1 - mod(extent - 1, stride), 0);
  const Dim half = floordiv(total, 2);
  const Dim low = more_below ? total - half : half;
  // Where the windows overlap, the same total in terms of the number of windows: so the result's
  // extent is found to be just that.
  const Dim windows = ceildiv(extent, stride);
  return {low, (span >= stride ? (windows - 1) * stride + span - extent : total) - low};
}

}  // namespace

std::vector<int64_t> list_attr(const OpContext& c, std::string_view name, int count,
                               int64_t otherwise) {
  auto values = c.ints(name);
  if (!values || values->empty()) return std::vector<int64_t>(count, otherwise);
  if (static_cast<int>(values->size()) != count)
    c.fail(fmt::format("attribute '{}' must have {} entries, not {}", name, count, values->size()));
  return std::move(*values);
}

SlidingWindow sliding_window(const OpContext& c, std::vector<int64_t> size, const Dims& extents) {
  const int axes = static_cast<int>(extents.size());
  c.require(static_cast<int>(size.size()) == axes, "the kernel must have one size a spatial axis");
  SlidingWindow w{std::move(size),
                  list_attr(c, "strides", axes, 1),
                  list_attr(c, "dilations", axes, 1),
                  {},
                  {}};
  const auto positive = [](int64_t x) { return x > 0; };
  c.require(std::ranges::all_of(w.size, positive) && std::ranges::all_of(w.stride, positive) &&
                std::ranges::all_of(w.dilation, positive),
            "kernel sizes, strides and dilations must be positive");
  const AutoPad mode = auto_pad(c);
  if (mode == AutoPad::explicit_pads) {
    const auto pads = list_attr(c, "pads", 2 * axes, 0);
    w.low.assign(pads.begin(), pads.begin() + axes);
    w.high.assign(pads.begin() + axes, pads.end());
    return w;
  }
  for (int i = 0; i < axes; ++i) {
    const Padding padding =
        mode == AutoPad::valid
            ? Padding{0, 0}
            : same_padding(extents[i], w.span(i), w.stride[i], mode == AutoPad::same_lower);
    w.low.push_back(padding.low);
    w.high.push_back(padding.high);
  }
  return w;
}

void require_fit(const OpContext& c, const SlidingWindow& w, const Dims& extents) {
  for (int i = 0; i < w.axes(); ++i)
    if (!decide(less_equal(w.span(i), extents[i] + w.low[i] + w.high[i]), "the window fits"))
      c.fail(fmt::format("a window over {} elements does not fit in spatial axis {} of extent {}",
                         w.span(i), i, extents[i].value()));
}

Dims spatial_extents(const OpContext& c, NodeId x) {
  const Dims& shape = c.b.shape(x);
  c.require(shape.size() >= 3, "the input must be [N, C, spatial...]");
  return {shape.begin() + 2, shape.end()};
}

NodeId to_channels_last(Builder& b, NodeId x) {
  Axes order = axis_range(0, b.rank(x));
  std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  return b.transpose(x, std::move(order));
}

NodeId to_channels_first(Builder& b, NodeId x) {
  Axes order = axis_range(0, b.rank(x));
  std::rotate(order.begin() + 1, order.end() - 1, order.end());
  return b.transpose(x, std::move(order));
}

}  // namespace onrush
