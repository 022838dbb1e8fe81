// Losses (ai.onnx) and optimisers (ai.onnx.preview.training).
#include <array>

#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

// --- losses

// data[n, target[n, d...], d...] for every position of the target.
NodeId pick_classes(Builder& b, NodeId data, NodeId target) {
  std::vector<int> source = {0, ~0};
  for (int i = 2; i < b.rank(data); ++i) source.push_back(i - 1);
  return b.gather(data, std::array{target}, std::move(source), b.shape(target));
}

NodeId sum_all(Builder& b, NodeId x) {
  const Axes axes = axis_range(0, b.rank(x));
  return b.squeeze(b.reduce(ReduceKind::sum, x, axes), axes);
}

// Of log-probabilities [n, classes, d...], with target, weights and attributes of the operator.
NodeId negative_log_likelihood(const OpContext& c, NodeId log_probability) {
  Builder& b = c.b;
  const DType dtype = b.dtype(log_probability);
  NodeId target = b.cast(c.in(1), DType::i64);
  c.require(b.rank(log_probability) >= 2 && b.rank(target) == b.rank(log_probability) - 1,
            "scores must be [N, C, D...] and the target [N, D...]");
  c.require(!c.has(2) || c.rank(2) == 1, "the weights must be a vector");
  NodeId weight = full(b, dtype, 1, b.shape(target));
  std::optional<NodeId> ignored;
  if (c.has_attr("ignore_index")) {
    ignored = b.equal(target, b.scalar(DType::i64, c.attr("ignore_index", int64_t{0})));
    target = b.select(*ignored, b.scalar(DType::i64, 0), target);
  }
  if (c.has(2))
    weight = b.gather(b.cast(c.in(2), dtype), std::array{target}, {~0}, b.shape(target));
  if (ignored) weight = b.select(*ignored, b.scalar(dtype, 0), weight);
  const NodeId loss = b.mul(b.neg(pick_classes(b, log_probability, target)), weight);
  const std::string reduction = c.attr("reduction", "mean");
  if (reduction == "none") return loss;
  if (reduction == "sum") return sum_all(b, loss);
  c.require(reduction == "mean", "'reduction' must be none, sum or mean");
  return b.div(sum_all(b, loss), sum_all(b, weight));
}

Results lower_negative_log_likelihood_loss(OpContext& c) {
  return c.b.cast(negative_log_likelihood(c, widen(c.b, c.in(0))), c.dtype(0));
}

Results lower_softmax_cross_entropy_loss(OpContext& c) {
  c.require(c.rank(0) >= 2, "the scores must be [N, C, D...]");
  const NodeId log_probability = log_softmax(c.b, widen(c.b, c.in(0)), {1});
  return {c.b.cast(negative_log_likelihood(c, log_probability), c.dtype(0)),
          c.b.cast(log_probability, c.dtype(0))};
}

// --- optimisers

// Inputs: rate, update count, then for several tensors x their values, gradients, and each kind of
// state in turn. `step` maps {x, gradient, states...} to {new x, new states...}; results are
// grouped likewise.
template <class F>
Results optimize(OpContext& c, size_t states, F step) {
  const std::vector<NodeId> inputs = c.all_inputs();
  const size_t kinds = states + 2;
  c.require(inputs.size() > 2 && (inputs.size() - 2) % kinds == 0,
            "the inputs must be rate, count, then as many tensors of each kind");
  const size_t count = (inputs.size() - 2) / kinds;
  std::vector<Lowered> results(count * (states + 1));
  for (size_t i = 0; i < count; ++i) {
    std::vector<NodeId> tensors;
    for (size_t kind = 0; kind < kinds; ++kind) tensors.push_back(inputs[2 + kind * count + i]);
    const std::vector<NodeId> updated = step(tensors);
    for (size_t kind = 0; kind < updated.size(); ++kind) results[kind * count + i] = updated[kind];
  }
  return results;
}

NodeId scaled(Builder& b, NodeId x, double factor) { return b.mul(x, b.like(x, factor)); }

// The gradient of the loss plus 0.5 * norm_coefficient * |x|^2.
NodeId regularized(const OpContext& c, NodeId x, NodeId gradient) {
  return c.b.add(scaled(c.b, x, c.attr("norm_coefficient", 0.f)), gradient);
}

