// Activations that exporters spell in many ways. A gate is found first; then the rest is read as a
// polynomial of the operand, so that the association, the order, and whether a factor divides or
// multiplies do not matter.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;
using Cubic = std::array<double, 4>;  // coefficients of 1, x, x^2, x^3

constexpr int kMaxDepth = 8;

std::optional<Cubic> product(const Cubic& a, const Cubic& b) {
  Cubic result{};
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < b.size(); ++j) {
      const double term = a[i] * b[j];
      if (term == 0) continue;
      if (i + j >= result.size()) return std::nullopt;
      result[i + j] += term;
    }
  return result;
}

// A formula as a polynomial of one node.
class Polynomial {
 public:
  Polynomial(Rewriter& r, NodeId x) : r_(r), x_(x) {}

  std::optional<Cubic> of(NodeId id, int depth = 0) {
    if (id == x_) return Cubic{0, 1, 0, 0};
    if (const auto number = r_.facts.splat(id)) return Cubic{*number, 0, 0, 0};
    if (depth == kMaxDepth) return std::nullopt;
    switch (r_.b.node(id).op) {
      case Op::neg: return scaled(of(r_.operand(id, 0), depth + 1), -1);
      case Op::add: return sum(id, 1, depth);
      case Op::sub: return sum(id, -1, depth);
      case Op::div: {
        const auto divisor = r_.facts.splat(r_.operand(id, 1));
        if (!divisor || *divisor == 0) return std::nullopt;
        return scaled(of(r_.operand(id, 0), depth + 1), 1 / *divisor);
      }
      case Op::mul: {
        const auto a = of(r_.operand(id, 0), depth + 1);
        const auto b = a ? of(r_.operand(id, 1), depth + 1) : std::nullopt;
        return b ? product(*a, *b) : std::nullopt;
      }
      default: return std::nullopt;
    }
  }

  // p where the node is p(x) * gate.
  std::optional<Cubic> factor_of(NodeId gate, NodeId id, int depth = 0) {
    if (id == gate) return Cubic{1, 0, 0, 0};
    if (depth == kMaxDepth) return std::nullopt;
    const Op op = r_.b.node(id).op;
    if (op == Op::mul) {
      for (int i = 0; i < 2; ++i) {
        const auto p = factor_of(gate, r_.operand(id, i), depth + 1);
        const auto q = p ? of(r_.operand(id, 1 - i), depth + 1) : std::nullopt;
        if (q) return product(*p, *q);
      }
    }
    if (op == Op::div) {
      const auto divisor = r_.facts.splat(r_.operand(id, 1));
      if (divisor && *divisor != 0)
        return scaled(factor_of(gate, r_.operand(id, 0), depth + 1), 1 / *divisor);
    }
    return std::nullopt;
  }

 private:
  static std::optional<Cubic> scaled(std::optional<Cubic> p, double factor) {
    if (p)
      for (double& coefficient : *p) coefficient *= factor;
    return p;
  }
  std::optional<Cubic> sum(NodeId id, double sign, int depth) {
    auto a = of(r_.operand(id, 0), depth + 1);
    const auto b = a ? scaled(of(r_.operand(id, 1), depth + 1), sign) : std::nullopt;
    if (!b) return std::nullopt;
    for (size_t i = 0; i < a->size(); ++i) (*a)[i] += (*b)[i];
    return a;
  }

  Rewriter& r_;
  NodeId x_;
};

bool nearly(const std::optional<Cubic>& p, const Cubic& expected, DType dtype) {
  if (!p) return false;
  for (size_t i = 0; i < expected.size(); ++i)
    if (expected[i] == 0 ? (*p)[i] != 0 : !nearly((*p)[i], expected[i], dtype)) return false;
  return true;
}

// Nodes that `argument` may be a polynomial of: those on the way down through sums and products.
std::vector<NodeId> candidates(Rewriter& r, NodeId argument) {
  std::vector<NodeId> found = {argument};
  for (int i = 0; i < kMaxDepth; ++i) {
    const Op op = r.b.node(argument).op;
    if (op != Op::add && op != Op::sub && op != Op::mul && op != Op::div) break;
    // A power of x is made after x.
    NodeId next = r.operand(argument, 0);
    const NodeId other = r.operand(argument, 1);
    if (op != Op::div && !r.facts.splat(other)) next = std::min(next, other);
    found.push_back(argument = next);
  }
  return found;
}

// A node among the factors of `id` that `accept` takes.
template <class F>
Result find_factor(const Rewriter& r, NodeId id, F accept, int depth = 0) {
  if (accept(id)) return id;
  const Op op = r.b.node(id).op;
  if (depth == 4 || (op != Op::mul && op != Op::div)) return std::nullopt;
  if (const auto found = find_factor(r, r.operand(id, 0), accept, depth + 1)) return found;
  return op == Op::mul ? find_factor(r, r.operand(id, 1), accept, depth + 1) : std::nullopt;
}

// --- GELU

NodeId half_of(Rewriter& r, NodeId x, NodeId gate) {
  return r.mul(r.b.mul(x, r.b.like(x, 0.5)), r.b.add(gate, r.b.like(x, 1)));
}

