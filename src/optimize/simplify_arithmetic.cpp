#include <algorithm>
#include <cmath>
#include <limits>

#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

bool is_commutative(Op op) {
  switch (op) {
    case Op::add:
    case Op::mul:
    case Op::min:
    case Op::max:
    case Op::bit_and:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::equal: return true;
    default: return false;
  }
}

Result order_operands(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  if (!is_commutative(op)) return std::nullopt;
  const NodeId x = r.operand(id, 0), y = r.operand(id, 1);
  return r.in_order(x, y) ? std::nullopt : Result(r.b.binary(op, y, x));
}

// --- neutral and absorbing operands

Result drop_neutral(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  if (class_of(op) != OpClass::binary) return std::nullopt;
  const auto c = with_number(r, id, op);
  if (!c) return std::nullopt;
  const bool boolean = r.b.dtype(id) == DType::boolean;
  const double inf = std::numeric_limits<double>::infinity();
  switch (op) {
    case Op::add:
    case Op::sub:
    case Op::bit_or:
    case Op::bit_xor:
    case Op::shift_left:
    case Op::shift_right: return c->value == 0 ? Result(c->x) : std::nullopt;
    case Op::mul:
    case Op::div:
    case Op::pow: return c->value == 1 ? Result(c->x) : std::nullopt;
    case Op::bit_and: return boolean && c->value == 1 ? Result(c->x) : std::nullopt;
    case Op::max: return c->value == -inf ? Result(c->x) : std::nullopt;
    case Op::min: return c->value == inf ? Result(c->x) : std::nullopt;
    default: return std::nullopt;
  }
}

// The other operand decides alone. Not for floats: x may be NaN or infinite.
Result keep_absorbing(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  if (class_of(op) != OpClass::binary || is_float(r.b.dtype(id))) return std::nullopt;
  const auto c = with_number(r, id, op);
  if (!c) return std::nullopt;
  const bool zero = (op == Op::mul || op == Op::bit_and) && c->value == 0;
  const bool one = op == Op::bit_or && c->value == 1 && r.b.dtype(id) == DType::boolean;
  return zero || one ? Result(r.operand(id, 1)) : std::nullopt;
}

Result minus_one_negates(Rewriter& r, NodeId id) {
  const auto c = with_number(r, id, Op::mul);
  return c && c->value == -1 ? Result(r.b.neg(c->x)) : std::nullopt;
}

Result zero_minus_negates(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::sub) || !r.facts.is_splat(r.operand(id, 0), 0)) return std::nullopt;
  return r.b.neg(r.operand(id, 1));
}

// --- one form of sums

Result subtracting_adds(Rewriter& r, NodeId id) {
  const auto c = with_number(r, id, Op::sub);
  if (!c || !is_float(r.b.dtype(id))) return std::nullopt;
  return r.b.add(c->x, r.b.like(c->x, -c->value));
}

Result adding_negated_subtracts(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::add) && !r.is(id, Op::sub)) return std::nullopt;
  const NodeId x = r.operand(id, 0), y = r.operand(id, 1);
  if (r.is(id, Op::add) && r.is(x, Op::neg)) return r.b.sub(y, r.operand(x, 0));
  if (!r.is(y, Op::neg)) return std::nullopt;
  const NodeId negated = r.operand(y, 0);
  return r.is(id, Op::add) ? r.b.sub(x, negated) : r.add(x, negated);
}

// (x + a) + b, unless a and b nearly cancel.
Result merge_terms(Rewriter& r, NodeId id) {
  const auto outer = with_number(r, id, Op::add);
  if (!outer || !is_float(r.b.dtype(id))) return std::nullopt;
  const auto inner = with_number(r, outer->x, Op::add);
  if (!inner) return std::nullopt;
  const double sum = inner->value + outer->value;
  const bool harmless =
      std::abs(sum) >= 0.5 * std::max(std::abs(inner->value), std::abs(outer->value));
  return harmless && std::isfinite(sum) ? Result(r.b.add(inner->x, r.b.like(inner->x, sum)))
                                        : std::nullopt;
}

// (x * a) * b, unless the product leaves the range of normal numbers.
Result merge_factors(Rewriter& r, NodeId id) {
  const auto outer = with_number(r, id, Op::mul);
  if (!outer || !is_float(r.b.dtype(id))) return std::nullopt;
  const auto inner = with_number(r, outer->x, Op::mul);
  if (!inner) return std::nullopt;
  const double product = inner->value * outer->value;
  const double limit = r.b.dtype(id) == DType::f16 ? 1e4 : 1e30;
  const bool in_range = std::abs(product) < limit && std::abs(product) > 1 / limit;
  return in_range ? Result(r.b.mul(inner->x, r.b.like(inner->x, product))) : std::nullopt;
}

// By a power of two, whose reciprocal is exact.
Result dividing_multiplies(Rewriter& r, NodeId id) {
  const auto c = with_number(r, id, Op::div);
  if (!c || !is_float(r.b.dtype(id))) return std::nullopt;
  int exponent = 0;
  if (std::abs(std::frexp(c->value, &exponent)) != 0.5 || std::abs(exponent) > 12)
    return std::nullopt;
  return r.b.mul(c->x, r.b.like(c->x, 1 / c->value));
}

