// Activations. Those with a transcendental function run in f32 where the operand is narrower.
#include <cmath>
#include <numbers>

#include "lower/family_parts.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// f(builder, x) on the widened operand, rounded once to its dtype.
template <class F>
Results in_wide(OpContext& c, F f) {
  return c.b.cast(f(c.b, widen(c.b, c.in(0))), c.dtype(0));
}

NodeId scaled(Builder& b, NodeId x, double factor) {
  return factor == 1 ? x : b.mul(x, b.like(x, factor));
}

// x where x > 0, else `otherwise`.
NodeId where_positive(Builder& b, NodeId x, NodeId otherwise) {
  return b.select(b.less(b.like(x, 0), x), x, otherwise);
}

NodeId hard_sigmoid(Builder& b, NodeId x, double alpha, double beta) {
  const NodeId line = b.add(scaled(b, x, alpha), b.like(x, beta));
  return b.max(b.min(line, b.like(x, 1)), b.like(x, 0));
}

// log(1 + exp(x)) without overflow.
NodeId softplus(Builder& b, NodeId x) {
  const NodeId tail = b.unary(Op::log1p, b.exp(b.neg(b.unary(Op::abs, x))));
  return b.add(b.max(x, b.like(x, 0)), tail);
}

NodeId swish(Builder& b, NodeId x, double alpha) {
  return b.mul(x, b.unary(Op::sigmoid, scaled(b, x, alpha)));
}

Results lower_relu(OpContext& c) { return c.b.max(c.in(0), c.b.like(c.in(0), 0)); }

NodeId leaky(Builder& b, NodeId x, NodeId slope) {
  return b.select(b.less(x, b.like(x, 0)), b.mul(slope, x), x);
}

Results lower_leaky_relu(OpContext& c) {
  return leaky(c.b, c.in(0), c.b.like(c.in(0), c.attr("alpha", 0.01f)));
}

Results lower_prelu(OpContext& c) {
  c.require(c.dtype(0) == c.dtype(1), "the slope must have the dtype of the data");
  NodeId slope = c.in(1);
  const bool by_channel = c.opset() < 7 && c.rank(1) == 1 && c.rank(0) > 1 &&
                          !decide(equal(c.shape(1)[0], 1), "one slope for all channels");
  if (by_channel) slope = per_channel(c.b, slope, c.rank(0));
  return leaky(c.b, c.in(0), slope);
}

Results lower_elu(OpContext& c) {
  const float alpha = c.attr("alpha", 1.f);
  return in_wide(c, [&](Builder& b, NodeId x) {
    return where_positive(b, x, scaled(b, b.unary(Op::expm1, x), alpha));
  });
}

Results lower_celu(OpContext& c) {
  const float alpha = c.attr("alpha", 1.f);
  return in_wide(c, [&](Builder& b, NodeId x) {
    const NodeId quotient = alpha == 1 ? x : b.div(x, b.like(x, alpha));
    return where_positive(b, x, scaled(b, b.unary(Op::expm1, quotient), alpha));
  });
}

Results lower_selu(OpContext& c) {
  const bool first_version = c.opset() < 6;
  const float alpha = c.attr("alpha", first_version ? 1.6732f : 1.67326319217681884765625f);
  const float gamma = c.attr("gamma", first_version ? 1.0507f : 1.05070102214813232421875f);
  return in_wide(c, [&](Builder& b, NodeId x) {
    return scaled(b, where_positive(b, x, scaled(b, b.unary(Op::expm1, x), alpha)), gamma);
  });
}

// 0.5 * x * (1 + erf(x / sqrt(2)))
NodeId gelu(Builder& b, NodeId x) {
  const NodeId erf = b.unary(Op::erf, b.mul(x, b.like(x, 1 / std::numbers::sqrt2)));
  return b.mul(scaled(b, x, 0.5), b.add(erf, b.like(x, 1)));
}

// 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))
NodeId gelu_tanh(Builder& b, NodeId x) {
  const NodeId cube = b.mul(b.mul(x, x), x);
  const NodeId inner = b.add(x, scaled(b, cube, 0.044715));
  const NodeId tanh = b.unary(Op::tanh, scaled(b, inner, std::sqrt(2 / std::numbers::pi)));
  return b.mul(scaled(b, x, 0.5), b.add(tanh, b.like(x, 1)));
}

Results lower_gelu(OpContext& c) {
  const std::string form = c.attr("approximate", "none");
  c.require(form == "none" || form == "tanh", "'approximate' must be none or tanh");
  return in_wide(c, form == "tanh" ? gelu_tanh : gelu);
}

Results lower_hard_sigmoid(OpContext& c) {
  return hard_sigmoid(c.b, c.in(0), c.attr("alpha", 0.2f), c.attr("beta", 0.5f));
}

Results lower_hard_swish(OpContext& c) {
  return c.b.mul(c.in(0), hard_sigmoid(c.b, c.in(0), 1.f / 6, 0.5));
}

Results lower_mish(OpContext& c) {
  return in_wide(c,
                 [](Builder& b, NodeId x) { return b.mul(x, b.unary(Op::tanh, softplus(b, x))); });
}

Results lower_softplus(OpContext& c) { return in_wide(c, softplus); }

Results lower_softsign(OpContext& c) {
  return in_wide(
      c, [](Builder& b, NodeId x) { return b.div(x, b.add(b.unary(Op::abs, x), b.like(x, 1))); });
}

Results lower_swish(OpContext& c) {
  const float alpha = c.attr("alpha", 1.f);
  return in_wide(c, [&](Builder& b, NodeId x) { return swish(b, x, alpha); });
}

Results lower_swiglu(OpContext& c) {
  c.require(c.dtype(0) == c.dtype(1), "gate and value must have one dtype");
  const float alpha = c.attr("alpha", 1.f);
  return in_wide(
      c, [&](Builder& b, NodeId gate) { return b.mul(swish(b, gate, alpha), widen(b, c.in(1))); });
}

Results lower_thresholded_relu(OpContext& c) {
  const NodeId x = c.in(0), alpha = c.b.like(x, c.attr("alpha", 1.f));
  return c.b.select(c.b.less(alpha, x), x, c.b.like(x, 0));
}

// Integers go through f64, as the bias and the threshold are floats.
Results lower_shrink(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = is_float(c.dtype(0)) ? c.in(0) : b.cast(c.in(0), DType::f64);
  const float lambda = c.attr("lambd", 0.5f);
  const NodeId bias = b.like(x, c.attr("bias", 0.f));
  const NodeId above = b.select(b.less(b.like(x, lambda), x), b.sub(x, bias), b.like(x, 0));
  return b.cast(b.select(b.less(x, b.like(x, -lambda)), b.add(x, bias), above), c.dtype(0));
}

constexpr OpRow kOps[] = {
    {"Relu", lower_relu},
    {"LeakyRelu", lower_leaky_relu},
    {"PRelu", lower_prelu},
    {"Elu", lower_elu},
    {"Celu", lower_celu},
    {"Selu", lower_selu},
    {"Gelu", lower_gelu},
    {"HardSigmoid", lower_hard_sigmoid},
    {"HardSwish", lower_hard_swish},
    {"Mish", lower_mish},
    {"Softplus", lower_softplus},
    {"Softsign", lower_softsign},
    {"Swish", lower_swish},
    {"SwiGLU", lower_swiglu},
    {"ThresholdedRelu", lower_thresholded_relu},
    {"Shrink", lower_shrink},
};

}  // namespace

std::span<const OpRow> activation_ops() { return kOps; }

}  // namespace onrush
