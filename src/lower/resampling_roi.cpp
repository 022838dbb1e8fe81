// RoiAlign: every bin of every region is the mean (or maximum) over a grid of samples.
#include <cmath>

#include "lower/helpers.h"
#include "lower/resampling_ops.h"
#include "lower/resampling_taps.h"

namespace onrush {
namespace {

// Sizes by role along one spatial axis.
struct RegionAxis {
  NodeId start, bin;  // [R, 1...]: where the region starts, and the extent of a bin
  NodeId grid;        // samples a bin, a float [R, 1...] or scalar
  int64_t max_grid;   // the most samples of any region
  int64_t bins;
  Dim extent;
};

// The axes of the samples: region, channel, y bin, y sample, x bin, x sample.
constexpr int kRank = 6;

class RoiAlign {
 public:
  explicit RoiAlign(const OpContext& c) : c_(c), b_(c.b) {}
  NodeId lower();

 private:
  NodeId number(double value) const { return b_.scalar(dtype_, value); }
  NodeId corner(int column) const;
  RegionAxis region_axis(int column, int64_t bins, Dim extent) const;
  NodeId along(int axis, int64_t extent) const;
  struct Samples {
    Taps taps;
    NodeId in_image, in_grid;  // boolean
  };
  Samples samples(const RegionAxis& axis, int bin_axis) const;

  const OpContext& c_;
  Builder& b_;
  DType dtype_ = DType::undefined;
  Dim regions_;
};

// A coordinate of all regions as [R, 1, 1, 1, 1, 1].
NodeId RoiAlign::corner(int column) const {
  const NodeId x = b_.cast(b_.slice_axis(c_.in(1), 1, column, 1), dtype_);
  Dims shape(kRank, Dim(1));
  shape[0] = regions_;
  return b_.mul(b_.reshape(x, shape), number(c_.attr("spatial_scale", 1.f)));
}

RegionAxis RoiAlign::region_axis(int column, int64_t bins, Dim extent) const {
  const bool half_pixel =
      c_.opset() >= 16 && c_.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel";
  NodeId start = corner(column);
  NodeId length = b_.sub(corner(column + 2), start);
  if (half_pixel) start = b_.sub(start, number(0.5));
  else length = b_.max(length, number(1));  // malformed regions count as 1 x 1
  const NodeId bin = b_.div(length, number(static_cast<double>(bins)));
  const int64_t ratio = c_.attr("sampling_ratio", int64_t{0});
  if (ratio > 0) return {start, bin, number(static_cast<double>(ratio)), ratio, bins, extent};
  // As many samples as a bin has elements; the most of all regions is needed now.
  const NodeId grid = b_.unary(Op::ceil, bin);
  const NodeId most = b_.reduce(ReduceKind::max, b_.cast(grid, DType::i64), {0});
  const int64_t max_grid = std::max<int64_t>(c_.ints_of(b_.reshape(most, {}))[0], 1);
  return {start, bin, grid, max_grid, bins, extent};
}

NodeId RoiAlign::along(int axis, int64_t extent) const {
  Dims line(kRank, Dim(1));
  line[axis] = extent;
  return b_.cast(b_.iota(DType::i32, line, axis), dtype_);
}

RoiAlign::Samples RoiAlign::samples(const RegionAxis& r, int bin_axis) const {
  const NodeId step = along(bin_axis + 1, r.max_grid);
  const NodeId offset = b_.div(b_.mul(b_.add(step, number(0.5)), r.bin), r.grid);
  const NodeId x = b_.add(b_.add(r.start, b_.mul(along(bin_axis, r.bins), r.bin)), offset);
  const NodeId extent = dim_scalar(b_, dtype_, r.extent);
  const NodeId in_image = b_.logical_and(b_.less_equal(number(-1), x), b_.less_equal(x, extent));
  const NodeId last = b_.sub(extent, number(1));
  const NodeId clamped = b_.min(b_.max(x, number(0)), last);
  return {linear_taps(b_, clamped, r.extent, Outside::edge), in_image, b_.less(step, r.grid)};
}

NodeId RoiAlign::lower() {
  c_.require(c_.rank(0) == 4 && c_.rank(1) == 2, "RoiAlign takes [N, C, H, W] and [regions, 4]");
  dtype_ = wide(c_.dtype(0));
  regions_ = c_.shape(1)[0];
  c_.require(decide(equal(c_.shape(1)[1], 4), "RoiAlign: corners"), "a region has 4 coordinates");
  const Dims shape = c_.shape(0);
  const std::string mode = c_.attr("mode", "avg");
  c_.require(mode == "avg" || mode == "max", "attribute 'mode' must be avg or max");
  const RegionAxis y = region_axis(1, c_.attr("output_height", int64_t{1}), shape[2]);
  const RegionAxis x = region_axis(0, c_.attr("output_width", int64_t{1}), shape[3]);
  const Samples rows = samples(y, 2), columns = samples(x, 4);
  Dims line(kRank, Dim(1));
  line[0] = regions_;
  const NodeId image = b_.cast(b_.reshape(c_.in(2), line), DType::i64);
  const Dims all = {regions_, shape[1], y.bins, y.max_grid, x.bins, x.max_grid};
  // The maximum is over the weighted neighbours themselves.
  const bool mean = mode == "avg";
  NodeId values = sample(b_, c_.in(0), {~2, 1, ~0, ~1}, {rows.taps, columns.taps}, {image}, all,
                         mean ? Op::add : Op::max);
  const NodeId none = number(mean ? 0 : -INFINITY);
  values = b_.select(b_.logical_and(rows.in_image, columns.in_image), values, number(0));
  values = b_.select(b_.logical_and(rows.in_grid, columns.in_grid), values, none);
  values = b_.reduce(mean ? ReduceKind::sum : ReduceKind::max, values, {3, 5});
  values = mean ? b_.div(values, b_.max(b_.mul(y.grid, x.grid), number(1)))
                : b_.select(b_.equal(values, none), number(0), values);
  return b_.cast(b_.squeeze(values, {3, 5}), c_.dtype(0));
}

}  // namespace

Results lower_roi_align(OpContext& c) { return RoiAlign(c).lower(); }

}  // namespace onrush
