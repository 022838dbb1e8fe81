#include "lower/ml_scores.h"

#include <array>
#include <numbers>

#include "lower/helpers.h"

namespace onrush {
namespace {

// The inverse error function, to about 2e-3 (Winitzki, 2008), as ONNX runtimes compute PROBIT.
NodeId erf_inverse(Builder& b, NodeId x) {
  const auto number = [&](double value) { return b.like(x, value); };
  constexpr double kA = 0.147;
  const NodeId log = b.unary(Op::log, b.mul(b.sub(number(1), x), b.add(number(1), x)));
  const NodeId v = b.add(number(2 / (std::numbers::pi * kA)), b.mul(number(0.5), log));
  const NodeId inner = b.sub(b.mul(v, v), b.mul(number(1 / kA), log));
  return b.mul(b.unary(Op::sign, x), b.sqrt(b.sub(b.sqrt(inner), v)));
}

NodeId probit(Builder& b, NodeId x) {
  const NodeId centered = b.sub(b.add(x, x), b.like(x, 1));
  return b.mul(erf_inverse(b, centered), b.like(x, std::numbers::sqrt2));
}

// Softmax in which scores of 0 keep the weight 0; 0.5 everywhere if all do.
NodeId softmax_zero(Builder& b, NodeId x) {
  const NodeId power = b.exp(b.sub(x, b.reduce(ReduceKind::max, x, {1})));
  const NodeId is_zero = b.less_equal(b.unary(Op::abs, x), b.like(x, 1e-7));
  const NodeId weight = b.select(is_zero, b.like(x, 0), power);
  const NodeId sum = b.reduce(ReduceKind::sum, weight, {1});
  return b.select(b.equal(sum, b.like(x, 0)), b.like(x, 0.5), b.div(weight, sum));
}

}  // namespace

NodeId features(const OpContext& c, bool keep_f64) {
  Builder& b = c.b;
  c.require(c.rank(0) == 1 || c.rank(0) == 2, "the features must be [N, F] or [F]");
  const NodeId x = c.rank(0) == 1 ? b.unsqueeze(c.in(0), {0}) : c.in(0);
  return keep_f64 && c.dtype(0) == DType::f64 ? x : b.cast(x, DType::f32);
}

NodeId float_constant(const OpContext& c, std::string_view name, Shape shape) {
  const std::vector<float> values = c.floats(name).value_or(std::vector<float>{});
  if (static_cast<int64_t>(values.size()) != element_count(shape))
    c.fail(fmt::format("attribute '{}' must have {} elements, not {}", name, element_count(shape),
                       values.size()));
  return c.b.constant(Tensor::of<float>(DType::f32, std::move(shape), values));
}

// [n, f] with rows [m, f] -> [n, m]
NodeId rows_product(Builder& b, NodeId x, NodeId rows) {
  return b.dot(x, rows, {{}, {}, {1}, {1}, b.dtype(x)});
}

int64_t count_of(const OpContext& c, std::string_view name) {
  const auto values = c.floats(name);
  return values ? static_cast<int64_t>(values->size()) : 0;
}

int64_t feature_count(const OpContext& c, NodeId x) {
  return fix(c.b.shape(x)[1], c.node().op_type);
}

NodeId post_transform(const OpContext& c, NodeId scores, std::string_view kind) {
  Builder& b = c.b;
  if (kind == "NONE") return scores;
  if (kind == "SOFTMAX") return softmax(b, scores, {1});
  if (kind == "LOGISTIC") return b.unary(Op::sigmoid, scores);
  if (kind == "SOFTMAX_ZERO") return softmax_zero(b, scores);
  if (kind == "PROBIT") return probit(b, scores);
  c.fail(fmt::format("unknown post_transform '{}'", kind));
}

Tensor class_labels(const OpContext& c, std::string_view ints, std::string_view strings) {
  const auto count = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  if (const auto list = c.strings(strings); list && !list->empty())
    return Tensor::of_strings({count(*list)}, *list);
  const auto list = c.ints(ints);
  if (!list || list->empty()) c.fail(fmt::format("'{}' or '{}' is required", ints, strings));
  return Tensor::of<int64_t>(DType::i64, {count(*list)}, *list);
}

NodeId label_at(Builder& b, const Tensor& labels, NodeId place) {
  return b.gather(b.constant(labels), std::array{place}, {~0}, b.shape(place));
}

NodeId best_label(Builder& b, const Tensor& labels, NodeId scores) {
  return label_at(b, labels, b.squeeze(b.reduce(ReduceKind::argmax, scores, {1}), {1}));
}

}  // namespace onrush