// --- applied twice, or to a constant condition

Result drop_double(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  const bool involution = op == Op::neg || op == Op::bit_not;
  const bool idempotent = op == Op::abs || op == Op::sign || op == Op::ceil || op == Op::floor ||
                          op == Op::round || op == Op::trunc;
  if ((!involution && !idempotent) || !r.is(r.operand(id, 0), op)) return std::nullopt;
  return involution ? r.operand(r.operand(id, 0), 0) : r.operand(id, 0);
}

Result known_condition(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::select)) return std::nullopt;
  const auto truth = r.facts.splat(r.operand(id, 0));
  return truth ? Result(r.operand(id, *truth != 0 ? 1 : 2)) : std::nullopt;
}

Result negated_condition(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::select) || !r.is(r.operand(id, 0), Op::bit_not)) return std::nullopt;
  return r.b.select(r.operand(r.operand(id, 0), 0), r.operand(id, 2), r.operand(id, 1));
}

// Whether no element can be negative, as positions and sizes are not.
bool is_nonnegative(Rewriter& r, NodeId id, int depth = 0) {
  if (const auto number = r.facts.splat(id)) return *number >= 0;
  const Node& node = r.b.node(id);
  const auto operand = [&](NodeId x) { return depth < 8 && is_nonnegative(r, x, depth + 1); };
  switch (node.op) {
    case Op::iota: return true;
    case Op::dims:
      return std::ranges::all_of(node.as<DimsAttr>().elements,
                                 [](Dim dim) { return prove(less_equal(0, dim)) == true; });
    case Op::max: return std::ranges::any_of(node.inputs, operand);
    case Op::add:
    case Op::mul:
    case Op::min:
    case Op::reshape:
    case Op::transpose:
    case Op::broadcast:
    case Op::slice:
    case Op::concat: return std::ranges::all_of(node.inputs, operand);
    default: return false;
  }
}

// x < 0 and 0 <= x, where x is a position: exporters count negative ones from the end.
Result known_sign(Rewriter& r, NodeId id) {
  const bool less = r.is(id, Op::less);
  if (!less && !r.is(id, Op::less_equal)) return std::nullopt;
  const NodeId x = r.operand(id, less ? 0 : 1);
  if (!is_integer(r.b.dtype(x)) || !r.facts.is_splat(r.operand(id, less ? 1 : 0), 0) ||
      !is_nonnegative(r, x))
    return std::nullopt;
  return r.b.broadcast(r.b.scalar(DType::boolean, less ? 0 : 1), Dims(r.b.shape(id)));
}

// --- casts

// Bits of an integer's magnitude, or of a float's significand.
int magnitude_bits(DType dtype) {
  if (dtype == DType::boolean) return 1;
  if (is_integer(dtype)) return bits(dtype) - (is_signed_integer(dtype) ? 1 : 0);
  switch (dtype) {
    case DType::f64: return 53;
    case DType::f32: return 24;
    case DType::f16: return 11;
    case DType::bf16: return 8;
    default: return 0;
  }
}

// Whether every value of `from` is one of `to`.
bool is_contained(DType from, DType to) {
  if (magnitude_bits(from) == 0 || to == DType::boolean || magnitude_bits(to) == 0) return false;
  if (is_float(from))
    return is_float(to) && bits(to) > bits(from) && !(from == DType::bf16 && to == DType::f16);
  const bool sign_fits = is_float(to) || is_signed_integer(to) || !is_signed_integer(from);
  return sign_fits && magnitude_bits(from) <= magnitude_bits(to);
}

Result merge_casts(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::cast) || !r.is(r.operand(id, 0), Op::cast)) return std::nullopt;
  const NodeId x = r.operand(r.operand(id, 0), 0);
  const CastAttr attr = r.b.node(id).as<CastAttr>();
  if (!is_contained(r.b.dtype(x), r.b.dtype(r.operand(id, 0)))) return std::nullopt;
  return r.b.cast(x, attr.dtype, attr.saturate);
}

constexpr Rule kRules[] = {
    {"order_operands", order_operands},
    {"drop_neutral", drop_neutral},
    {"keep_absorbing", keep_absorbing},
    {"minus_one_negates", minus_one_negates},
    {"zero_minus_negates", zero_minus_negates},
    {"subtracting_adds", subtracting_adds},
    {"adding_negated_subtracts", adding_negated_subtracts},
    {"merge_terms", merge_terms},
    {"merge_factors", merge_factors},
    {"dividing_multiplies", dividing_multiplies},
    {"drop_double", drop_double},
    {"known_condition", known_condition},
    {"negated_condition", negated_condition},
    {"known_sign", known_sign},
    {"merge_casts", merge_casts},
};

}  // namespace

std::span<const Rule> arithmetic_rules() { return kRules; }

}  // namespace onrush
