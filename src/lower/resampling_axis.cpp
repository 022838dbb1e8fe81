#include "lower/resampling_axis.h"

#include <cmath>

#include "lower/helpers.h"
#include "lower/resampling_taps.h"

namespace onrush {
namespace {

constexpr int64_t kMaxUnrolledTaps = 4;

// Rounding the coordinates decides what is read: in f32, as other runtimes do.
constexpr DType kTable = DType::f32;

// Builds the tables of one axis.
class AxisTables {
 public:
  AxisTables(const OpContext& c, const ResizeMode& mode, const ResizeAxis& axis)
      : c_(c), b_(c.b), mode_(mode), axis_(axis) {}

  // Where each result element lies in the input: f32 [out].
  NodeId coordinates() const;
  NodeId nearest_index() const;  // i64 [out]

  struct Footprint {
    NodeId index, weight;  // i64 and f32 [out, taps]
    Dim taps;
  };
  Footprint footprint() const;

  // boolean [out]: outside the input, for tf_crop_and_resize
  NodeId outside() const;

 private:
  NodeId number(double value) const { return b_.scalar(kTable, value); }
  NodeId size(Dim dim) const { return dim_scalar(b_, kTable, dim); }
  NodeId crop_coordinates(NodeId x) const;
  bool shrinks() const;
  NodeId kernel(NodeId distance) const;
  Dim taps() const;

