// Normalisations. Statistics are taken in f32 at least.
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

constexpr float kEpsilon = 1e-5f;  // of all but LRN

NodeId square(Builder& b, NodeId x) { return b.mul(x, x); }

// 1 / sqrt(variance + epsilon)
NodeId inverse_deviation(const OpContext& c, NodeId variance) {
  Builder& b = c.b;
  const NodeId shifted = b.add(variance, b.like(variance, c.attr("epsilon", kEpsilon)));
  return b.div(b.like(variance, 1), b.sqrt(shifted));
}

struct Standardized {
  NodeId y, mean, inverse_deviation;
};
// To mean 0 and variance 1 over `axes` together.
Standardized standardize(const OpContext& c, NodeId x, const Axes& axes) {
  Builder& b = c.b;
  const NodeId mean = b.mean(x, axes);
  const NodeId centered = b.sub(x, mean);
  const NodeId inverse = inverse_deviation(c, b.mean(square(b, centered), axes));
  return {b.mul(centered, inverse), mean, inverse};
}

// y * scale + bias in the dtype of y.
NodeId scale_and_shift(Builder& b, NodeId y, NodeId scale, NodeId bias) {
  return b.add(b.mul(y, b.cast(scale, b.dtype(y))), b.cast(bias, b.dtype(y)));
}

// --- BatchNormalization

bool batch_norm_trains(const OpContext& c) {
  if (c.opset() >= 14) return c.attr("training_mode", 0) != 0;
  return c.opset() >= 7 ? c.wants_output(1) : c.attr("is_test", 0) == 0;
}

struct BatchNorm {
  NodeId x, scale, bias, mean, variance;  // all in one dtype, broadcast against x
};

Results batch_norm_inference(OpContext& c, const BatchNorm& n) {
  Builder& b = c.b;
  const NodeId factor = b.mul(n.scale, inverse_deviation(c, n.variance));
  const NodeId offset = b.sub(n.bias, b.mul(n.mean, factor));
  return b.cast(b.add(b.mul(n.x, factor), offset), c.dtype(0));
}

// The statistics of this batch are used, and blended into the running ones.
Results batch_norm_training(OpContext& c, const BatchNorm& n, const Axes& axes) {
  Builder& b = c.b;
  const NodeId mean = b.mean(n.x, axes);
  const NodeId centered = b.sub(n.x, mean);
  const NodeId variance = b.mean(square(b, centered), axes);
  const NodeId normal = b.mul(centered, inverse_deviation(c, variance));
  const float momentum = c.attr("momentum", 0.9f);
  const auto blend = [&](NodeId running, NodeId current) {
    return b.add(b.mul(running, b.like(running, momentum)),
                 b.mul(current, b.like(current, 1 - double{momentum})));
  };
  const auto as_input = [&](NodeId node, int i) {
    return b.cast(b.reshape(node, c.shape(i)), c.dtype(i));
  };
  std::vector<Lowered> results = {b.cast(scale_and_shift(b, normal, n.scale, n.bias), c.dtype(0)),
                                  as_input(blend(n.mean, mean), 3),
                                  as_input(blend(n.variance, variance), 4)};
  if (c.opset() < 14) results.insert(results.end(), {as_input(mean, 3), as_input(variance, 4)});
  return results;
}

Results lower_batch_normalization(OpContext& c) {
  Builder& b = c.b;
  const int rank = c.rank(0);
  const DType work = wide(c.dtype(0));
  c.require(rank >= 2, "the input must have at least the axes [N, C]");
  const bool spatial = c.opset() >= 9 || c.attr("spatial", 1) != 0;
  // Without `spatial` each element of a sample has statistics of its own.
  const auto parameter = [&](int i) {
    const NodeId value = b.cast(c.in(i), work);
    return spatial ? per_channel(b, value, rank) : b.unsqueeze(value, {0});
  };
  const BatchNorm n{b.cast(c.in(0), work), parameter(1), parameter(2), parameter(3), parameter(4)};
  if (!batch_norm_trains(c)) return batch_norm_inference(c, n);
  Axes axes = {0};
  if (spatial)
    for (int i = 2; i < rank; ++i) axes.push_back(i);
  return batch_norm_training(c, n, axes);
}

// --- the others

Results lower_instance_normalization(OpContext& c) {
  Builder& b = c.b;
  const int rank = c.rank(0);
  c.require(rank >= 3, "the input must have the axes [N, C, spatial...]");
  const Standardized s = standardize(c, widen(b, c.in(0)), axis_range(2, rank));
  return b.cast(
      scale_and_shift(b, s.y, per_channel(b, c.in(1), rank), per_channel(b, c.in(2), rank)),
      c.dtype(0));
}

Results lower_layer_normalization(OpContext& c) {
  Builder& b = c.b;
  const int axis = c.axis(c.attr("axis", -1), c.rank(0));
  const DType stash = dtype_attr(c, "stash_type", DType::f32);
  const Standardized s = standardize(c, b.cast(c.in(0), stash), axis_range(axis, c.rank(0)));
  NodeId y = b.mul(b.cast(s.y, c.dtype(0)), b.cast(c.in(1), c.dtype(0)));
  if (c.has(2)) y = b.add(y, b.cast(c.in(2), c.dtype(0)));
  return {y, s.mean, s.inverse_deviation};
}

