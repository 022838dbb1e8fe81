// GridSample, AffineGrid, and the table of the resampling family.
#include "lower/helpers.h"
#include "lower/op_table.h"
#include "lower/resampling_ops.h"
#include "lower/resampling_taps.h"

namespace onrush {
namespace {

constexpr double kCubicA = -0.75;

struct GridMode {
  enum class Kind { nearest, linear, cubic };
  enum class Padding { zeros, border, reflection };
  Kind kind;
  Padding padding;
  bool align_corners;
};

GridMode grid_mode(const OpContext& c) {
  const std::string mode = c.attr("mode", "linear"), padding = c.attr("padding_mode", "zeros");
  GridMode result{GridMode::Kind::linear, GridMode::Padding::zeros,
                  c.attr("align_corners", 0) != 0};
  if (mode == "nearest") result.kind = GridMode::Kind::nearest;
  else if (mode == "cubic" || mode == "bicubic") result.kind = GridMode::Kind::cubic;
  else c.require(mode == "linear" || mode == "bilinear", "attribute 'mode' is unknown");
  if (padding == "border") result.padding = GridMode::Padding::border;
  else if (padding == "reflection") result.padding = GridMode::Padding::reflection;
  else c.require(padding == "zeros", "attribute 'padding_mode' is unknown");
  return result;
}

// One spatial axis of the sampled tensor.
struct GridAxis {
  Builder& b;
  GridMode mode;
  Dim extent;

  NodeId number(NodeId like, double value) const { return b.like(like, value); }
  NodeId size(NodeId like, Dim dim) const { return dim_scalar(b, b.dtype(like), dim); }

  // From [-1, 1] to elements: the ends are the centers of the corner elements, or their edges.
  NodeId denormalised(NodeId x) const {
    const NodeId from_zero = b.add(x, number(x, 1));
    if (mode.align_corners) return b.mul(b.mul(from_zero, number(x, 0.5)), size(x, extent - 1));
    return b.mul(b.sub(b.mul(from_zero, size(x, extent)), number(x, 1)), number(x, 0.5));
  }

  NodeId clamped(NodeId x) const { return b.min(b.max(x, number(x, 0)), size(x, extent - 1)); }

  // Mirrored at the ends, which are element centers or edges, as often as needed.
  NodeId reflected(NodeId x) const {
    if (mode.align_corners && decide(equal(extent, 1), "GridSample of one element"))
      return clamped(x);
    const NodeId low = number(x, mode.align_corners ? 0 : -0.5);
    const NodeId length = size(x, mode.align_corners ? extent - 1 : extent);
    const NodeId period = b.mul(length, number(x, 2));
    const NodeId y = b.binary(Op::mod, b.sub(x, low), period);
    return b.add(low, b.min(y, b.sub(period, y)));
  }

  NodeId padded(NodeId x) const {
    switch (mode.padding) {
      case GridMode::Padding::zeros: return x;
      case GridMode::Padding::border: return clamped(x);
      case GridMode::Padding::reflection: return reflected(x);
    }
    internal_error("unknown padding mode");
  }

  Tap tap(NodeId position, std::optional<NodeId> weight) const {
    const bool zeros = mode.padding == GridMode::Padding::zeros;
    return tap_at(b, padded(position), weight, extent, zeros ? Outside::zero : Outside::edge);
  }

