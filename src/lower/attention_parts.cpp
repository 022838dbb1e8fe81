#include "lower/attention.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// Query heads grouped by the key head that they share: [batch, kv heads, group, rows, width].
NodeId group_heads(const OpContext& c, NodeId x, Dim kv_heads) {
  const Dims shape = c.b.shape(x);
  if (same(shape[1], kv_heads)) return x;
  c.require(decide(divisible(shape[1], kv_heads), "grouped attention"),
            "the number of query heads must be a multiple of the number of key heads");
  return c.b.reshape(x, {shape[0], kv_heads, floordiv(shape[1], kv_heads), shape[2], shape[3]});
}

// Batched product over (batch, kv heads), `contract` being the contracted axis of rhs; query heads
// are grouped for it and stand in one axis again in the result.
NodeId grouped_product(const OpContext& c, NodeId lhs, NodeId rhs, int contract, DType dtype) {
  Builder& b = c.b;
  const Dims shape = b.shape(lhs);
  const NodeId grouped = group_heads(c, lhs, b.shape(rhs)[1]);
  const NodeId product =
      b.dot(grouped, rhs, {{0, 1}, {0, 1}, {b.rank(grouped) - 1}, {contract}, dtype});
  return b.reshape(product, {shape[0], shape[1], shape[2], b.shape(product).back()});
}

DType score_dtype(const OpContext& c, DType operand) {
  const bool precise = dtype_attr(c, "softmax_precision", DType::f32) == DType::f64;
  return precise ? DType::f64 : wide(operand);
}

}  // namespace

NodeId split_last_axis(const OpContext& c, NodeId x, int64_t heads) {
  Dims shape = c.b.shape(x);
  c.require(decide(divisible(shape.back(), heads), "splitting heads"),
            "the hidden size must be a multiple of the number of heads");
  const Dim width = floordiv(shape.back(), heads);
  shape.back() = heads;
  shape.push_back(width);
  return c.b.reshape(x, std::move(shape));
}

NodeId unpack_heads(const OpContext& c, NodeId x, int64_t heads) {
  return c.b.transpose(split_last_axis(c, x, heads), {0, 2, 1, 3});
}

NodeId pack_heads(Builder& b, NodeId x) {
  const Dims shape = b.shape(x);
  return b.reshape(b.transpose(x, {0, 2, 1, 3}), {shape[0], shape[2], shape[1] * shape[3]});
}

NodeId attention_scores(const OpContext& c, NodeId q, NodeId k) {
  Builder& b = c.b;
  const DType dtype = score_dtype(c, b.dtype(q));
  const NodeId scores = grouped_product(c, q, b.cast(k, b.dtype(q)), 3, dtype);
  if (c.has_attr("scale")) return b.mul(scores, b.like(scores, c.attr("scale", 1.0f)));
  const NodeId width = dim_scalar(b, dtype, b.shape(q)[3]);
  return b.mul(scores, b.div(b.like(scores, 1), b.sqrt(width)));
}

NodeId attend(const OpContext& c, NodeId probabilities, NodeId v, DType result) {
  Builder& b = c.b;
  const DType operand = b.dtype(v) == result ? result : b.dtype(probabilities);
  return grouped_product(c, b.cast(probabilities, operand), b.cast(v, operand), 2, result);
}

}  // namespace onrush