Results lower_rms_normalization(OpContext& c) {
  Builder& b = c.b;
  const int axis = c.axis(c.attr("axis", -1), c.rank(0));
  const NodeId x = b.cast(c.in(0), dtype_attr(c, "stash_type", DType::f32));
  const NodeId mean_square = b.mean(square(b, x), axis_range(axis, c.rank(0)));
  const NodeId normal = b.mul(x, inverse_deviation(c, mean_square));
  return b.mul(b.cast(normal, c.dtype(0)), b.cast(c.in(1), c.dtype(0)));
}

// [N, C, spatial...] as [N, groups, C / groups, spatial...]
Dims grouped_shape(const OpContext& c, int64_t groups) {
  c.require(c.rank(0) >= 2, "the input must have at least the axes [N, C]");
  Dims shape = c.shape(0);
  c.require(groups > 0 && decide(divisible(shape[1], groups), "GroupNormalization"),
            "'num_groups' must divide the number of channels");
  shape.insert(shape.begin() + 1, groups);
  shape[2] = floordiv(shape[2], groups);
  return shape;
}

// Scale and bias have one element a group before opset 21, one a channel since.
Results lower_group_normalization(OpContext& c) {
  Builder& b = c.b;
  const int rank = c.rank(0);
  const bool by_group = c.opset() < 21;
  const DType stash = by_group ? wide(c.dtype(0)) : dtype_attr(c, "stash_type", DType::f32);
  const Dims grouped = grouped_shape(c, c.attr("num_groups", int64_t{0}));
  const NodeId x = b.reshape(b.cast(c.in(0), stash), grouped);
  NodeId y = b.cast(standardize(c, x, axis_range(2, rank + 1)).y, c.dtype(0));
  if (!by_group) y = b.reshape(y, c.shape(0));
  y = scale_and_shift(b, y, per_channel(b, c.in(1), b.rank(y)), per_channel(b, c.in(2), b.rank(y)));
  return b.reshape(y, c.shape(0));
}

// x / (bias + alpha / size * sum of the squares of `size` neighbouring channels) ^ beta
Results lower_lrn(OpContext& c) {
  Builder& b = c.b;
  const size_t rank = c.shape(0).size();
  const int64_t size = c.attr("size", int64_t{0});
  c.require(rank >= 2 && size > 0, "needs an input [N, C, ...] and a positive 'size'");
  WindowAttr window{ReduceKind::sum,
                    std::vector<int64_t>(rank, 1),
                    std::vector<int64_t>(rank, 1),
                    std::vector<int64_t>(rank, 1),
                    Dims(rank),
                    Dims(rank)};
  window.size[1] = size;
  window.low[1] = (size - 1) / 2;
  window.high[1] = size / 2;
  const NodeId x = widen(b, c.in(0));
  const NodeId sum = b.window(square(b, x), std::move(window));
  const double alpha = c.attr("alpha", 1e-4f);
  const NodeId base = b.add(b.like(x, c.attr("bias", 1.f)),
                            b.mul(sum, b.like(x, alpha / static_cast<double>(size))));
  const NodeId divisor = b.binary(Op::pow, base, b.like(x, c.attr("beta", 0.75f)));
  return b.cast(b.div(x, divisor), c.dtype(0));
}

// x / norm, and 0 where the norm is 0.
Results lower_lp_normalization(OpContext& c) {
  Builder& b = c.b;
  const int axis = c.axis(c.attr("axis", -1), c.rank(0));
  const int p = c.attr("p", 2);
  c.require(p == 1 || p == 2, "'p' must be 1 or 2");
  const NodeId x = widen(b, c.in(0));
  const NodeId power = p == 1 ? b.unary(Op::abs, x) : square(b, x);
  const NodeId sum = b.reduce(ReduceKind::sum, power, {axis});
  const NodeId norm = p == 1 ? sum : b.sqrt(sum);
  const NodeId zero = b.like(x, 0);
  return b.cast(b.select(b.equal(norm, zero), zero, b.div(x, norm)), c.dtype(0));
}

// (x - mean) / (sqrt(variance) + 1e-9)
Results lower_mean_variance_normalization(OpContext& c) {
  Builder& b = c.b;
  const Axes axes = c.axes(c.ints("axes").value_or(std::vector<int64_t>{0, 2, 3}), c.rank(0));
  const NodeId x = widen(b, c.in(0));
  const NodeId centered = b.sub(x, b.mean(x, axes));
  const NodeId deviation = b.sqrt(b.mean(square(b, centered), axes));
  return b.cast(b.div(centered, b.add(deviation, b.like(x, 1e-9))), c.dtype(0));
}

constexpr OpRow kOps[] = {
    {"BatchNormalization", lower_batch_normalization},
    {"InstanceNormalization", lower_instance_normalization},
    {"LayerNormalization", lower_layer_normalization},
    {"RMSNormalization", lower_rms_normalization},
    {"GroupNormalization", lower_group_normalization},
    {"LRN", lower_lrn},
    {"LpNormalization", lower_lp_normalization},
    {"MeanVarianceNormalization", lower_mean_variance_normalization},
};

}  // namespace

std::span<const OpRow> normalization_ops() { return kOps; }

}  // namespace onrush
