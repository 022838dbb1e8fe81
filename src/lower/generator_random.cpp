// Operators that draw random numbers.
#include <numbers>

#include "lower/family_parts.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// Normal draws of mean 0 and deviation 1 (Box and Muller, 1958).
NodeId normal(const OpContext& c, DType dtype, const Dims& shape) {
  Builder& b = c.b;
  const auto number = [&](double value) { return b.scalar(dtype, value); };
  const NodeId positive = b.sub(number(1), uniform(c, dtype, shape, 0));  // in (0, 1]
  const NodeId radius = b.sqrt(b.mul(number(-2), b.unary(Op::log, positive)));
  const NodeId angle = b.mul(number(2 * std::numbers::pi), uniform(c, dtype, shape, 1));
  return b.mul(radius, b.unary(Op::cos, angle));
}

Results random_normal(OpContext& c, DType dtype, Dims shape) {
  Builder& b = c.b;
  c.require(is_float(dtype), "'dtype' must be a floating-point type");
  const NodeId draws = normal(c, wide(dtype), shape);
  const NodeId scaled = b.mul(draws, b.like(draws, c.attr("scale", 1.f)));
  return b.cast(b.add(scaled, b.like(draws, c.attr("mean", 0.f))), dtype);
}

Results random_uniform(OpContext& c, DType dtype, Dims shape) {
  Builder& b = c.b;
  c.require(is_float(dtype), "'dtype' must be a floating-point type");
  const NodeId draws = uniform(c, wide(dtype), std::move(shape));
  const float low = c.attr("low", 0.f), high = c.attr("high", 1.f);
  const NodeId scaled = b.mul(draws, b.like(draws, double{high} - low));
  return b.cast(b.add(scaled, b.like(draws, low)), dtype);
}

Dims shape_attr(const OpContext& c) {
  const auto shape = c.ints("shape");
  c.require(shape.has_value(), "attribute 'shape' is required");
  return Dims(shape->begin(), shape->end());
}

Results lower_random_normal(OpContext& c) {
  return random_normal(c, dtype_attr(c, "dtype", DType::f32), shape_attr(c));
}
Results lower_random_normal_like(OpContext& c) {
  return random_normal(c, dtype_attr(c, "dtype", c.dtype(0)), c.shape(0));
}
Results lower_random_uniform(OpContext& c) {
  return random_uniform(c, dtype_attr(c, "dtype", DType::f32), shape_attr(c));
}
Results lower_random_uniform_like(OpContext& c) {
  return random_uniform(c, dtype_attr(c, "dtype", c.dtype(0)), c.shape(0));
}

Results lower_bernoulli(OpContext& c) {
  const NodeId probability = widen(c.b, c.in(0));
  const NodeId draws = uniform(c, c.b.dtype(probability), c.shape(0));
  return c.b.cast(c.b.less(draws, probability), dtype_attr(c, "dtype", c.dtype(0)));
}

// [batch, classes] of unnormalised log-probabilities: a draw falls into the class at which the
// cumulative probability exceeds it.
Results lower_multinomial(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) == 2, "the input must be [batch, classes]");
  const Dim batch = c.shape(0)[0], classes = c.shape(0)[1];
  const NodeId probability = softmax(b, widen(b, c.in(0)), {1});
  const NodeId cumulative = b.scan(probability, {ReduceKind::sum, 1, false, false});
  const int64_t samples = c.attr("sample_size", int64_t{1});
  const NodeId draws = uniform(c, b.dtype(probability), {batch, samples, 1});
  const NodeId passed = b.less_equal(b.unsqueeze(cumulative, {1}), draws);
  const NodeId count = b.reduce(ReduceKind::sum, b.cast(passed, DType::i64), {2});
  const NodeId chosen = b.min(b.squeeze(count, {2}), dim_scalar(b, DType::i64, classes - 1));
  return b.cast(chosen, dtype_attr(c, "dtype", DType::i32));
}

// Inference unless `training_mode` (opset 12) is true or, before opset 7, `is_test` is zero.
bool dropout_trains(const OpContext& c) {
  if (c.opset() < 7) return c.attr("is_test", 0) == 0;
  return c.opset() >= 12 && c.has(2) && c.number_of(c.in(2)) != 0;
}

Results lower_dropout(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = c.in(0);
  const DType mask_dtype = c.opset() < 10 ? c.dtype(0) : DType::boolean;
  if (!dropout_trains(c)) return {x, full(b, mask_dtype, 1, c.shape(0))};
  const NodeId wide_x = widen(b, x);
  const NodeId ratio = c.has(1) ? b.cast(b.reshape(c.in(1), {}), b.dtype(wide_x))
                                : b.like(wide_x, c.attr("ratio", 0.5f));
  const NodeId kept = b.less_equal(ratio, uniform(c, b.dtype(wide_x), c.shape(0)));
  const NodeId scaled = b.div(wide_x, b.sub(b.like(wide_x, 1), ratio));
  const NodeId y = b.select(kept, scaled, b.like(wide_x, 0));
  return {b.cast(y, c.dtype(0)), b.cast(kept, mask_dtype)};
}

constexpr OpRow kOps[] = {
    {"RandomNormal", lower_random_normal},
    {"RandomNormalLike", lower_random_normal_like},
    {"RandomUniform", lower_random_uniform},
    {"RandomUniformLike", lower_random_uniform_like},
    {"Bernoulli", lower_bernoulli},
    {"Multinomial", lower_multinomial},
    {"Dropout", lower_dropout},
};

}  // namespace

std::span<const OpRow> random_ops() { return kOps; }

}  // namespace onrush