  Taps taps(NodeId normalised) const {
    NodeId x = denormalised(normalised);
    if (mode.kind == GridMode::Kind::nearest) return {tap(padded(b.unary(Op::round, x)), {})};
    // Cubic neighbours are padded one by one, linear ones give the same after padding x.
    if (mode.kind == GridMode::Kind::linear) x = padded(x);
    const NodeId below = b.unary(Op::floor, x);
    const NodeId ratio = b.sub(x, below);
    const auto at = [&](double step) { return b.add(below, number(x, step)); };
    const auto distance = [&](double step) {
      return step > 0 ? b.sub(number(x, step), ratio) : b.sub(ratio, number(x, step));
    };
    if (mode.kind == GridMode::Kind::linear) return {tap(below, distance(1)), tap(at(1), ratio)};
    return {tap(at(-1), cubic_outer(b, distance(-1), kCubicA)),
            tap(below, cubic_inner(b, ratio, kCubicA)),
            tap(at(1), cubic_inner(b, distance(1), kCubicA)),
            tap(at(2), cubic_outer(b, distance(2), kCubicA))};
  }
};

Results lower_grid_sample(OpContext& c) {
  Builder& b = c.b;
  const Dims shape = c.shape(0), grid = c.shape(1);
  const int axes = c.rank(0) - 2;
  c.require(axes >= 1 && c.rank(1) == c.rank(0) &&
                decide(equal(grid.back(), axes), "GridSample: coordinates") &&
                decide(equal(grid[0], shape[0]), "GridSample: batch"),
            "GridSample takes [N, C, spatial...] and [N, out..., spatial axes]");
  const GridMode mode = grid_mode(c);
  const NodeId points = b.cast(c.in(1), weight_dtype(c.dtype(0)));
  Dims index(grid.begin(), grid.end() - 1), result = {shape[0], shape[1]};
  result.insert(result.end(), grid.begin() + 1, grid.end() - 1);
  index.insert(index.begin() + 1, Dim(1));
  std::vector<int> source = {0, 1};
  std::vector<Taps> taps;
  for (int i = 0; i < axes; ++i) {
    // The grid names the last axis first.
    const NodeId x = b.reshape(b.slice_axis(points, axes + 1, axes - 1 - i, 1), index);
    source.push_back(~i);
    taps.push_back(GridAxis{b, mode, shape[2 + i]}.taps(x));
  }
  return b.cast(sample(b, c.in(0), source, taps, {}, result), c.dtype(0));
}

// Positions from -1 to 1 along an axis: the centers of its elements, or with aligned corners the
// ends at the first and the last of them.
NodeId affine_positions(Builder& b, DType dtype, Dims line, int axis, bool align_corners) {
  const Dim extent = line[axis];
  const NodeId x = b.cast(b.iota(DType::i64, std::move(line), axis), dtype);
  if (align_corners && decide(equal(extent, 1), "AffineGrid of one element")) return x;
  const NodeId steps = dim_scalar(b, dtype, align_corners ? extent - 1 : extent);
  const NodeId twice = b.add(b.mul(x, b.like(x, 2)), b.like(x, align_corners ? 0 : 1));
  return b.sub(b.div(twice, steps), b.like(x, 1));
}

// grid[n, out..., j] = sum over axes k of theta[n, j, k] * position k, + theta[n, j, axes]
Results lower_affine_grid(OpContext& c) {
  Builder& b = c.b;
  const Dims size = c.dims_of(c.in(1));
  const int axes = static_cast<int>(size.size()) - 2;
  c.require((axes == 2 || axes == 3) && c.rank(0) == 3, "AffineGrid makes grids of 2 or 3 axes");
  const bool align_corners = c.attr("align_corners", 0) != 0;
  c.require(decide(equal(c.shape(0)[1], axes), "AffineGrid: rows") &&
                decide(equal(c.shape(0)[2], axes + 1), "AffineGrid: columns"),
            "theta must be [N, axes, axes + 1]");
  const NodeId theta = widen(b, c.in(0));
  const auto column = [&](int k) {
    return b.unsqueeze(b.squeeze(b.slice_axis(theta, 2, k, 1), {2}), axis_range(1, 1 + axes));
  };
  NodeId grid = column(axes);
  for (int k = 0; k < axes; ++k) {
    const int axis = axes - k;  // of the grid: x is the last one
    Dims line(axes + 2, Dim(1));
    line[axis] = size[1 + axis];
    const NodeId position = affine_positions(b, b.dtype(theta), line, axis, align_corners);
    grid = b.add(grid, b.mul(column(k), position));
  }
  return b.cast(grid, c.dtype(0));
}

constexpr OpRow kRows[] = {
    {"AffineGrid", lower_affine_grid}, {"GridSample", lower_grid_sample}, {"Resize", lower_resize},
    {"RoiAlign", lower_roi_align},     {"Upsample", lower_upsample},
};

}  // namespace

std::span<const OpRow> resampling_ops() { return kRows; }

}  // namespace onrush