NodeId make_gelu(Rewriter& r, NodeId x) {
  const NodeId argument = r.b.mul(x, r.b.like(x, 1 / std::numbers::sqrt2));
  return half_of(r, x, r.b.unary(Op::erf, argument));
}

NodeId make_tanh_gelu(Rewriter& r, NodeId x) {
  Builder& b = r.b;
  const NodeId cube = r.mul(x, b.mul(x, x));
  const NodeId inner = r.add(x, b.mul(cube, b.like(x, 0.044715)));
  const NodeId argument = b.mul(inner, b.like(x, std::sqrt(2 / std::numbers::pi)));
  return half_of(r, x, b.unary(Op::tanh, argument));
}

// 0.5 * x * (1 + op(p(x))), p as given.
Result half_gated(Rewriter& r, NodeId id, Op op, const Cubic& p,
                  NodeId (*make)(Rewriter&, NodeId)) {
  const Op outer = r.b.node(id).op;
  if ((outer != Op::mul && outer != Op::div) || !is_float(r.b.dtype(id))) return std::nullopt;
  const auto gate = find_factor(r, id, [&](NodeId factor) {
    const auto one = with_number(r, factor, Op::add);
    return one && one->value == 1 && r.is(one->x, op);
  });
  if (!gate) return std::nullopt;
  const DType dtype = r.b.dtype(id);
  const NodeId argument = r.operand(r.operand(*gate, 0), 0);
  for (NodeId x : candidates(r, argument)) {
    Polynomial polynomial(r, x);
    if (nearly(polynomial.of(argument), p, dtype) &&
        nearly(polynomial.factor_of(*gate, id), {0, 0.5, 0, 0}, dtype))
      return make(r, x);
  }
  return std::nullopt;
}

Result gelu(Rewriter& r, NodeId id) {
  return half_gated(r, id, Op::erf, {0, 1 / std::numbers::sqrt2, 0, 0}, make_gelu);
}

Result tanh_gelu(Rewriter& r, NodeId id) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  return half_gated(r, id, Op::tanh, {0, scale, 0, scale * 0.044715}, make_tanh_gelu);
}

// --- sigmoid: y / (1 + exp(-x))

Result sigmoid(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::div)) return std::nullopt;
  const NodeId y = r.operand(id, 0);
  const auto sum = with_number(r, r.operand(id, 1), Op::add);
  if (!sum || sum->value != 1 || !r.is(sum->x, Op::exp)) return std::nullopt;
  const NodeId exponent = r.operand(sum->x, 0);
  if (!r.is(exponent, Op::neg)) return std::nullopt;
  const NodeId gate = b.unary(Op::sigmoid, r.operand(exponent, 0));
  return r.facts.is_splat(y, 1) ? gate : r.mul(y, gate);
}

// --- HardSigmoid and HardSwish: max(min(x + 3, 6), 0) / 6, alone or times x

struct Clamp {
  NodeId x;
  double shift, high;  // max(min(x + shift, high), 0)
};

std::optional<Clamp> shifted_clamp(Rewriter& r, NodeId id) {
  const auto low = with_number(r, id, Op::max);
  const auto high = low && low->value == 0 ? with_number(r, low->x, Op::min) : std::nullopt;
  const auto line = high ? with_number(r, high->x, Op::add) : std::nullopt;
  if (!line || high->value <= 0) return std::nullopt;
  return Clamp{line->x, line->value, high->value};
}

// max(min(x * slope + offset, 1), 0)
NodeId unit_clamp(Builder& b, const Clamp& clamp) {
  const NodeId x = clamp.x;
  const NodeId line =
      b.add(b.mul(x, b.like(x, 1 / clamp.high)), b.like(x, clamp.shift / clamp.high));
  return b.max(b.min(line, b.like(x, 1)), b.like(x, 0));
}

Result hard_sigmoid(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  if ((op != Op::mul && op != Op::div) || !is_float(r.b.dtype(id))) return std::nullopt;
  const DType dtype = r.b.dtype(id);
  const auto gate = find_factor(r, id, [&](NodeId factor) {
    const auto clamp = shifted_clamp(r, factor);
    return clamp && clamp->high != 1;
  });
  if (!gate) return std::nullopt;
  const Clamp clamp = *shifted_clamp(r, *gate);
  const auto factor = Polynomial(r, clamp.x).factor_of(*gate, id);
  if (nearly(factor, {1 / clamp.high, 0, 0, 0}, dtype)) return unit_clamp(r.b, clamp);
  if (nearly(factor, {0, 1 / clamp.high, 0, 0}, dtype))
    return r.mul(clamp.x, unit_clamp(r.b, clamp));
  return std::nullopt;
}

constexpr Rule kRules[] = {
    {"gelu", gelu},
    {"tanh_gelu", tanh_gelu},
    {"sigmoid", sigmoid},
    {"hard_sigmoid", hard_sigmoid},
};

}  // namespace

std::span<const Rule> activation_rules() { return kRules; }

}  // namespace onrush
