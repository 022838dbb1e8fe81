// Slices, and the concat and pad they see through.
#include <algorithm>

#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

bool takes_every(const SliceAttr& slice, size_t axis) { return slice.step[axis] == 1; }

// The slice takes elements of [low, high) only.
bool lies_within(const SliceAttr& slice, size_t axis, Dim low, Dim high) {
  const Dim first = slice.start[axis], end = slice.start[axis] + slice.shape[axis];
  return takes_every(slice, axis) && prove(less_equal(low, first)) == true &&
         prove(less_equal(end, high)) == true;
}

Result slice_of_concat(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::slice) || !r.is(r.operand(id, 0), Op::concat)) return std::nullopt;
  const NodeId concat = r.operand(id, 0);
  const int axis = r.b.node(concat).as<ConcatAttr>().axis;
  SliceAttr slice = r.b.node(id).as<SliceAttr>();
  Dim begin = 0;
  for (NodeId part : std::vector<NodeId>(r.b.node(concat).inputs)) {
    const Dim end = begin + r.b.shape(part)[axis];
    if (lies_within(slice, axis, begin, end)) {
      slice.start[axis] = slice.start[axis] - begin;
      return r.b.slice(part, slice.start, slice.step, slice.shape);
    }
    begin = end;
  }
  return std::nullopt;
}

Result slice_of_pad(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::slice) || !r.is(r.operand(id, 0), Op::pad)) return std::nullopt;
  const NodeId pad = r.operand(id, 0), x = r.operand(pad, 0);
  const PadAttr attr = r.b.node(pad).as<PadAttr>();
  SliceAttr slice = r.b.node(id).as<SliceAttr>();
  for (size_t axis = 0; axis < attr.low.size(); ++axis) {
    const bool padded = !is_zero(attr.low[axis]) || !is_zero(attr.high[axis]);
    if (padded && !lies_within(slice, axis, attr.low[axis], attr.low[axis] + r.b.shape(x)[axis]))
      return std::nullopt;
    slice.start[axis] = slice.start[axis] - attr.low[axis];
  }
  return r.b.slice(x, slice.start, slice.step, slice.shape);
}

Result slice_of_broadcast(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::slice) || !r.is(r.operand(id, 0), Op::broadcast)) return std::nullopt;
  const NodeId x = r.operand(r.operand(id, 0), 0);
  SliceAttr slice = r.b.node(id).as<SliceAttr>();
  const Dims shape = slice.shape;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (!is_one(r.b.shape(x)[axis])) continue;
    slice.start[axis] = 0;
    slice.step[axis] = 1;
    slice.shape[axis] = 1;
  }
  return r.b.broadcast(r.b.slice(x, slice.start, slice.step, slice.shape), shape);
}

Result slice_of_iota(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::slice) || !r.is(r.operand(id, 0), Op::iota)) return std::nullopt;
  const int axis = b.node(r.operand(id, 0)).as<IotaAttr>().axis;
  const SliceAttr slice = b.node(id).as<SliceAttr>();
  if (!takes_every(slice, axis)) return std::nullopt;
  const DType dtype = b.dtype(id);
  const NodeId first = b.iota(dtype, slice.shape, axis);
  return is_zero(slice.start[axis]) ? first : b.add(first, b.dims(dtype, {slice.start[axis]}, {}));
}

// --- concat

Result concat_of_concat(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::concat)) return std::nullopt;
  const int axis = r.b.node(id).as<ConcatAttr>().axis;
  std::vector<NodeId> parts;
  for (NodeId part : r.b.node(id).inputs) {
    const Node& node = r.b.node(part);
    if (node.op == Op::concat && node.as<ConcatAttr>().axis == axis)
      parts.insert(parts.end(), node.inputs.begin(), node.inputs.end());
    else parts.push_back(part);
  }
  if (parts.size() == r.b.node(id).inputs.size()) return std::nullopt;
  return r.b.concat(parts, axis);
}

// The two slices together, if `next` takes what follows `slice` along `axis`.
std::optional<SliceAttr> joined(const SliceAttr& slice, const SliceAttr& next, size_t axis) {
  if (!takes_every(slice, axis) || !takes_every(next, axis)) return std::nullopt;
  for (size_t i = 0; i < slice.start.size(); ++i) {
    const Dim start = i == axis ? slice.start[i] + slice.shape[i] : slice.start[i];
    if (!always_equal(start, next.start[i]) || slice.step[i] != next.step[i]) return std::nullopt;
  }
  SliceAttr both = slice;
  both.shape[axis] = slice.shape[axis] + next.shape[axis];
  return both;
}

