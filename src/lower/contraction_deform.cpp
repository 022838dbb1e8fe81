// DeformConv: the input sampled at every place of every kernel, then a product with the weights.
#include "lower/contraction_ops.h"
#include "lower/helpers.h"
#include "lower/pooling_window.h"
#include "lower/resampling_taps.h"

namespace onrush {
namespace {

// Sizes by role; `out` are the result's spatial extents.
struct Geometry {
  Dim batch, channels;
  int64_t groups, offset_groups, places;  // places: elements of the kernel
  SlidingWindow window;
  Dims extents, out;
};

Geometry geometry_of(const OpContext& c) {
  const Dims extents = spatial_extents(c, c.in(0)), weights = spatial_extents(c, c.in(1));
  c.require(c.rank(1) == c.rank(0) && c.rank(2) == c.rank(0),
            "input, weights and offsets must have one rank");
  std::vector<int64_t> size;
  Geometry g{c.shape(0)[0],
             c.shape(0)[1],
             c.attr("group", int64_t{1}),
             c.attr("offset_group", int64_t{1}),
             1,
             {},
             extents,
             spatial_extents(c, c.in(2))};
  for (Dim dim : weights) {
    size.push_back(fix(dim, "kernel size"));
    g.places *= size.back();
  }
  c.require(g.groups > 0 && g.offset_groups > 0, "group and offset_group must be positive");
  g.window = sliding_window(c, std::move(size), extents);
  return g;
}

// Where each place of the kernel reads along `axis`: [N, offset groups, 1, places, out...].
NodeId sample_positions(const OpContext& c, const Geometry& g, NodeId offsets, int axis) {
  Builder& b = c.b;
  const SlidingWindow& w = g.window;
  const int rank = 4 + w.axes();
  const DType dtype = b.dtype(offsets);
  const auto along = [&](int at, Dim extent, int64_t step) {
    Dims line(rank, Dim(1));
    line[at] = extent;
    const NodeId count = b.iota(DType::i64, line, at);
    return b.mul(count, b.like(count, static_cast<double>(step)));
  };
  int64_t inner = 1;  // places that one step along the axis skips
  for (int i = axis + 1; i < w.axes(); ++i) inner *= w.size[i];
  const NodeId place = along(3, g.places, 1);
  const NodeId kernel = b.binary(Op::rem, b.div(place, b.like(place, static_cast<double>(inner))),
                                 b.like(place, static_cast<double>(w.size[axis])));
  NodeId position = b.add(along(4 + axis, g.out[axis], w.stride[axis]),
                          b.mul(kernel, b.like(kernel, static_cast<double>(w.dilation[axis]))));
  position = b.sub(position, dim_scalar(b, DType::i64, w.low[axis]));
  // The offsets are [N, offset groups, places, axes, out...].
  const NodeId offset = b.slice_axis(offsets, 3, axis, 1);
  Dims shape = b.shape(offset);
  std::swap(shape[2], shape[3]);
  return b.add(b.cast(position, dtype), b.reshape(offset, std::move(shape)));
}

}  // namespace

Results lower_deform_conv(OpContext& c) {
  Builder& b = c.b;
  const Geometry g = geometry_of(c);
  const int axes = g.window.axes();
  const Dim per_offset_group = floordiv(g.channels, g.offset_groups);
  const auto with_out = [&](Dims front) {
    front.insert(front.end(), g.out.begin(), g.out.end());
    return front;
  };

  // Samples as [N, offset groups, channels of one, places, out...].
  const NodeId offsets =
      widen(b, b.reshape(c.in(2), with_out({g.batch, g.offset_groups, g.places, axes})));
  Dims data = {g.batch, g.offset_groups, per_offset_group};
  data.insert(data.end(), g.extents.begin(), g.extents.end());
  std::vector<int> source = {0, 1, 2};
  std::vector<Taps> taps;
  for (int i = 0; i < axes; ++i) {
    source.push_back(~i);
    taps.push_back(linear_taps(b, sample_positions(c, g, offsets, i), g.extents[i], Outside::zero));
  }
  NodeId x = sample(b, b.reshape(c.in(0), data), source, taps, {},
                    with_out({g.batch, g.offset_groups, per_offset_group, g.places}));
  if (c.has(4)) {
    const Dims mask = with_out({g.batch, g.offset_groups, 1, g.places});
    x = b.mul(x, widen(b, b.reshape(c.in(4), mask)));
  }

  // Weights [groups, outputs, channels, places] times samples [N, groups, channels, places, out...]
  // give [groups, outputs, N, out...].
  const Dim outputs = floordiv(c.shape(1)[0], g.groups), inputs = c.shape(1)[1];
  x = b.reshape(b.cast(x, c.dtype(0)),
                with_out({g.batch, g.groups, floordiv(g.channels, g.groups), g.places}));
  const NodeId w = b.reshape(c.in(1), {g.groups, outputs, inputs, g.places});
  NodeId y = b.dot(w, x, {{0}, {1}, {2, 3}, {2, 3}, c.dtype(0)});
  Axes order = axis_range(0, 3 + axes);
  std::swap(order[0], order[2]);
  std::swap(order[1], order[2]);  // N, groups, outputs
  y = b.reshape(b.transpose(y, std::move(order)), with_out({g.batch, c.shape(1)[0]}));
  return c.has(3) ? b.add(y, per_channel(b, c.in(3), b.rank(y))) : y;
}

}  // namespace onrush
