// Concat, Split, Slice, Pad, CenterCropPad, Trilu
#include <numeric>

#include "lower/helpers.h"
#include "lower/tensor_ops.h"

namespace onrush {
namespace {

constexpr std::string_view kOrigin = "bounds of a slice";

// Constants beyond 32 bits say "to the end"; they are cut so that sums with an extent stay in range
// and, being larger than any extent in practice, need no guard.
constexpr int64_t kBeyond = INT32_MAX;

// x within [low, high] by the values at hand.
Dim clamp(Dim x, Dim low, Dim high) {
  if (x.is_constant() && x.value() >= kBeyond) return high;
  if (x.is_constant() && x.value() <= -kBeyond) return low;
  if (decide(less(x, low), kOrigin)) return low;
  return decide(less(high, x), kOrigin) ? high : x;
}

// One axis of a slice.
struct Range {
  Dim start, extent;
};

// Python's start:end:step over an axis, with ONNX's clamping of start.
Range slice_range(Dim start, Dim end, int64_t step, Dim extent) {
  const auto from_front = [&](Dim x) {
    const bool beyond = x.is_constant() && x.value() <= -kBeyond;
    return !beyond && decide(less(x, 0), kOrigin) ? x + extent : x;
  };
  if (step > 0) {
    start = clamp(from_front(start), 0, extent);
    end = clamp(from_front(end), 0, extent);
    return decide(less_equal(start, end), kOrigin) ? Range{start, ceildiv(end - start, step)}
                                                   : Range{start, 0};
  }
  if (decide(equal(extent, 0), kOrigin)) return {0, 0};
  start = clamp(from_front(start), 0, extent - 1);
  end = clamp(from_front(end), -1, extent - 1);
  return decide(less_equal(end, start), kOrigin) ? Range{start, ceildiv(start - end, -step)}
                                                 : Range{start, 0};
}

// Sizes given as input `i` in newer opsets, as attribute `name` in older ones.
std::optional<Dims> dims_input_or_attr(const OpContext& c, int i, const char* name) {
  if (c.has(i)) return c.dims_of(c.in(i));
  if (const auto values = c.ints(name)) return Dims(values->begin(), values->end());
  return std::nullopt;
}

// The axes that a list of `count` entries is about, in the list's order: given, or the first.
std::vector<int> listed_axes(const OpContext& c, int input, size_t count) {
  const auto given = c.ints_input_or_attr(input, "axes");
  std::vector<int> axes(count);
  std::iota(axes.begin(), axes.end(), 0);
  if (given) {
    c.require(given->size() == count, "there must be one entry for each of the axes");
    c.axes(*given, c.rank(0));  // distinct
    for (size_t i = 0; i < count; ++i) axes[i] = c.axis((*given)[i], c.rank(0));
  }
  c.require(static_cast<int>(count) <= c.rank(0), "there are more entries than axes");
  return axes;
}

NodeId zero(Builder& b, DType dtype) {
  if (dtype == DType::string) return b.constant(Tensor::of_strings({}, {""}));
  return b.scalar(dtype, 0);
}

// Pads by elements of x itself: result i along the axis is x[index(i - low)].
NodeId pad_with_elements(const OpContext& c, NodeId x, int axis, Dim low, Dim high,
                         const std::string& mode) {
  Builder& b = c.b;
  Dims shape = b.shape(x);
  const Dim extent = shape[axis];
  c.require(!decide(equal(extent, 0), "Pad of an axis without elements"),
            "an axis without elements cannot be padded with its own");
  shape[axis] = low + extent + high;
  Dims line(shape.size(), Dim(1));
  line[axis] = shape[axis];
  const auto dim = [&](Dim value) { return dim_scalar(b, DType::i64, value); };
  NodeId index = b.sub(b.iota(DType::i64, line, axis), dim(low));
  if (mode == "wrap") {
    index = b.binary(Op::mod, index, dim(extent));
  } else if (mode == "reflect" && !decide(equal(extent, 1), "Pad by reflection")) {
    index = b.binary(Op::mod, index, dim(2 * extent - 2));
    index = b.min(index, b.sub(dim(2 * extent - 2), index));
  } else {
    index = b.min(b.max(index, dim(0)), dim(extent - 1));
  }
  std::vector<int> source = axis_range(0, static_cast<int>(shape.size()));
  source[axis] = ~0;
  return b.gather(x, {&index, 1}, source, shape);
}

}  // namespace

Results lower_concat(OpContext& c) {
  const std::vector<NodeId> parts = c.all_inputs();
  c.require(!parts.empty(), "Concat needs an input");
  for (int i = 1; i < c.input_count(); ++i) {
    c.require(c.dtype(i) == c.dtype(0), "the inputs of Concat must have one element type");
    c.require(c.rank(i) == c.rank(0), "the inputs of Concat must have one rank");
  }
  c.require(c.opset() < 4 || c.has_attr("axis"), "attribute 'axis' is missing");
  return c.b.concat(parts, c.axis(c.attr("axis", 1), c.rank(0)));
}

Results lower_split(OpContext& c) {
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  const Dim extent = c.shape(0)[axis];
  auto sizes = dims_input_or_attr(c, 1, "split");
  if (!sizes) {
    const int64_t parts = c.attr("num_outputs", static_cast<int64_t>(c.output_count()));
    c.require(parts > 0, "attribute 'num_outputs' must be positive");
    const bool even = decide(divisible(extent, parts), "Split into equal parts");
    const Dim size = even ? floordiv(extent, parts) : ceildiv(extent, parts);
    sizes = Dims(parts, size);
    sizes->back() = even ? size : extent - size * (parts - 1);
  }
  Dim start = 0;
  std::vector<Lowered> parts;
  for (Dim size : *sizes) {
    c.require(decide(less_equal(0, size), "Split"), "the size of a part is negative");
    parts.emplace_back(c.b.slice_axis(c.in(0), axis, start, size));
    start = start + size;
  }
  if (!decide(equal(start, extent), "Split"))
    c.fail(fmt::format("the parts have {} elements together, the axis {}", start.value(),
                       extent.value()));
  return parts;
}

Results lower_slice(OpContext& c) {
  const auto starts = dims_input_or_attr(c, 1, "starts");
  const auto ends = dims_input_or_attr(c, 2, "ends");
  c.require(starts && ends && starts->size() == ends->size(),
            "Slice needs starts and ends of equal length");
  const std::vector<int> axes = listed_axes(c, 3, starts->size());
  const auto steps =
      c.has(4) ? c.ints_of(c.in(4)) : std::vector<int64_t>(starts->size(), int64_t{1});
  c.require(steps.size() == starts->size(), "Slice needs one step for each start");
  Dims shape = c.shape(0), start(shape.size(), Dim(0));
  std::vector<int64_t> step(shape.size(), 1);
  for (size_t i = 0; i < axes.size(); ++i) {
    c.require(steps[i] != 0, "a step must not be 0");
    const int axis = axes[i];
    // No step beyond the extent differs from one that large.
    step[axis] = std::clamp(steps[i], -kBeyond, kBeyond);
    const Range range = slice_range((*starts)[i], (*ends)[i], step[axis], shape[axis]);
    start[axis] = range.start;
    shape[axis] = range.extent;
  }
  return c.b.slice(c.in(0), std::move(start), std::move(step), std::move(shape));
}

Results lower_pad(OpContext& c) {
  Builder& b = c.b;
  const auto pads = dims_input_or_attr(c, 1, c.opset() < 2 ? "paddings" : "pads");
  c.require(pads && pads->size() % 2 == 0, "Pad needs a begin and an end for each axis");
  const size_t count = pads->size() / 2;
  const std::vector<int> axes = listed_axes(c, 3, count);
  const std::string mode = c.attr("mode", "constant");
  c.require(mode == "constant" || mode == "reflect" || mode == "edge" || mode == "wrap",
            "attribute 'mode' must be constant, reflect, edge or wrap");
  NodeId x = c.in(0);
  Dims low(c.rank(0), Dim(0)), high = low;
  for (size_t i = 0; i < count; ++i) {
    const int axis = axes[i];
    const auto added = [&](Dim pad) { return decide(less(pad, 0), "Pad") ? Dim(0) : pad; };
    low[axis] = added((*pads)[i]);
    high[axis] = added((*pads)[count + i]);
    // Negative pads remove elements.
    const Dim cut_low = low[axis] - (*pads)[i], cut_high = high[axis] - (*pads)[count + i];
    const Dim kept = b.shape(x)[axis] - cut_low - cut_high;
    c.require(decide(less_equal(0, kept), "Pad"), "negative pads remove more than there is");
    x = b.slice_axis(x, axis, cut_low, kept);
    const bool nothing = same(low[axis], 0) && same(high[axis], 0);
    if (mode != "constant" && !nothing)
      x = pad_with_elements(c, x, axis, low[axis], high[axis], mode);
  }
  if (mode != "constant") return x;
  const NodeId value = c.has(2) ? b.reshape(c.in(2), {})
                       : c.has_attr("value")
                           ? b.scalar(c.dtype(0), static_cast<double>(c.attr("value", 0.f)))
                           : zero(b, c.dtype(0));
  return b.pad(x, value, std::move(low), std::move(high));
}

Results lower_center_crop_pad(OpContext& c) {
  const Dims target = c.dims_of(c.in(1));
  const std::vector<int> axes = listed_axes(c, 3, target.size());
  NodeId x = c.in(0);
  Dims low(c.rank(0), Dim(0)), high = low;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int axis = axes[i];
    const Dim extent = c.shape(0)[axis];
    if (decide(less_equal(target[i], extent), "CenterCropPad")) {
      x = c.b.slice_axis(x, axis, floordiv(extent - target[i], 2), target[i]);
    } else {
      low[axis] = floordiv(target[i] - extent, 2);
      high[axis] = target[i] - extent - low[axis];
    }
  }
  return c.b.pad(x, zero(c.b, c.dtype(0)), std::move(low), std::move(high));
}

Results lower_trilu(OpContext& c) {
  Builder& b = c.b;
  const Dims shape = c.shape(0);
  const int rank = c.rank(0);
  c.require(rank >= 2, "Trilu takes matrices: the input must have rank 2 or more");
  const NodeId row = b.iota(DType::i64, {shape[rank - 2], 1}, 0);
  const NodeId column = b.iota(DType::i64, {1, shape[rank - 1]}, 1);
  const NodeId diagonal = c.has(1) ? b.add(row, b.cast(b.reshape(c.in(1), {}), DType::i64)) : row;
  const bool upper = c.attr("upper", 1) != 0;
  const NodeId kept = upper ? b.less_equal(diagonal, column) : b.less_equal(column, diagonal);
  return b.select(kept, c.in(0), zero(b, c.dtype(0)));
}

}  // namespace onrush
