// Powers, clamps, and quotients that exporters spell in several ways.
#include <algorithm>
#include <cmath>

#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

Result small_power(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  const auto c = with_number(r, id, Op::pow);
  if (!c || !is_float(b.dtype(id))) return std::nullopt;
  const NodeId x = c->x;
  const auto reciprocal = [&](NodeId y) { return b.div(b.like(y, 1), y); };
  if (c->value == 2) return b.mul(x, x);
  if (c->value == 3) return r.mul(x, b.mul(x, x));
  if (c->value == 0.5) return b.sqrt(x);
  if (c->value == -1) return reciprocal(x);
  if (c->value == -0.5) return reciprocal(b.sqrt(x));
  return std::nullopt;
}

// --- clamps

// max(max(x, a), b), and min likewise.
Result merge_limits(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  if (op != Op::max && op != Op::min) return std::nullopt;
  const auto outer = with_number(r, id, op);
  if (!outer) return std::nullopt;
  const auto inner = with_number(r, outer->x, op);
  if (!inner) return std::nullopt;
  const bool outer_decides =
      op == Op::max ? outer->value >= inner->value : outer->value <= inner->value;
  return outer_decides ? r.b.binary(op, inner->x, r.operand(id, 1)) : outer->x;
}

// min(max(x, low), high) with low <= high.
Result low_limit_last(Rewriter& r, NodeId id) {
  const auto high = with_number(r, id, Op::min);
  if (!high) return std::nullopt;
  const auto low = with_number(r, high->x, Op::max);
  if (!low || low->value > high->value) return std::nullopt;
  const NodeId high_node = r.operand(id, 1), low_node = r.operand(high->x, 1);
  return r.b.max(r.b.min(low->x, high_node), low_node);
}

// --- quotients

// c where the node is 1 / c, computed before it is repeated.
Result reciprocal_of(Rewriter& r, NodeId id) {
  const NodeId quotient = before_broadcast(r.b, id);
  if (!r.is(quotient, Op::div) || !r.facts.is_splat(r.operand(quotient, 0), 1)) return std::nullopt;
  return r.operand(quotient, 1);
}

// x / sqrt(v), the root being computed once for many elements: x * (1 / sqrt(v)).
Result dividing_by_root(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::div) || !is_float(b.dtype(id))) return std::nullopt;
  const NodeId root = before_broadcast(b, r.operand(id, 1));
  if (root == r.operand(id, 1) || !r.is(root, Op::sqrt)) return std::nullopt;
  const NodeId x = r.operand(id, 0);
  return r.mul(x, b.broadcast(b.div(b.like(root, 1), root), Dims(b.shape(x))));
}

// e * (1 / sum(e)): softmax.
Result dividing_by_own_sum(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::mul)) return std::nullopt;
  for (int i = 0; i < 2; ++i) {
    const NodeId x = r.operand(id, i);
    const auto sum = reciprocal_of(r, r.operand(id, 1 - i));
    if (sum && r.is(*sum, Op::reduce) && r.operand(*sum, 0) == x &&
        r.b.node(*sum).as<ReduceAttr>().kind == ReduceKind::sum)
      return r.b.div(x, *sum);
  }
  return std::nullopt;
}

// sum(x) * (1 / count): mean.
Result mean_divides(Rewriter& r, NodeId id) {
  const auto c = with_number(r, id, Op::mul);
  if (!c || !is_float(r.b.dtype(id)) || !r.is(c->x, Op::reduce)) return std::nullopt;
  const ReduceAttr attr = r.b.node(c->x).as<ReduceAttr>();
  if (attr.kind != ReduceKind::sum) return std::nullopt;
  Dim count = 1;
  for (int axis : attr.axes) count = count * r.b.shape(r.operand(c->x, 0))[axis];
  const auto number = static_cast<double>(count.value());
  int exponent = 0;
  const bool exact = std::frexp(number, &exponent) == 0.5;  // dividing_multiplies undoes it
  if (!count.is_constant() || exact || !nearly(c->value * number, 1, r.b.dtype(id)))
    return std::nullopt;
  return r.b.div(c->x, r.b.like(c->x, number));
}

constexpr Rule kRules[] = {
    {"small_power", small_power},
    {"merge_limits", merge_limits},
    {"low_limit_last", low_limit_last},
    {"dividing_by_root", dividing_by_root},
    {"dividing_by_own_sum", dividing_by_own_sum},
    {"mean_divides", mean_divides},
};

}  // namespace

std::span<const Rule> power_rules() { return kRules; }

}  // namespace onrush
