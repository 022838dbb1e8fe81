// MatMul, MatMulInteger, Gemm, and the table of the contraction family.
#include "lower/contraction.h"

#include <algorithm>

#include "lower/contraction_ops.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

// x with `batch` in front of its last two axes.
NodeId broadcast_batch(Builder& b, NodeId x, Dims batch) {
  const Dims shape = b.shape(x);
  batch.insert(batch.end(), shape.end() - 2, shape.end());
  return b.broadcast(x, std::move(batch));
}

// Both of rank 2 or more.
NodeId batched_matmul(Builder& b, NodeId x, NodeId y, DType result) {
  const Dims xs = b.shape(x), ys = b.shape(y);
  const int rank = b.rank(x);
  if (rank >= b.rank(y) && std::all_of(ys.begin(), ys.end() - 2, is_one)) {  // one matrix for all
    y = b.reshape(y, {ys.end() - 2, ys.end()});
    return b.dot(x, y, {{}, {}, {rank - 1}, {0}, result});
  }
  const Dims batch = broadcast_shapes({xs.begin(), xs.end() - 2}, {ys.begin(), ys.end() - 2});
  x = broadcast_batch(b, x, batch);
  y = broadcast_batch(b, y, batch);
  const int last = static_cast<int>(batch.size()) + 1;
  const Axes axes = axis_range(0, last - 1);
  return b.dot(x, y, {axes, axes, {last}, {last - 1}, result});
}

// A vector is one row on the left and one column on the right, which the result drops.
struct Matrices {
  NodeId x, y;
  bool row, column;
};

Matrices as_matrices(const OpContext& c, NodeId x, NodeId y) {
  Builder& b = c.b;
  c.require(b.rank(x) > 0 && b.rank(y) > 0, "a matrix product needs operands of rank 1 or more");
  const bool row = b.rank(x) == 1, column = b.rank(y) == 1;
  return {row ? b.unsqueeze(x, {0}) : x, column ? b.unsqueeze(y, {1}) : y, row, column};
}

NodeId drop_vector_axes(Builder& b, const Matrices& m, NodeId product) {
  const int rank = b.rank(product);
  Axes dropped;
  if (m.row) dropped.push_back(rank - 2);
  if (m.column) dropped.push_back(rank - 1);
  return b.squeeze(product, dropped);
}

// A zero point that changes nothing.
bool is_zero(const Builder& b, std::optional<NodeId> zero_point) {
  if (!zero_point) return true;
  const auto elements = b.elements(*zero_point);
  return elements && std::ranges::all_of(*elements, [](Dim e) { return same(e, 0); });
}

NodeId to_i32(Builder& b, NodeId x) { return b.cast(x, DType::i32); }

Results lower_matmul(OpContext& c) {
  c.require(c.dtype(0) == c.dtype(1), "the operands of MatMul must have one element type");
  return matmul(c, c.in(0), c.in(1), c.dtype(0));
}

Results lower_matmul_integer(OpContext& c) {
  return integer_matmul(c, c.in(0), c.maybe(2), c.in(1), c.maybe(3));
}

Results lower_gemm(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) == 2 && c.rank(1) == 2, "Gemm takes matrices");
  c.require(c.dtype(0) == c.dtype(1), "the operands of Gemm must have one element type");
  const int inner = c.attr("transA", 0) ? 0 : 1;
  const int outer = c.attr("transB", 0) ? 1 : 0;
  NodeId y = b.dot(c.in(0), c.in(1), {{}, {}, {inner}, {outer}, c.dtype(0)});
  const auto scaled = [&](NodeId x, double factor) {
    return factor == 1 ? x : b.mul(x, b.like(x, factor));
  };
  y = scaled(y, c.attr("alpha", 1.f));
  if (!c.has(2)) return y;
  c.require(c.rank(2) <= 2, "C must be broadcastable to the result");
  return b.add(y, scaled(c.in(2), c.attr("beta", 1.f)));
}

constexpr OpRow kRows[] = {
    {"CausalConvWithState", lower_causal_conv_with_state},
    {"Conv", lower_conv},
    {"ConvInteger", lower_conv_integer},
    {"ConvTranspose", lower_conv_transpose},
    {"DeformConv", lower_deform_conv},
    {"Einsum", lower_einsum},
    {"Gemm", lower_gemm},
    {"MatMul", lower_matmul},
    {"MatMulInteger", lower_matmul_integer},
};

}  // namespace

NodeId matmul(const OpContext& c, NodeId x, NodeId y, DType result) {
  const Matrices m = as_matrices(c, x, y);
  return drop_vector_axes(c.b, m, batched_matmul(c.b, m.x, m.y, result));
}

// sum (x - x0)(y - y0) = sum xy - x0 sum y - y0 sum x + k x0 y0, so that the product itself stays
// one of 8-bit integers.
NodeId integer_matmul(const OpContext& c, NodeId x, std::optional<NodeId> x_zero, NodeId y,
                      std::optional<NodeId> y_zero) {
  Builder& b = c.b;
  const Matrices m = as_matrices(c, x, y);
  NodeId sums = batched_matmul(b, m.x, m.y, DType::i32);
  const auto sum_along = [&](NodeId matrix, int axis) {
    return b.reduce(ReduceKind::sum, to_i32(b, matrix), {axis});
  };
  std::optional<NodeId> x0, y0;
  if (!is_zero(b, x_zero)) {
    const bool per_row = b.rank(*x_zero) == 1;
    x0 = to_i32(b, per_row ? b.unsqueeze(*x_zero, {1}) : *x_zero);
    sums = b.sub(sums, b.mul(*x0, sum_along(m.y, b.rank(m.y) - 2)));
  }
  if (!is_zero(b, y_zero)) {
    y0 = to_i32(b, *y_zero);
    sums = b.sub(sums, b.mul(*y0, sum_along(m.x, b.rank(m.x) - 1)));
  }
  if (x0 && y0)
    sums = b.add(sums, b.mul(b.mul(*x0, *y0), dim_scalar(b, DType::i32, b.shape(m.x).back())));
  return drop_vector_axes(b, m, sums);
}

// Where only x has a zero point, padding by it keeps the convolution one of 8-bit integers:
// sum (x - x0) w = sum xw - x0 sum w.
NodeId integer_convolve(const OpContext& c, NodeId x, std::optional<NodeId> x_zero, NodeId w,
                        std::optional<NodeId> w_zero) {
  Builder& b = c.b;
  const bool x_plain = is_zero(b, x_zero), w_plain = is_zero(b, w_zero);
  if (x_plain && w_plain) return convolve(c, x, w, DType::i32);
  const NodeId x0 = x_plain ? b.scalar(DType::i32, 0) : to_i32(b, b.reshape(*x_zero, {}));
  if (w_plain) {
    const NodeId sums = convolve(c, x, w, DType::i32, b.reshape(*x_zero, {}));
    const NodeId total = b.reduce(ReduceKind::sum, to_i32(b, w), axis_range(1, b.rank(w)));
    return b.sub(sums, b.mul(x0, b.reshape(total, {b.shape(w)[0]})));
  }
  NodeId w0 = to_i32(b, *w_zero);
  if (b.rank(w0) == 1) w0 = b.unsqueeze(w0, axis_range(1, b.rank(w)));
  return convolve(c, b.sub(to_i32(b, x), x0), b.sub(to_i32(b, w), w0), DType::i32);
}

std::span<const OpRow> contraction_ops() { return kRows; }

}  // namespace onrush