// Neighbouring parts that are neighbours in one tensor as well.
Result concat_of_neighbours(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::concat)) return std::nullopt;
  const int axis = r.b.node(id).as<ConcatAttr>().axis;
  std::vector<NodeId> parts;
  bool merged = false;
  for (NodeId part : std::vector<NodeId>(r.b.node(id).inputs)) {
    if (!parts.empty() && r.is(part, Op::slice) && r.is(parts.back(), Op::slice) &&
        r.operand(part, 0) == r.operand(parts.back(), 0)) {
      const SliceAttr last = r.b.node(parts.back()).as<SliceAttr>();
      if (const auto both = joined(last, r.b.node(part).as<SliceAttr>(), axis)) {
        parts.back() = r.b.slice(r.operand(part, 0), both->start, both->step, both->shape);
        merged = true;
        continue;
      }
    }
    parts.push_back(part);
  }
  return merged ? Result(r.b.concat(parts, axis)) : std::nullopt;
}

// The shape with an axis of `count` before `axis`, of which this one has its part.
Dims split(Dims shape, int axis, int64_t count, Dim each) {
  shape[static_cast<size_t>(axis)] = each;
  shape.insert(shape.begin() + axis, count);
  return shape;
}

// A tensor behind itself is repeated: no kernel has to copy it.
Result concat_of_itself(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::concat)) return std::nullopt;
  const std::vector<NodeId> parts = r.b.node(id).inputs;
  if (parts.size() < 2 || std::ranges::any_of(parts, [&](NodeId p) { return p != parts[0]; }))
    return std::nullopt;
  const int axis = r.b.node(id).as<ConcatAttr>().axis;
  const Dims shape = r.b.shape(parts[0]), whole = r.b.shape(id);
  const Dim each = shape[static_cast<size_t>(axis)];
  const auto count = static_cast<int64_t>(parts.size());
  const NodeId one = r.b.reshape(parts[0], split(shape, axis, 1, each));
  return r.b.reshape(r.b.broadcast(one, split(shape, axis, count, each)), whole);
}

// Two halves of a tensor, the second first, either negated: halves in reverse order times signs.
// Rotary embeddings spell it so.
Result concat_of_swapped_halves(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::concat) || r.b.node(id).inputs.size() != 2) return std::nullopt;
  const int axis = r.b.node(id).as<ConcatAttr>().axis;
  NodeId halves[2];
  float signs[2];
  for (int i = 0; i < 2; ++i) {
    const NodeId part = r.operand(id, i);
    const bool negated = r.is(part, Op::neg);
    halves[i] = negated ? r.operand(part, 0) : part;
    signs[i] = negated ? -1.0F : 1.0F;
    if (!r.is(halves[i], Op::slice)) return std::nullopt;
  }
  const NodeId x = r.operand(halves[0], 0);
  if (r.operand(halves[1], 0) != x || !is_float(r.b.dtype(x))) return std::nullopt;
  const SliceAttr first = r.b.node(halves[1]).as<SliceAttr>();
  const auto both = joined(first, r.b.node(halves[0]).as<SliceAttr>(), axis);
  const Dim each = first.shape[axis];
  if (!both || !always_equal(both->shape[axis], each + each)) return std::nullopt;
  const NodeId whole = r.b.slice(x, both->start, both->step, both->shape);
  NodeId turned =
      r.b.slice_axis(r.b.reshape(whole, split(both->shape, axis, 2, each)), axis, 1, 2, -1);
  if (signs[0] != signs[1]) {
    Dims across(static_cast<size_t>(r.b.rank(turned)), 1);
    across[static_cast<size_t>(axis)] = 2;
    const NodeId pair = r.b.constant(Tensor::of<float>(DType::f32, {2}, signs));
    turned = r.b.mul(turned, r.b.reshape(r.b.cast(pair, r.b.dtype(x)), across));
  } else if (signs[0] < 0) {
    turned = r.b.neg(turned);
  }
  return r.b.reshape(turned, both->shape);
}

// --- pad

Result pad_of_pad(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::pad) || !r.is(r.operand(id, 0), Op::pad)) return std::nullopt;
  const NodeId inner = r.operand(id, 0), value = r.operand(id, 1);
  if (r.operand(inner, 1) != value) return std::nullopt;
  PadAttr both = r.b.node(id).as<PadAttr>();
  const PadAttr& first = r.b.node(inner).as<PadAttr>();
  for (size_t axis = 0; axis < both.low.size(); ++axis) {
    both.low[axis] = both.low[axis] + first.low[axis];
    both.high[axis] = both.high[axis] + first.high[axis];
  }
  return r.b.pad(r.operand(inner, 0), value, both.low, both.high);
}

constexpr Rule kRules[] = {
    {"slice_of_concat", slice_of_concat},
    {"slice_of_pad", slice_of_pad},
    {"slice_of_broadcast", slice_of_broadcast},
    {"slice_of_iota", slice_of_iota},
    {"concat_of_concat", concat_of_concat},
    {"concat_of_neighbours", concat_of_neighbours},
    {"concat_of_itself", concat_of_itself},
    {"concat_of_swapped_halves", concat_of_swapped_halves},
    {"pad_of_pad", pad_of_pad},
};

}  // namespace

std::span<const Rule> slice_rules() { return kRules; }

}  // namespace onrush
