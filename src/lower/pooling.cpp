// MaxPool, AveragePool, LpPool, the global ones, MaxUnpool, MaxRoiPool. Windows slide over channels
// last, as convolutions do, so that the transposes between them cancel.
#include <cmath>

#include "lower/helpers.h"
#include "lower/op_table.h"
#include "lower/pooling_window.h"

namespace onrush {
namespace {

struct Pooling {
  SlidingWindow window;
  // What ceil_mode adds after the padding to let a last, partial window in.
  Dims overhang;
};

// Windows that start in the padding after the input are left out.
Dim overhang(const SlidingWindow& w, int axis, Dim extent) {
  const int64_t stride = w.stride[axis];
  const Dim room = extent + w.low[axis] + w.high[axis] - w.span(axis);  // of the first window
  const Dim last_start = room + mod(0 - room, stride);
  if (!decide(less(last_start, extent + w.low[axis]), "ceil_mode: the last window starts inside"))
    return 0;
  return ceildiv(room, stride) * stride - room;  // keeps the result's extent plain
}

Pooling pooling(const OpContext& c) {
  const Dims extents = spatial_extents(c, c.in(0));
  auto kernel = c.ints("kernel_shape");
  c.require(kernel.has_value(), "attribute 'kernel_shape' is missing");
  Pooling p{sliding_window(c, std::move(*kernel), extents), Dims(extents.size(), Dim(0))};
  if (c.attr("ceil_mode", 0) == 0) {
    require_fit(c, p.window, extents);
  } else if (c.attr("auto_pad", "NOTSET") == "NOTSET") {
    for (int i = 0; i < p.window.axes(); ++i) p.overhang[i] = overhang(p.window, i, extents[i]);
  }
  return p;
}

// The window over [N, spatial..., C].
WindowAttr window_attr(ReduceKind kind, const Pooling& p) {
  const SlidingWindow& w = p.window;
  WindowAttr attr{kind, {1}, {1}, {1}, {0}, {0}};
  for (int i = 0; i < w.axes(); ++i) {
    attr.size.push_back(w.size[i]);
    attr.stride.push_back(w.stride[i]);
    attr.dilation.push_back(w.dilation[i]);
    attr.low.push_back(w.low[i]);
    attr.high.push_back(w.high[i] + p.overhang[i]);
  }
  for (auto* list : {&attr.size, &attr.stride, &attr.dilation}) list->push_back(1);
  for (auto* list : {&attr.low, &attr.high}) list->push_back(0);
  return attr;
}

// How many elements each window sees, over [1, spatial..., 1]; `padding` counts as elements.
NodeId window_counts(Builder& b, DType dtype, const Pooling& p, const Dims& extents, bool padding) {
  const WindowAttr all = window_attr(ReduceKind::sum, p);
  const int rank = static_cast<int>(all.size.size());
  NodeId counts = b.scalar(dtype, 1);
  for (int axis = 1; axis + 1 < rank; ++axis) {
    const std::vector<int64_t> ones(rank, 1);
    WindowAttr attr{ReduceKind::sum, ones, ones, ones, Dims(rank, Dim(0)), Dims(rank, Dim(0))};
    attr.size[axis] = all.size[axis];
    attr.stride[axis] = all.stride[axis];
    attr.dilation[axis] = all.dilation[axis];
    Dims line(rank, Dim(1));
    line[axis] = extents[axis - 1];
    attr.low[axis] = all.low[axis];
    attr.high[axis] = all.high[axis];
    if (padding) {
      line[axis] = line[axis] + p.window.low[axis - 1] + p.window.high[axis - 1];
      attr.low[axis] = 0;
      attr.high[axis] = p.overhang[axis - 1];
    }
    const bool whole = same(attr.low[axis], 0) && same(attr.high[axis], 0);
    counts = b.mul(
        counts, whole ? b.scalar(dtype, attr.size[axis]) : b.window(full(b, dtype, 1, line), attr));
  }
  return counts;
}

// The flat index into the input of the greatest element of each window.
NodeId argmax_positions(Builder& b, NodeId x, const Pooling& p, const Dims& shape, bool by_column) {
  const SlidingWindow& w = p.window;
  NodeId place = b.window(x, window_attr(ReduceKind::argmax, p));
  const Dims out = b.shape(place);
  const int rank = static_cast<int>(out.size());
  const auto along = [&](int axis) {
    Dims line(rank, Dim(1));
    line[axis] = out[axis];
    return b.iota(DType::i64, line, axis);
  };
  const auto scaled = [&](NodeId a, Dim factor) {
    return b.mul(a, dim_scalar(b, DType::i64, factor));
  };
  // `place` counts the window's elements row-major: the last axis is its remainder.
  NodeId flat = b.add(scaled(along(0), shape[1]), along(rank - 1));  // n * C + c
  for (int i = 0; i < w.axes(); ++i) flat = scaled(flat, shape[2 + i]);
  Dim step = 1;
  std::vector<Dim> steps(w.axes());
  for (int k = 0; k < w.axes(); ++k) {
    const int i = by_column ? k : w.axes() - 1 - k;
    steps[i] = step;
    step = step * shape[2 + i];
  }
  for (int i = w.axes(); i-- > 0;) {
    const NodeId inside = b.binary(Op::rem, place, b.like(place, w.size[i]));
    place = b.div(place, b.like(place, w.size[i]));
    const NodeId position =
        b.sub(b.add(scaled(along(1 + i), w.stride[i]), scaled(inside, w.dilation[i])),
              dim_scalar(b, DType::i64, w.low[i]));
    flat = b.add(flat, scaled(position, steps[i]));
  }
  return flat;
}

Results lower_max_pool(OpContext& c) {
  const Pooling p = pooling(c);
  const Dims shape = c.shape(0);
  const NodeId x = to_channels_last(c.b, c.in(0));
  std::vector<Lowered> results;
  results.emplace_back(to_channels_first(c.b, c.b.window(x, window_attr(ReduceKind::max, p))));
  if (c.wants_output(1)) {
    const bool by_column = c.attr("storage_order", 0) != 0;
    results.emplace_back(to_channels_first(c.b, argmax_positions(c.b, x, p, shape, by_column)));
  }
  return results;
}

Results lower_average_pool(OpContext& c) {
  Builder& b = c.b;
  const Pooling p = pooling(c);
  const NodeId x = widen(b, to_channels_last(b, c.in(0)));
  const bool padding = c.attr("count_include_pad", 0) != 0;
  const NodeId counts = window_counts(b, b.dtype(x), p, spatial_extents(c, c.in(0)), padding);
  const NodeId mean = b.div(b.window(x, window_attr(ReduceKind::sum, p)), counts);
  return to_channels_first(b, b.cast(mean, c.dtype(0)));
}

// The norm's exponent; a float in the first version.
double norm_exponent(const OpContext& c) {
  return c.opset() < 2 ? c.attr("p", 2.f) : static_cast<double>(c.attr("p", int64_t{2}));
}

// sum(|x|^p)^(1/p), the sum as given.
template <class Sum>
NodeId norm(Builder& b, NodeId x, double p, Sum sum) {
  if (p == 1) return sum(b.unary(Op::abs, x));
  if (p == 2) return b.sqrt(sum(b.mul(x, x)));
  const NodeId total = sum(b.binary(Op::pow, b.unary(Op::abs, x), b.like(x, p)));
  return b.binary(Op::pow, total, b.like(total, 1 / p));
}

Results lower_lp_pool(OpContext& c) {
  Builder& b = c.b;
  const WindowAttr attr = window_attr(ReduceKind::sum, pooling(c));
  const NodeId x = widen(b, to_channels_last(b, c.in(0)));
  const NodeId y = norm(b, x, norm_exponent(c), [&](NodeId a) { return b.window(a, attr); });
  return to_channels_first(b, b.cast(y, c.dtype(0)));
}

// Applies f(x, spatial axes) to channels last.
template <class F>
NodeId pool_globally(const OpContext& c, F f) {
  c.require(c.rank(0) >= 2, "the input must be [N, C, spatial...]");
  const NodeId y = f(to_channels_last(c.b, c.in(0)), axis_range(1, c.rank(0) - 1));
  return to_channels_first(c.b, c.b.cast(y, c.dtype(0)));
}

Results lower_global_average_pool(OpContext& c) {
  return pool_globally(c, [&](NodeId x, Axes axes) { return c.b.mean(widen(c.b, x), axes); });
}

Results lower_global_max_pool(OpContext& c) {
  return pool_globally(c,
                       [&](NodeId x, Axes axes) { return c.b.reduce(ReduceKind::max, x, axes); });
}

Results lower_global_lp_pool(OpContext& c) {
  return pool_globally(c, [&](NodeId x, Axes axes) {
    return norm(c.b, widen(c.b, x), norm_exponent(c),
                [&](NodeId a) { return c.b.reduce(ReduceKind::sum, a, axes); });
  });
}

// The indices are flat ones into the shape that the window implies; a larger output shape adds
// zeros after it.
Results lower_max_unpool(OpContext& c) {
  Builder& b = c.b;
  auto kernel = c.ints("kernel_shape");
  c.require(kernel.has_value(), "attribute 'kernel_shape' is missing");
  const Dims pooled = spatial_extents(c, c.in(0));
  const SlidingWindow w = sliding_window(c, std::move(*kernel), pooled);
  Dims shape = {c.shape(0)[0], c.shape(0)[1]};
  for (int i = 0; i < w.axes(); ++i)
    shape.push_back((pooled[i] - 1) * w.stride[i] + w.size[i] - w.low[i] - w.high[i]);
  const Dim count = product(c.shape(0));
  const NodeId index = b.reshape(c.in(1), {count});
  const NodeId flat = b.scatter(full(b, c.dtype(0), 0, {product(shape)}),
                                b.reshape(c.in(0), {count}), {&index, 1}, {~0}, ScatterKind::set);
  const NodeId y = b.reshape(flat, shape);
  if (!c.has(2)) return y;
  const Dims target = c.dims_of(c.in(2));
  c.require(target.size() == shape.size(), "output_shape must have the rank of the input");
  Dims high;
  for (size_t i = 0; i < shape.size(); ++i) {
    c.require(decide(less_equal(shape[i], target[i]), "MaxUnpool"),
              "output_shape is smaller than what the window implies");
    high.push_back(target[i] - shape[i]);
  }
  return b.pad(y, b.scalar(c.dtype(0), 0), Dims(shape.size(), Dim(0)), high);
}

// Which of `extent` positions belong to each of `bins` parts of [first, last] in each region:
// boolean [R, bins, extent]. first and last are f32 [R, 1, 1], already rounded.
NodeId bin_members(Builder& b, NodeId first, NodeId last, int64_t bins, Dim extent) {
  const auto number = [&](double value) { return b.scalar(DType::f32, value); };
  const NodeId size = b.div(b.max(b.add(b.sub(last, first), number(1)), number(1)),
                            number(static_cast<double>(bins)));
  const NodeId bin = b.cast(b.iota(DType::i32, {1, bins, 1}, 1), DType::f32);
  const NodeId position = b.cast(b.iota(DType::i32, {1, 1, extent}, 2), DType::f32);
  const NodeId begin = b.add(b.unary(Op::floor, b.mul(bin, size)), first);
  const NodeId end = b.add(b.unary(Op::ceil, b.mul(b.add(bin, number(1)), size)), first);
  return b.logical_and(b.less_equal(begin, position), b.less(position, end));
}

// The maximum over bins is taken along x, then along y, among the members of each bin.
Results lower_max_roi_pool(OpContext& c) {
  Builder& b = c.b;
  const auto pooled = c.ints("pooled_shape");
  c.require(pooled && pooled->size() == 2, "attribute 'pooled_shape' must be two sizes");
  c.require(c.rank(0) == 4 && c.rank(1) == 2, "MaxRoiPool takes [N, C, H, W] and [regions, 5]");
  c.require(decide(equal(c.shape(1)[1], 5), "MaxRoiPool: corners"),
            "a region is an image and 4 coordinates");
  const Dims shape = c.shape(0);
  const Dim regions = c.shape(1)[0];
  const double scale = c.attr("spatial_scale", 1.f);
  const NodeId rois = b.cast(c.in(1), DType::f32);
  const auto corner = [&](int column) {  // rounded, halves away from zero
    const NodeId x = b.mul(b.slice_axis(rois, 1, column, 1), b.scalar(DType::f32, scale));
    const NodeId size = b.unary(Op::floor, b.add(b.unary(Op::abs, x), b.scalar(DType::f32, 0.5)));
    return b.reshape(b.mul(b.unary(Op::sign, x), size), {regions, 1, 1});
  };
  const NodeId rows = bin_members(b, corner(2), corner(4), (*pooled)[0], shape[2]);
  const NodeId columns = bin_members(b, corner(1), corner(3), (*pooled)[1], shape[3]);

  const NodeId image =
      b.cast(b.reshape(b.slice_axis(rois, 1, 0, 1), {regions, 1, 1, 1}), DType::i64);
  NodeId x = b.gather(c.in(0), {&image, 1}, {~0, 1, 2, 3}, {regions, shape[1], shape[2], shape[3]});
  const NodeId lowest = b.like(x, -INFINITY);
  x = b.unsqueeze(x, {3});  // [R, C, H, bins, W]
  x = b.reduce(ReduceKind::max, b.select(b.unsqueeze(columns, {1, 2}), x, lowest), {4});
  x = b.transpose(x, {0, 1, 4, 3, 2});              // [R, C, 1, bins of x, H]
  const NodeId by_row = b.unsqueeze(rows, {1, 3});  // [R, 1, bins of y, 1, H]
  x = b.squeeze(b.reduce(ReduceKind::max, b.select(by_row, x, lowest), {4}), {4});
  return b.select(b.equal(x, lowest), b.like(x, 0), x);  // bins without members
}

constexpr OpRow kRows[] = {
    {"AveragePool", lower_average_pool},
    {"GlobalAveragePool", lower_global_average_pool},
    {"GlobalLpPool", lower_global_lp_pool},
    {"GlobalMaxPool", lower_global_max_pool},
    {"LpPool", lower_lp_pool},
    {"MaxPool", lower_max_pool},
    {"MaxRoiPool", lower_max_roi_pool},
    {"MaxUnpool", lower_max_unpool},
};

}  // namespace

std::span<const OpRow> pooling_ops() { return kRows; }

}  // namespace onrush
