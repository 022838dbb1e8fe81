// Resize and Upsample: whole-number nearest ones as movement, others axis by axis.
#include <algorithm>

#include "lower/helpers.h"
#include "lower/pooling_window.h"
#include "lower/resampling_axis.h"
#include "lower/resampling_ops.h"

namespace onrush {
namespace {

ResizeMode::Kind kind_of(const OpContext& c) {
  const std::string mode = c.attr("mode", "nearest");
  if (mode == "nearest") return ResizeMode::Kind::nearest;
  if (mode == "linear" || mode == "bilinear") return ResizeMode::Kind::linear;
  if (mode == "cubic") return ResizeMode::Kind::cubic;
  c.fail("attribute 'mode' must be nearest, linear or cubic");
}

// Upsample and the first Resize scale from the corner and round down.
ResizeMode resize_mode(const OpContext& c) {
  ResizeMode mode;
  mode.kind = kind_of(c);
  if (c.opset() < 11) return mode;
  mode.coordinates = c.attr("coordinate_transformation_mode", "half_pixel");
  mode.rounding = c.attr("nearest_mode", "round_prefer_floor");
  mode.cubic_a = c.attr("cubic_coeff_a", -0.75f);
  mode.antialias = c.attr("antialias", 0) != 0;
  mode.exclude_outside = c.attr("exclude_outside", 0) != 0;
  mode.extrapolation = c.attr("extrapolation_value", 0.f);
  c.require(!mode.antialias || mode.kind != ResizeMode::Kind::nearest,
            "'antialias' is for the linear and cubic modes");
  return mode;
}

bool has_elements(const OpContext& c, int input) {
  return c.has(input) && !same(product(c.shape(input)), 0);
}

std::vector<float> scale_values(const OpContext& c, int input) {
  const Tensor scales = c.value_of(c.in(input));
  c.require(scales.dtype() == DType::f32, "scales must be float");
  const auto values = scales.as<float>();
  return {values.begin(), values.end()};
}

std::vector<ResizeAxis> by_scales(const OpContext& c, const std::vector<int>& axes,
                                  const std::vector<float>& scales) {
  c.require(scales.size() == axes.size(), "there must be one scale an axis");
  std::vector<ResizeAxis> result;
  for (size_t i = 0; i < axes.size(); ++i) {
    c.require(scales[i] > 0, "a scale must be positive");
    const Dim in = c.shape(0)[axes[i]];
    result.push_back(
        {axes[i], in, floor_scaled(in, scales[i]), ResizeScale::number(scales[i]), {}, {}});
  }
  return result;
}

std::vector<ResizeAxis> by_sizes(const OpContext& c, const std::vector<int>& axes,
                                 const Dims& sizes) {
  c.require(sizes.size() == axes.size(), "there must be one size an axis");
  std::vector<ResizeAxis> result;
  for (size_t i = 0; i < axes.size(); ++i) {
    const Dim in = c.shape(0)[axes[i]];
    c.require(decide(less_equal(0, sizes[i]), "Resize"), "a size must not be negative");
    result.push_back({axes[i], in, sizes[i], ResizeScale::quotient(sizes[i], in), {}, {}});
  }
  const std::string policy = c.attr("keep_aspect_ratio_policy", "stretch");
  if (policy == "stretch" || result.empty()) return result;
  c.require(policy == "not_larger" || policy == "not_smaller",
            "attribute 'keep_aspect_ratio_policy' must be stretch, not_larger or not_smaller");
  // One scale for all: the least (or greatest) quotient; halves round up.
  ResizeScale common = result[0].scale;
  for (const ResizeAxis& axis : result) {
    const ResizeScale& s = axis.scale;
    const bool smaller = decide(
        less(s.numerator * common.denominator, common.numerator * s.denominator), "Resize: scale");
    const bool differs = !decide(
        equal(s.numerator * common.denominator, common.numerator * s.denominator), "Resize: scale");
    if (differs && smaller == (policy == "not_larger")) common = s;
  }
  for (ResizeAxis& axis : result) {
    axis.scale = common;
    axis.out =
        floordiv(2 * axis.in * common.numerator + common.denominator, 2 * common.denominator);
  }
  return result;
}

// roi: all starts, then all ends, in the order of the axes.
void set_regions(const OpContext& c, std::vector<ResizeAxis>& axes) {
  Builder& b = c.b;
  const NodeId roi = b.cast(c.in(1), DType::f32);
  const auto element = [&](size_t i) {
    return b.reshape(b.slice_axis(roi, 0, static_cast<int64_t>(i), 1), {});
  };
  c.require(c.rank(1) == 1 &&
                decide(equal(c.shape(1)[0], static_cast<int64_t>(2 * axes.size())), "Resize: roi"),
            "roi must have a start and an end for each axis");
  for (size_t i = 0; i < axes.size(); ++i) {
    axes[i].roi_start = element(i);
    axes[i].roi_end = element(axes.size() + i);
  }
}

// Every element of x times[i] times in a row along axis i.
NodeId repeat_elements(Builder& b, NodeId x, const std::vector<int64_t>& times) {
  Dims split, repeated, merged;
  for (size_t i = 0; i < times.size(); ++i) {
    const Dim extent = b.shape(x)[i];
    split.push_back(extent);
    repeated.push_back(extent);
    merged.push_back(extent * times[i]);
    if (times[i] == 1) continue;
    split.push_back(1);
    repeated.push_back(times[i]);
  }
  return b.reshape(b.broadcast(b.reshape(x, split), repeated), merged);
}

// Interpolated values as elements of `dtype`: integers round to nearest even and saturate.
NodeId to_elements(Builder& b, NodeId x, DType dtype) {
  if (b.dtype(x) == dtype || is_float(dtype)) return b.cast(x, dtype);
  const int width = bits(dtype) - (is_signed_integer(dtype) ? 1 : 0);
  const double high = std::ldexp(1.0, width) - 1, low = is_signed_integer(dtype) ? -high - 1 : 0;
  const NodeId rounded = b.unary(Op::round, x);
  return b.cast(b.min(b.max(rounded, b.like(x, low)), b.like(x, high)), dtype);
}

NodeId resize(const OpContext& c, std::vector<ResizeAxis> axes) {
  Builder& b = c.b;
  const ResizeMode mode = resize_mode(c);
  if (mode.coordinates == "tf_crop_and_resize") set_regions(c, axes);
  std::erase_if(axes, [](const ResizeAxis& axis) { return axis.is_identity(); });
  // Images are resized channels last, as convolutions see them.
  const bool image = c.rank(0) >= 3 && std::ranges::all_of(axes, [](const ResizeAxis& axis) {
                       return axis.axis >= 2;
                     });
  NodeId x = image ? to_channels_last(b, c.in(0)) : c.in(0);
  std::vector<int64_t> times(c.rank(0), 1);
  std::vector<ResizeAxis> others;
  for (ResizeAxis& axis : axes) {
    if (image) --axis.axis;
    if (const auto repeats = nearest_repeats(mode, axis)) times[axis.axis] = *repeats;
    else others.push_back(axis);
  }
  x = repeat_elements(b, x, times);
  for (const ResizeAxis& axis : others) x = resize_axis(c, x, mode, axis);
  x = to_elements(b, x, c.dtype(0));
  return image ? to_channels_first(b, x) : x;
}

}  // namespace

Results lower_resize(OpContext& c) {
  std::vector<int> axes = axis_range(0, c.rank(0));
  if (const auto given = c.ints("axes")) {
    axes.clear();
    for (int64_t axis : *given) axes.push_back(c.axis(axis, c.rank(0)));
  }
  const int scales = c.opset() < 11 ? 1 : 2;
  if (has_elements(c, scales)) return resize(c, by_scales(c, axes, scale_values(c, scales)));
  c.require(c.has(3), "Resize needs scales or sizes");
  return resize(c, by_sizes(c, axes, c.dims_of(c.in(3))));
}

Results lower_upsample(OpContext& c) {
  std::vector<float> scales;
  if (c.opset() >= 9) {
    scales = scale_values(c, 1);
  } else if (c.opset() >= 7) {
    scales = c.floats("scales").value_or(scales);
  } else {
    scales = {1, 1, c.attr("height_scale", 0.f), c.attr("width_scale", 0.f)};
  }
  return resize(c, by_scales(c, axis_range(0, c.rank(0)), scales));
}

}  // namespace onrush