// sqrt(x) + epsilon
NodeId root(const OpContext& c, NodeId x) {
  return c.b.add(c.b.sqrt(x), c.b.like(x, c.attr("epsilon", 1e-6f)));
}

Results lower_adagrad(OpContext& c) {
  Builder& b = c.b;
  return optimize(c, 1, [&](const std::vector<NodeId>& tensors) -> std::vector<NodeId> {
    const NodeId x = tensors[0], gradient = regularized(c, x, tensors[1]);
    const NodeId count = b.cast(c.in(1), b.dtype(x));
    const NodeId decay = b.add(scaled(b, count, c.attr("decay_factor", 0.f)), b.like(x, 1));
    const NodeId rate = b.div(b.cast(c.in(0), b.dtype(x)), decay);
    const NodeId squares = b.add(tensors[2], b.mul(gradient, gradient));
    return {b.sub(x, b.div(b.mul(rate, gradient), root(c, squares))), squares};
  });
}

// decay * average + (1 - decay) * value
NodeId moving_average(Builder& b, NodeId average, NodeId value, double decay) {
  return b.add(scaled(b, average, decay), scaled(b, value, 1 - decay));
}

// rate * sqrt(1 - beta^count) / (1 - alpha^count) from the first update on
NodeId adam_rate(const OpContext& c, DType dtype, double alpha, double beta) {
  Builder& b = c.b;
  const NodeId rate = b.cast(c.in(0), dtype), count = b.cast(c.in(1), dtype);
  const auto rest = [&](double base) {
    return b.sub(b.like(rate, 1), b.binary(Op::pow, b.like(rate, base), count));
  };
  const NodeId adjusted = b.div(b.mul(rate, b.sqrt(rest(beta))), rest(alpha));
  return b.select(b.less(b.like(count, 0), count), adjusted, rate);
}

Results lower_adam(OpContext& c) {
  Builder& b = c.b;
  const float alpha = c.attr("alpha", 0.9f), beta = c.attr("beta", 0.999f);
  return optimize(c, 2, [&](const std::vector<NodeId>& tensors) -> std::vector<NodeId> {
    const NodeId x = tensors[0], gradient = regularized(c, x, tensors[1]);
    const NodeId mean = moving_average(b, tensors[2], gradient, alpha);
    const NodeId squares = moving_average(b, tensors[3], b.mul(gradient, gradient), beta);
    const NodeId rate = adam_rate(c, b.dtype(x), alpha, beta);
    const NodeId updated = b.sub(x, b.div(b.mul(rate, mean), root(c, squares)));
    return {scaled(b, updated, 1 - double{c.attr("norm_coefficient_post", 0.f)}), mean, squares};
  });
}

Results lower_momentum(OpContext& c) {
  Builder& b = c.b;
  const float alpha = c.attr("alpha", 0.f), beta = c.attr("beta", 0.f);
  const std::string mode = c.attr("mode", "");
  c.require(mode == "standard" || mode == "nesterov", "'mode' must be standard or nesterov");
  return optimize(c, 1, [&](const std::vector<NodeId>& tensors) -> std::vector<NodeId> {
    const NodeId x = tensors[0], gradient = regularized(c, x, tensors[1]);
    const NodeId later = b.less(b.like(c.in(1), 0), c.in(1));
    const NodeId factor = b.select(later, b.like(x, beta), b.like(x, 1));
    const NodeId momentum = b.add(scaled(b, tensors[2], alpha), b.mul(factor, gradient));
    const NodeId direction =
        mode == "standard" ? momentum : b.add(gradient, scaled(b, momentum, alpha));
    return {b.sub(x, b.mul(b.cast(c.in(0), b.dtype(x)), direction)), momentum};
  });
}

constexpr OpRow kOps[] = {
    {"NegativeLogLikelihoodLoss", lower_negative_log_likelihood_loss},
    {"SoftmaxCrossEntropyLoss", lower_softmax_cross_entropy_loss},
    {"Adagrad", lower_adagrad},
    {"Adam", lower_adam},
    {"Momentum", lower_momentum},
};

}  // namespace

std::span<const OpRow> training_ops() { return kOps; }

}  // namespace onrush
