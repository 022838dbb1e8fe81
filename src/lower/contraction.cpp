// MatMul, MatMulInteger, Gemm, and the table of the contraction family.
#include "lower/contraction.h"

#include <algorithm>

#include "ir/integer_products.h"
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

// Stacks of matrices, and how they are multiplied.
struct Stacks {
  NodeId x, y;
  DotAttr attr;
};

// Both of rank 2 or more.
Stacks stacks(Builder& b, NodeId x, NodeId y, DType result) {
  const Dims xs = b.shape(x), ys = b.shape(y);
  const int rank = b.rank(x);
  if (rank >= b.rank(y) && std::all_of(ys.begin(), ys.end() - 2, is_one)) {  // one matrix for all
    y = b.reshape(y, {ys.end() - 2, ys.end()});
    return {x, y, {{}, {}, {rank - 1}, {0}, result}};
  }
  const Dims batch = broadcast_shapes({xs.begin(), xs.end() - 2}, {ys.begin(), ys.end() - 2});
  x = broadcast_batch(b, x, batch);
  y = broadcast_batch(b, y, batch);
  const int last = static_cast<int>(batch.size()) + 1;
  const Axes axes = axis_range(0, last - 1);
  return {x, y, {axes, axes, {last}, {last - 1}, result}};
}

// A zero point of a matrix as one of each matrix of a stack.
std::optional<NodeId> with_rank(Builder& b, std::optional<NodeId> zero, int rank) {
  if (!zero || b.rank(*zero) == 0) return zero;
  const Dims given = b.shape(*zero);
  const auto skipped = std::max(0, b.rank(*zero) - rank);
  Dims shape(static_cast<size_t>(std::max(0, rank - b.rank(*zero))), Dim(1));
  shape.insert(shape.end(), given.begin() + skipped, given.end());
  return b.reshape(*zero, std::move(shape));
}

NodeId batched_product(Builder& b, ShiftedInteger x, ShiftedInteger y) {
  Stacks s = stacks(b, x.x, y.x, DType::i32);
  return integer_dot(b, {s.x, with_rank(b, x.zero, b.rank(s.x))},
                     {s.y, with_rank(b, y.zero, b.rank(s.y))}, s.attr);
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
  Stacks s = stacks(c.b, m.x, m.y, result);
  return drop_vector_axes(c.b, m, c.b.dot(s.x, s.y, std::move(s.attr)));
}

NodeId integer_matmul(const OpContext& c, NodeId x, std::optional<NodeId> x_zero, NodeId y,
                      std::optional<NodeId> y_zero) {
  Builder& b = c.b;
  const Matrices m = as_matrices(c, x, y);
  // A vector of x's zero points belongs to its rows, one of y's to its columns.
  if (x_zero && b.rank(*x_zero) == 1) x_zero = b.unsqueeze(*x_zero, {1});
  return drop_vector_axes(b, m, batched_product(b, {m.x, x_zero}, {m.y, y_zero}));
}

NodeId integer_convolve(const OpContext& c, NodeId x, std::optional<NodeId> x_zero, NodeId w,
                        std::optional<NodeId> w_zero) {
  Builder& b = c.b;
  Convolution conv = convolution(c, x, w, DType::i32);
  if (w_zero && b.rank(*w_zero) == 1) w_zero = b.unsqueeze(*w_zero, axis_range(1, b.rank(w)));
  return integer_conv(b, {conv.x, x_zero}, {conv.w, w_zero}, std::move(conv.attr));
}

std::span<const OpRow> contraction_ops() { return kRows; }

}  // namespace onrush
