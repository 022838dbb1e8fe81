// Operators of one operand, comparisons, logic, and choices between operands.
#include <limits>

#include "lower/family_parts.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

bool is_defined(Op op, DType dtype) {
  if (op == Op::bit_not) return dtype == DType::boolean || is_integer(dtype);
  if (op == Op::abs || op == Op::neg || op == Op::sign) return is_float(dtype) || is_integer(dtype);
  return is_float(dtype);
}

template <Op op>
Results lower_unary(OpContext& c) {
  if (!is_defined(op, c.dtype(0)))
    c.fail(fmt::format("it is not defined for {}", onnx_name(c.dtype(0))));
  return c.b.unary(op, c.in(0));
}

Results lower_identity(OpContext& c) { return c.lowered(0); }

Results lower_reciprocal(OpContext& c) { return c.b.div(c.b.like(c.in(0), 1), c.in(0)); }

Results lower_is_nan(OpContext& c) { return c.b.unary(Op::is_nan, widen(c.b, c.in(0))); }

Results lower_is_inf(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = widen(b, c.in(0));
  const bool positive = c.attr("detect_positive", 1) != 0;
  const bool negative = c.attr("detect_negative", 1) != 0;
  if (!positive && !negative) return full(b, DType::boolean, 0, b.shape(x));
  const NodeId candidate = positive && negative ? b.unary(Op::abs, x) : positive ? x : b.neg(x);
  return b.equal(candidate, b.like(x, std::numeric_limits<double>::infinity()));
}

Results lower_where(OpContext& c) {
  c.require(c.dtype(0) == DType::boolean, "the condition must be boolean");
  c.require(c.dtype(1) == c.dtype(2), "both choices must have one dtype");
  return c.b.select(c.in(0), c.in(1), c.in(2));
}

// A limit is an input since opset 11, an attribute before.
std::optional<NodeId> clip_limit(const OpContext& c, int input, std::string_view name) {
  Builder& b = c.b;
  if (!c.has(input)) {
    if (!c.has_attr(name)) return std::nullopt;
    return b.like(c.in(0), c.attr(name, 0.f));
  }
  c.require(c.dtype(input) == c.dtype(0), "the limits must have the dtype of the data");
  return b.reshape(c.in(input), {});
}

Results lower_clip(OpContext& c) {
  NodeId x = c.in(0);
  if (const auto low = clip_limit(c, 1, "min")) x = c.b.max(x, *low);
  if (const auto high = clip_limit(c, 2, "max")) x = c.b.min(x, *high);
  return x;
}

constexpr OpRow kOps[] = {
    {"Abs", lower_unary<Op::abs>},
    {"Neg", lower_unary<Op::neg>},
    {"Sign", lower_unary<Op::sign>},
    {"Ceil", lower_unary<Op::ceil>},
    {"Floor", lower_unary<Op::floor>},
    {"Round", lower_unary<Op::round>},
    {"Sqrt", lower_unary<Op::sqrt>},
    {"Exp", lower_unary<Op::exp>},
    {"Log", lower_unary<Op::log>},
    {"Sin", lower_unary<Op::sin>},
    {"Cos", lower_unary<Op::cos>},
    {"Tan", lower_unary<Op::tan>},
    {"Asin", lower_unary<Op::asin>},
    {"Acos", lower_unary<Op::acos>},
    {"Atan", lower_unary<Op::atan>},
    {"Sinh", lower_unary<Op::sinh>},
    {"Cosh", lower_unary<Op::cosh>},
    {"Tanh", lower_unary<Op::tanh>},
    {"Asinh", lower_unary<Op::asinh>},
    {"Acosh", lower_unary<Op::acosh>},
    {"Atanh", lower_unary<Op::atanh>},
    {"Erf", lower_unary<Op::erf>},
    {"Sigmoid", lower_unary<Op::sigmoid>},
    {"Not", lower_unary<Op::bit_not>},
    {"BitwiseNot", lower_unary<Op::bit_not>},
    {"Reciprocal", lower_reciprocal},
    {"IsNaN", lower_is_nan},
    {"IsInf", lower_is_inf},
    {"Identity", lower_identity},
    {"Where", lower_where},
    {"Clip", lower_clip},
};

}  // namespace

std::span<const OpRow> elementwise_ops() {
  static const std::vector<OpRow> rows =
      join_rows({kOps, arithmetic_ops(), activation_ops(), cast_ops()});
  return rows;
}

}  // namespace onrush
