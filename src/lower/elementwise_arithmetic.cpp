// Operators of two and more operands.
#include <algorithm>
#include <array>

#include "base/numeric.h"
#include "lower/family_parts.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// The second operand as it broadcasts against the first. Before opset 7 its axes started at `axis`
// of the first, by default so that the last ones matched.
NodeId second_operand(const OpContext& c) {
  const NodeId y = c.in(1);
  if (c.opset() >= 7 || c.attr("broadcast", 0) == 0 || !c.has_attr("axis")) return y;
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  const int rank = c.rank(1);
  return c.b.unsqueeze(y, axis_range(rank, std::max(rank, c.rank(0) - axis)));
}

void require_one_dtype(const OpContext& c, std::span<const NodeId> operands) {
  for (NodeId operand : operands)
    if (c.b.dtype(operand) != c.b.dtype(operands[0]))
      c.fail(fmt::format("the operands must have one dtype, not {} and {}",
                         onnx_name(c.b.dtype(operands[0])), onnx_name(c.b.dtype(operand))));
}

bool is_defined(Op op, DType dtype) {
  const bool bitwise = op == Op::bit_and || op == Op::bit_or || op == Op::bit_xor;
  if (bitwise) return dtype == DType::boolean || is_integer(dtype);
  return is_float(dtype) || is_integer(dtype);
}

void require_defined(const OpContext& c, Op op, NodeId x) {
  if (!is_defined(op, c.b.dtype(x)))
    c.fail(fmt::format("it is not defined for {}", onnx_name(c.b.dtype(x))));
}

struct Pair {
  NodeId x, y;
};
Pair operands(const OpContext& c) {
  const Pair pair{c.in(0), second_operand(c)};
  require_one_dtype(c, std::array{pair.x, pair.y});
  return pair;
}

template <Op op>
Results lower_binary(OpContext& c) {
  const auto [x, y] = operands(c);
  require_defined(c, op, x);
  return c.b.binary(op, x, y);
}

template <Op op>
Results lower_swapped(OpContext& c) {
  const auto [x, y] = operands(c);
  require_defined(c, op, x);
  return c.b.binary(op, y, x);
}

Results lower_equal(OpContext& c) {
  const auto [x, y] = operands(c);
  Builder& b = c.b;
  if (b.dtype(x) != DType::string) return b.equal(x, y);
  const NodeId both[] = {x, y};
  const Dims shape = broadcast_shapes(b.shape(x), b.shape(y));
  return b.get(b.call({"string_equal", {}}, both, {{DType::boolean, shape}}), 0);
}

Results lower_mod(OpContext& c) {
  const auto [x, y] = operands(c);
  return c.b.binary(c.attr("fmod", 0) != 0 ? Op::rem : Op::mod, x, y);
}

Results lower_bit_shift(OpContext& c) {
  const auto [x, y] = operands(c);
  const std::string direction = c.attr("direction", "");
  c.require(direction == "LEFT" || direction == "RIGHT", "'direction' must be LEFT or RIGHT");
  return c.b.binary(direction == "LEFT" ? Op::shift_left : Op::shift_right, x, y);
}

// The exponent if it is one known number that leaves the base its shape.
std::optional<double> known_exponent(const OpContext& c, NodeId exponent) {
  const Tensor* tensor = c.b.constant_tensor(exponent);
  if (!tensor || tensor->count() != 1 || tensor->rank() > c.rank(0)) return std::nullopt;
  return load_f64(tensor->dtype(), tensor->data(), 0);
}

// The dtype that holds base and exponent for the power to be taken in.
DType power_dtype(DType base, DType exponent) {
  if (!is_float(exponent)) return base;
  if (!is_float(base)) return DType::f64;
  return bits(exponent) > bits(base) ? exponent : base;
}

Results lower_pow(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = c.in(0), y = second_operand(c);
  require_defined(c, Op::pow, x);
  require_defined(c, Op::pow, y);
  const auto exponent = known_exponent(c, y);
  if (exponent == 2) return b.mul(x, x);
  if (exponent == 3) return b.mul(b.mul(x, x), x);
  const DType dtype = power_dtype(b.dtype(x), b.dtype(y));
  return b.cast(b.binary(Op::pow, b.cast(x, dtype), b.cast(y, dtype)), b.dtype(x));
}

NodeId accumulate(const OpContext& c, Op op, const std::vector<NodeId>& operands) {
  c.require(!operands.empty(), "needs at least one input");
  require_one_dtype(c, operands);
  require_defined(c, op, operands[0]);
  NodeId result = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) result = c.b.binary(op, result, operands[i]);
  return result;
}

template <Op op>
Results lower_variadic(OpContext& c) {
  return accumulate(c, op, c.all_inputs());
}

Results lower_mean(OpContext& c) {
  Builder& b = c.b;
  std::vector<NodeId> operands = c.all_inputs();
  for (NodeId& operand : operands) operand = widen(b, operand);
  const NodeId sum = accumulate(c, Op::add, operands);
  return b.cast(b.div(sum, b.like(sum, static_cast<double>(operands.size()))), c.dtype(0));
}

constexpr OpRow kOps[] = {
    {"Add", lower_binary<Op::add>},
    {"Sub", lower_binary<Op::sub>},
    {"Mul", lower_binary<Op::mul>},
    {"Div", lower_binary<Op::div>},
    {"Mod", lower_mod},
    {"Pow", lower_pow},
    {"And", lower_binary<Op::bit_and>},
    {"Or", lower_binary<Op::bit_or>},
    {"Xor", lower_binary<Op::bit_xor>},
    {"BitwiseAnd", lower_binary<Op::bit_and>},
    {"BitwiseOr", lower_binary<Op::bit_or>},
    {"BitwiseXor", lower_binary<Op::bit_xor>},
    {"BitShift", lower_bit_shift},
    {"Equal", lower_equal},
    {"Less", lower_binary<Op::less>},
    {"LessOrEqual", lower_binary<Op::less_equal>},
    {"Greater", lower_swapped<Op::less>},
    {"GreaterOrEqual", lower_swapped<Op::less_equal>},
    {"Min", lower_variadic<Op::min>},
    {"Max", lower_variadic<Op::max>},
    {"Sum", lower_variadic<Op::add>},
    {"Mean", lower_mean},
};

}  // namespace

std::span<const OpRow> arithmetic_ops() { return kOps; }

}  // namespace onrush
