// Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Expand, Tile, DepthToSpace, SpaceToDepth
#include <algorithm>
#include <numeric>

#include "lower/helpers.h"
#include "lower/tensor_ops.h"

namespace onrush {
namespace {

Dims to_dims(const std::vector<int64_t>& values) { return {values.begin(), values.end()}; }

Dims reshape_target(const OpContext& c) {
  if (c.has(1)) return c.dims_of(c.in(1));
  const auto shape = c.ints("shape");
  c.require(shape.has_value(), "Reshape needs the new shape");
  return to_dims(*shape);
}

// The extent of to[axis] that keeps the number of elements. Extents that stay in place cancel, so
// an empty axis can be copied beside the inferred one.
Dim inferred_extent(const Dims& from, const Dims& to, size_t axis) {
  Dim elements = 1, others = 1;
  for (size_t i = 0; i < std::max(from.size(), to.size()); ++i) {
    if (i < from.size() && i < to.size() && i != axis && same(from[i], to[i])) continue;
    if (i < from.size()) elements = elements * from[i];
    if (i < to.size() && i != axis) others = others * to[i];
  }
  return floordiv(elements, others);
}

// Axes of extent 1, decided one by one.
Axes unit_axes(const Dims& shape) {
  Axes axes;
  for (size_t i = 0; i < shape.size(); ++i)
    if (decide(equal(shape[i], 1), "Squeeze of all axes of extent 1"))
      axes.push_back(static_cast<int>(i));
  return axes;
}

// Repeats the whole of x so many times along each axis.
NodeId tile(Builder& b, NodeId x, const Dims& repeats) {
  Dims split, repeated, merged;
  for (size_t i = 0; i < repeats.size(); ++i) {
    const Dim extent = b.shape(x)[i];
    if (!same(repeats[i], 1)) {
      split.push_back(1);
      repeated.push_back(repeats[i]);
    }
    split.push_back(extent);
    repeated.push_back(extent);
    merged.push_back(repeats[i] * extent);
  }
  return b.reshape(b.broadcast(b.reshape(x, split), repeated), merged);
}

// Splits each spatial axis of x [N, C, H, W] and the channels, permutes, and merges again.
struct BlockMove {
  int64_t block;
  Dim batch, channels, height, width;
};

BlockMove block_move(const OpContext& c) {
  c.require(c.rank(0) == 4, "the input must be [N, C, H, W]");
  const Dims& shape = c.shape(0);
  const int64_t block = c.attr("blocksize", int64_t{0});
  c.require(block > 0, "attribute 'blocksize' must be positive");
  return {block, shape[0], shape[1], shape[2], shape[3]};
}

bool depth_first(const OpContext& c) {
  const std::string mode = c.attr("mode", "DCR");
  c.require(mode == "DCR" || mode == "CRD", "attribute 'mode' must be DCR or CRD");
  return mode == "DCR";
}

}  // namespace

Results lower_reshape(OpContext& c) {
  const Dims from = c.shape(0);
  Dims to = reshape_target(c);
  const bool keeps_zero = c.attr("allowzero", 0) != 0;
  std::optional<size_t> inferred;
  for (size_t i = 0; i < to.size(); ++i) {
    if (decide(equal(to[i], -1), "Reshape: an extent to infer")) {
      c.require(!inferred, "only one extent of the new shape may be -1");
      inferred = i;
    } else if (!keeps_zero && decide(equal(to[i], 0), "Reshape: an extent to copy")) {
      c.require(i < from.size(), "an extent of 0 copies an axis that the input does not have");
      to[i] = from[i];
    }
  }
  if (inferred) to[*inferred] = inferred_extent(from, to, *inferred);
  return c.b.reshape(c.in(0), std::move(to));
}

Results lower_flatten(OpContext& c) {
  const Dims shape = c.shape(0);
  const int rank = c.rank(0);
  const int64_t given = c.attr("axis", int64_t{1});
  const int axis = given == rank ? rank : c.axis(given, rank);
  const std::span<const Dim> all(shape);
  return c.b.reshape(c.in(0), {product(all.first(axis)), product(all.subspan(axis))});
}

Results lower_squeeze(OpContext& c) {
  const Dims shape = c.shape(0);
  const auto given = c.ints_input_or_attr(1, "axes");
  const Axes axes = given ? c.axes(*given, c.rank(0)) : unit_axes(shape);
  for (int axis : axes)
    if (!decide(equal(shape[axis], 1), "Squeeze"))
      c.fail(fmt::format("axis {} has extent {}, not 1", axis, shape[axis].value()));
  return c.b.squeeze(c.in(0), axes);
}

Results lower_unsqueeze(OpContext& c) {
  const auto given = c.ints_input_or_attr(1, "axes");
  c.require(given.has_value(), "Unsqueeze needs axes");
  return c.b.unsqueeze(c.in(0), c.axes(*given, c.rank(0) + static_cast<int>(given->size())));
}

Results lower_transpose(OpContext& c) {
  Axes permutation = axis_range(0, c.rank(0));
  std::reverse(permutation.begin(), permutation.end());
  if (const auto given = c.ints("perm")) {
    c.require(c.axes(*given, c.rank(0)).size() == permutation.size(),
              "attribute 'perm' must name every axis once");
    std::transform(given->begin(), given->end(), permutation.begin(),
                   [&](int64_t axis) { return c.axis(axis, c.rank(0)); });
  }
  return c.b.transpose(c.in(0), std::move(permutation));
}

Results lower_expand(OpContext& c) {
  const Dims target = c.dims_of(c.in(1));
  for (Dim extent : target)
    c.require(decide(less_equal(0, extent), "Expand"), "an extent must not be negative");
  return c.b.broadcast(c.in(0), broadcast_shapes(c.shape(0), target));
}

Results lower_tile(OpContext& c) {
  Dims repeats = c.dims_of(c.in(1));
  if (c.opset() < 6) {  // one count and one axis
    const auto axis = c.ints_of(c.in(2));
    c.require(axis.size() == 1 && repeats.size() == 1, "Tile takes one count and one axis");
    const Dim count = repeats[0];
    repeats.assign(c.shape(0).size(), Dim(1));
    repeats[c.axis(axis[0], c.rank(0))] = count;
  }
  c.require(static_cast<int>(repeats.size()) == c.rank(0), "Tile needs one count an axis");
  for (Dim count : repeats)
    c.require(decide(less_equal(0, count), "Tile"), "a count must not be negative");
  return tile(c.b, c.in(0), repeats);
}

Results lower_depth_to_space(OpContext& c) {
  const auto [block, n, channels, h, w] = block_move(c);
  const Dim depth = floordiv(channels, block * block);
  const bool dcr = depth_first(c);
  const Dims split = dcr ? Dims{n, block, block, depth, h, w} : Dims{n, depth, block, block, h, w};
  const Axes order = dcr ? Axes{0, 3, 4, 1, 5, 2} : Axes{0, 1, 4, 2, 5, 3};
  return c.b.reshape(c.b.transpose(c.b.reshape(c.in(0), split), order),
                     {n, depth, h * block, w * block});
}

Results lower_space_to_depth(OpContext& c) {
  const auto [block, n, channels, h, w] = block_move(c);
  const Dim height = floordiv(h, block), width = floordiv(w, block);
  const Axes order = depth_first(c) ? Axes{0, 3, 5, 1, 2, 4} : Axes{0, 1, 3, 5, 2, 4};
  const NodeId split = c.b.reshape(c.in(0), {n, channels, height, block, width, block});
  return c.b.reshape(c.b.transpose(split, order), {n, channels * (block * block), height, width});
}

}  // namespace onrush