  const OpContext& c_;
  Builder& b_;
  const ResizeMode& mode_;
  const ResizeAxis& axis_;
};

NodeId AxisTables::crop_coordinates(NodeId x) const {
  c_.require(axis_.roi_start.has_value(), "tf_crop_and_resize needs the input roi");
  const NodeId start = *axis_.roi_start, last = size(axis_.in - 1);
  const NodeId length = b_.mul(b_.sub(*axis_.roi_end, start), last);
  const NodeId begin = b_.mul(start, last);
  if (decide(equal(axis_.out, 1), "Resize to one element"))
    return b_.add(b_.add(x, begin), b_.mul(length, number(0.5)));
  const NodeId steps = b_.sub(b_.mul(axis_.scale.node(b_), size(axis_.in)), number(1));
  return b_.add(begin, b_.div(b_.mul(x, length), steps));
}

NodeId AxisTables::coordinates() const {
  const NodeId x = b_.cast(b_.iota(DType::i64, {axis_.out}, 0), kTable);
  const NodeId scale = axis_.scale.node(b_);
  const NodeId width = b_.mul(scale, size(axis_.in));  // of the output, may be fractional
  const auto& name = mode_.coordinates;
  const auto one_element = [&] { return decide(equal(axis_.out, 1), "Resize to one element"); };
  if (name == "asymmetric") return b_.div(x, scale);
  if (name == "tf_crop_and_resize") return crop_coordinates(x);
  if (name == "align_corners") {
    if (one_element()) return x;
    return b_.div(b_.mul(x, size(axis_.in - 1)), b_.sub(width, number(1)));
  }
  const NodeId edge = b_.div(b_.add(x, number(0.5)), scale);
  if (name == "half_pixel_symmetric") {
    const NodeId rest = b_.sub(number(1), b_.div(size(axis_.out), width));
    const NodeId offset = b_.mul(b_.mul(size(axis_.in), number(0.5)), rest);
    return b_.sub(b_.add(offset, edge), number(0.5));
  }
  const NodeId half_pixel = b_.sub(edge, number(0.5));
  if (name == "half_pixel") return half_pixel;
  if (name == "pytorch_half_pixel") return one_element() ? x : half_pixel;
  c_.fail(fmt::format("attribute 'coordinate_transformation_mode' is unknown: '{}'", name));
}

NodeId AxisTables::nearest_index() const {
  NodeId x = coordinates();
  const std::string& name = mode_.rounding;
  const bool simple = name == "simple";
  if (name == "floor" || (simple && !shrinks())) x = b_.unary(Op::floor, x);
  else if (name == "ceil" || simple) x = b_.unary(Op::ceil, x);
  else if (name == "round_prefer_floor") x = b_.unary(Op::ceil, b_.sub(x, number(0.5)));
  else if (name == "round_prefer_ceil") x = b_.unary(Op::floor, b_.add(x, number(0.5)));
  else c_.fail(fmt::format("attribute 'nearest_mode' is unknown: '{}'", name));
  return tap_at(b_, x, {}, axis_.in, Outside::edge).index;
}

bool AxisTables::shrinks() const {
  const ResizeScale& s = axis_.scale;
  return s.is_quotient ? decide(less(s.numerator, s.denominator), "Resize makes smaller")
                       : s.factor < 1;
}

// Elements that the kernel may touch: it reaches 1 (linear) or 2 (cubic) elements to each side, of
// the output if an antialiasing filter stretches it.
Dim AxisTables::taps() const {
  const int64_t reach = mode_.kind == ResizeMode::Kind::cubic ? 2 : 1;
  const ResizeScale& s = axis_.scale;
  if (!mode_.antialias || !shrinks()) return 2 * reach;
  if (s.is_quotient) return 2 * ceildiv(reach * s.denominator, s.numerator);
  return 2 * static_cast<int64_t>(std::ceil(static_cast<double>(reach) / s.factor));
}

NodeId AxisTables::kernel(NodeId distance) const {
  const NodeId d = b_.unary(Op::abs, distance);
  if (mode_.kind == ResizeMode::Kind::linear) return b_.max(b_.sub(number(1), d), number(0));
  const NodeId outer =
      b_.select(b_.less(d, number(2)), cubic_outer(b_, d, mode_.cubic_a), number(0));
  return b_.select(b_.less_equal(d, number(1)), cubic_inner(b_, d, mode_.cubic_a), outer);
}

AxisTables::Footprint AxisTables::footprint() const {
  const Dim count = taps();
  const NodeId x = b_.unsqueeze(coordinates(), {1});
  // From taps / 2 - 1 elements before the one at or below x.
  const NodeId first = b_.sub(b_.unary(Op::floor, x), size(floordiv(count, 2) - 1));
  const NodeId step = b_.cast(b_.iota(DType::i64, {1, count}, 1), kTable);
  const NodeId position = b_.add(first, step);
  NodeId distance = b_.sub(position, x);
  if (mode_.antialias && shrinks()) distance = b_.mul(distance, axis_.scale.node(b_));
  NodeId weight = kernel(distance);
  const Tap tap = tap_at(b_, position, {}, axis_.in, Outside::zero);
  if (mode_.exclude_outside) weight = b_.select(*tap.inside, weight, number(0));
  if (mode_.exclude_outside || mode_.antialias)
    weight = b_.div(weight, b_.reduce(ReduceKind::sum, weight, {1}));
  return {tap.index, weight, count};
}

NodeId AxisTables::outside() const {
  const NodeId x = coordinates();
  return b_.logical_or(b_.less(x, number(0)), b_.less(size(axis_.in - 1), x));
}

// A table [extents...] for the axes from `axis` on, as it broadcasts against x of `rank`.
NodeId at_axis(Builder& b, NodeId table, int axis, int rank) {
  return b.unsqueeze(table, axis_range(b.rank(table), b.rank(table) + rank - 1 - axis));
}

// Sums of weighted gathers, one by one where there are few of them.
NodeId interpolate(Builder& b, NodeId x, int axis, Dim out, const AxisTables::Footprint& f) {
  const int rank = b.rank(x);
  const DType dtype = weight_dtype(b.dtype(x));
  const NodeId weight = b.cast(f.weight, dtype);
  Dims shape = b.shape(x);
  shape[axis] = out;
  std::vector<int> source = axis_range(0, rank);
  source[axis] = ~0;
  if (f.taps.is_constant() && f.taps.value() <= kMaxUnrolledTaps) {
    Taps taps;
    for (int64_t i = 0; i < f.taps.value(); ++i) {
      const auto column = [&](NodeId table) {
        return at_axis(b, b.squeeze(b.slice_axis(table, 1, i, 1), {1}), axis, rank);
      };
      taps.push_back({column(f.index), column(weight), {}});
    }
    return sample(b, x, source, {taps}, {}, shape);
  }
  shape.insert(shape.begin() + axis + 1, f.taps);
  for (int i = axis + 1; i < rank; ++i) ++source[i];
  const NodeId index = at_axis(b, f.index, axis, rank);
  const NodeId elements = b.cast(b.gather(x, {&index, 1}, source, shape), dtype);
  const NodeId weighted = b.mul(elements, at_axis(b, weight, axis, rank));
  return b.squeeze(b.reduce(ReduceKind::sum, weighted, {axis + 1}), {axis + 1});
}

}  // namespace

NodeId ResizeScale::node(Builder& b) const {
  if (!is_quotient) return b.scalar(kTable, factor);
  return b.div(dim_scalar(b, kTable, numerator), dim_scalar(b, kTable, denominator));
}

bool ResizeScale::is_whole(int64_t n) const {
  if (!is_quotient) return factor == static_cast<double>(n);
  return numerator.value() == denominator.value() * n &&
         decide(equal(numerator, denominator * n), "Resize by a whole factor");
}

bool ResizeAxis::is_identity() const {
  return !roi_start && scale.is_whole(1) && in.value() == out.value() &&
         decide(equal(in, out), "Resize to the same size");
}

std::optional<int64_t> nearest_repeats(const ResizeMode& mode, const ResizeAxis& axis) {
  const int64_t in = axis.in.value(), out = axis.out.value();
  if (mode.kind != ResizeMode::Kind::nearest || in == 0 || out % in != 0) return std::nullopt;
  const int64_t times = out / in;
  const bool from_centers = mode.coordinates == "half_pixel" ||
                            mode.coordinates == "pytorch_half_pixel" ||
                            mode.coordinates == "half_pixel_symmetric";
  const bool to_nearest =
      mode.rounding == "round_prefer_floor" || mode.rounding == "round_prefer_ceil";
  const bool from_corners = mode.coordinates == "asymmetric";
  const bool downwards = mode.rounding == "floor" || mode.rounding == "simple" ||
                         (mode.rounding == "round_prefer_floor" && times == 2);
  if (!(from_centers && to_nearest) && !(from_corners && downwards)) return std::nullopt;
  if (!axis.scale.is_whole(times)) return std::nullopt;
  if (!decide(equal(axis.out, axis.in * times), "Resize by a whole factor")) return std::nullopt;
  return times;
}

NodeId resize_axis(const OpContext& c, NodeId x, const ResizeMode& mode, const ResizeAxis& axis) {
  Builder& b = c.b;
  const AxisTables tables(c, mode, axis);
  NodeId y;
  if (mode.kind == ResizeMode::Kind::nearest) {
    Dims shape = b.shape(x);
    shape[axis.axis] = axis.out;
    std::vector<int> source = axis_range(0, b.rank(x));
    source[axis.axis] = ~0;
    const NodeId index = at_axis(b, tables.nearest_index(), axis.axis, b.rank(x));
    y = b.gather(x, {&index, 1}, std::move(source), std::move(shape));
  } else {
    y = interpolate(b, x, axis.axis, axis.out, tables.footprint());
  }
  if (mode.coordinates != "tf_crop_and_resize") return y;
  const NodeId outside = at_axis(b, tables.outside(), axis.axis, b.rank(x));
  return b.select(outside, b.like(y, mode.extrapolation), y);
}

}  // namespace onrush
