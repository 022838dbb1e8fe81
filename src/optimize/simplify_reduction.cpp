#include <algorithm>

#include "optimize/axis_blocks.h"
#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

bool is_arg(ReduceKind kind) { return kind == ReduceKind::argmax || kind == ReduceKind::argmin; }

// The attribute of a reduction that gives a value, not its place.
std::optional<ReduceAttr> value_reduction(const Rewriter& r, NodeId id) {
  if (!r.is(id, Op::reduce) || is_arg(r.b.node(id).as<ReduceAttr>().kind)) return std::nullopt;
  return r.b.node(id).as<ReduceAttr>();
}

Result reduce_unit_axes(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::reduce)) return std::nullopt;
  const ReduceAttr attr = r.b.node(id).as<ReduceAttr>();
  const NodeId x = r.operand(id, 0);
  Axes axes;
  for (int axis : attr.axes)
    if (!is_one(r.b.shape(x)[axis])) axes.push_back(axis);
  if (axes.size() == attr.axes.size()) return std::nullopt;
  if (is_arg(attr.kind)) return r.b.broadcast(r.b.scalar(DType::i64, 0), Dims(r.b.shape(id)));
  return r.b.reduce(attr.kind, x, std::move(axes));
}

Result reduce_of_reduce(Rewriter& r, NodeId id) {
  const auto outer = value_reduction(r, id);
  if (!outer) return std::nullopt;
  const NodeId x = r.operand(id, 0);
  const auto inner = value_reduction(r, x);
  if (!inner || inner->kind != outer->kind || !r.used_once(x)) return std::nullopt;
  Axes axes;
  std::ranges::set_union(inner->axes, outer->axes, std::back_inserter(axes));
  return r.b.reduce(outer->kind, r.operand(x, 0), std::move(axes));
}

// The sum of sums that are scaled by one number, as in a mean of means.
Result reduce_before_scale(Rewriter& r, NodeId id) {
  const auto attr = value_reduction(r, id);
  if (!attr || attr->kind != ReduceKind::sum || !is_float(r.b.dtype(id))) return std::nullopt;
  const NodeId scaled = r.operand(id, 0);
  const Op op = r.b.node(scaled).op;
  if (op != Op::mul && op != Op::div) return std::nullopt;
  const auto c = with_number(r, scaled, op);
  if (!c || !r.is(c->x, Op::reduce) || !r.used_once(scaled)) return std::nullopt;
  const NodeId sum = r.b.reduce(attr->kind, c->x, attr->axes);
  return r.b.binary(op, sum, r.b.like(sum, c->value));
}

Result reduce_of_broadcast(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  const auto attr = value_reduction(r, id);
  if (!attr || attr->kind == ReduceKind::product || !r.is(r.operand(id, 0), Op::broadcast))
    return std::nullopt;
  const NodeId broadcast = r.operand(id, 0), x = r.operand(broadcast, 0);
  Axes axes;
  Dims shape = b.shape(broadcast);
  Dim repetitions = 1;
  for (int axis : attr->axes) {
    if (!is_one(b.shape(x)[axis])) {
      axes.push_back(axis);
      continue;
    }
    repetitions = repetitions * shape[axis];
    shape[axis] = 1;
  }
  if (axes.size() == attr->axes.size()) return std::nullopt;
  if (attr->kind != ReduceKind::sum && prove(less(0, repetitions)) != true) return std::nullopt;
  const NodeId reduced = b.reduce(attr->kind, b.broadcast(x, shape), std::move(axes));
  if (attr->kind != ReduceKind::sum) return reduced;
  const DType dtype = b.dtype(id);
  const NodeId count = repetitions.is_constant()
                           ? b.cast(b.scalar(DType::i64, repetitions.value()), dtype)
                           : b.cast(b.dims(DType::i64, {repetitions}, {}), dtype);
  return b.mul(reduced, count);
}

// Axes that a reshape merged or split before they were all reduced.
Result reduce_of_reshape(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  const auto attr = value_reduction(r, id);
  if (!attr || !r.is(r.operand(id, 0), Op::reshape)) return std::nullopt;
  const NodeId reshape = r.operand(id, 0), x = r.operand(reshape, 0);
  const auto blocks = axis_blocks(b.shape(x), b.shape(reshape));
  if (!blocks) return std::nullopt;
  Axes axes;
  for (const AxisBlock& block : *blocks) {
    const auto is_reduced = [&](int axis) { return contains(attr->axes, axis); };
    if (std::ranges::none_of(block.to, is_reduced)) continue;
    if (!std::ranges::all_of(block.to, is_reduced)) return std::nullopt;
    axes.insert(axes.end(), block.from.begin(), block.from.end());
  }
  const Dims shape = b.shape(id);
  return b.reshape(b.reduce(attr->kind, x, std::move(axes)), shape);
}

constexpr Rule kRules[] = {
    {"reduce_unit_axes", reduce_unit_axes},       {"reduce_of_reduce", reduce_of_reduce},
    {"reduce_before_scale", reduce_before_scale}, {"reduce_of_broadcast", reduce_of_broadcast},
    {"reduce_of_reshape", reduce_of_reshape},
};

}  // namespace

std::span<const Rule> reduction_rules() { return kRules; }

}  // namespace onrush
