// The operators of domain com.microsoft that onnxruntime's quantisation tools write. Scales and
// zero points stand for whole tensors but where said otherwise.
#include "lower/contraction.h"
#include "lower/helpers.h"
#include "lower/op_table.h"
#include "lower/quantization.h"

namespace onrush {
namespace {

NodeId scalar_at(OpContext& c, int i) {
  const Dims shape = c.shape(i);
  c.require(shape.empty() || (shape.size() == 1 && decide(equal(shape[0], 1), "one scale")),
            "scales and zero points must be scalars");
  return c.b.reshape(c.in(i), {});
}

// What input `x` stands for, with its scale and its zero point in the two inputs after it or where
// told.
NodeId real_at(OpContext& c, int x, int scale, int zero) {
  Builder& b = c.b;
  NodeId y = b.cast(c.in(x), DType::f32);
  if (c.has(zero)) y = b.sub(y, b.cast(scalar_at(c, zero), DType::f32));
  return b.mul(y, scalar_at(c, scale));
}
NodeId real_at(OpContext& c, int x) { return real_at(c, x, x + 1, x + 2); }

NodeId quantized_as(OpContext& c, NodeId y, int scale, DType otherwise) {
  Builder& b = c.b;
  const bool shifted = c.has(scale + 1);
  const auto zero = shifted ? std::optional(scalar_at(c, scale + 1)) : std::nullopt;
  return quantize(b, b.div(y, scalar_at(c, scale)), zero, shifted ? c.dtype(scale + 1) : otherwise);
}

template <Op op>
Results lower_binary(OpContext& c) {
  return quantized_as(c, c.b.binary(op, real_at(c, 0), real_at(c, 3)), 6, c.dtype(0));
}

Results lower_sigmoid(OpContext& c) {
  return quantized_as(c, c.b.unary(Op::sigmoid, real_at(c, 0)), 3, c.dtype(0));
}

Results lower_leaky_relu(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = real_at(c, 0);
  const NodeId scaled = b.mul(x, b.like(x, c.attr("alpha", 0.01f)));
  return quantized_as(c, b.select(b.less(x, b.like(x, 0)), scaled, x), 3, c.dtype(0));
}

// Along one axis, as ONNX has it from opset 13 on; attribute 'opset' says which is meant.
Results lower_softmax(OpContext& c) {
  const int rank = c.rank(0), axis = c.axis(c.attr("axis", -1), rank);
  c.require(c.attr("opset", int64_t{13}) >= 13 || axis == rank - 1,
            "attribute 'axis' must be the last one where 'opset' is below 13");
  return quantized_as(c, softmax(c.b, real_at(c, 0), {axis}), 3, c.dtype(0));
}

Results lower_global_average_pool(OpContext& c) {
  const int rank = c.rank(0);
  const Axes spatial = c.attr("channels_last", 0) ? axis_range(1, rank - 1) : axis_range(2, rank);
  return quantized_as(c, c.b.mean(real_at(c, 0), spatial), 3, c.dtype(0));
}

Results lower_concat(OpContext& c) {
  std::vector<NodeId> parts;
  for (int i = 2; i + 2 < c.input_count(); i += 3) parts.push_back(real_at(c, i));
  c.require(!parts.empty(), "there is nothing to concatenate");
  const int axis = c.axis(c.attr("axis", 0), c.b.rank(parts[0]));
  return quantized_as(c, c.b.concat(parts, axis), 0, c.dtype(2));
}

// The scale of b may be one a column. The result is f32 unless it is given a scale.
Results lower_gemm(OpContext& c) {
  Builder& b = c.b;
  enum { kA, kAScale, kAZero, kB, kBScale, kBZero, kBias, kYScale };
  c.require(c.rank(kA) == 2 && c.rank(kB) == 2, "QGemm takes matrices");
  const auto matrix = [&](int i, const char* transposed) {
    return c.attr(transposed, 0) ? b.transpose(c.in(i), {1, 0}) : c.in(i);
  };
  NodeId sums = integer_matmul(c, matrix(kA, "transA"), c.maybe(kAZero), matrix(kB, "transB"),
                               c.maybe(kBZero));
  if (c.has(kBias)) sums = b.add(sums, c.in(kBias));
  NodeId scale = b.mul(scalar_at(c, kAScale), c.in(kBScale));
  if (const float alpha = c.attr("alpha", 1.f); alpha != 1)
    scale = b.mul(scale, b.like(scale, alpha));
  const NodeId y = b.mul(b.cast(sums, DType::f32), scale);
  return c.has(kYScale) ? quantized_as(c, y, kYScale, c.dtype(kA)) : y;
}

// A [..., K] by B [N, blocks, bytes], of which each holds one element of 8 bits or two of 4, the
// first one lowest; scales [N, blocks].
Results lower_matmul_nbits(OpContext& c) {
  Builder& b = c.b;
  const int64_t k = c.attr("K", int64_t{0}), n = c.attr("N", int64_t{0});
  const int64_t width = c.attr("bits", int64_t{4}), size = c.attr("block_size", int64_t{0});
  c.require(k > 0 && n > 0 && size > 0 && (width == 4 || width == 8),
            "attributes 'K', 'N' and 'block_size' must be positive and 'bits' 4 or 8");
  c.require(!c.has(4), "input 'g_idx' is not supported; order the columns of A beforehand");
  const int64_t blocks = (k + size - 1) / size;
  // Elements of `count` a row, from bytes.
  const auto unpacked = [&](NodeId bytes, int64_t rows, int64_t count) {
    if (width == 4) {
      bytes = b.unsqueeze(b.reshape(bytes, {rows, (count + 1) / 2}), {2});
      const NodeId parts[] = {b.binary(Op::bit_and, bytes, b.scalar(DType::u8, 15)),
                              b.binary(Op::shift_right, bytes, b.scalar(DType::u8, 4))};
      bytes = b.reshape(b.concat(parts, 2), {rows, (count + 1) / 2 * 2});
    }
    return b.slice_axis(b.reshape(bytes, {rows, (width == 4 ? (count + 1) / 2 * 2 : count)}), 1, 0,
                        count);
  };
  const DType dtype = c.dtype(0);
  const auto by_block = [&](NodeId x) { return b.cast(b.reshape(x, {n, blocks, 1}), DType::f32); };
  NodeId w = b.reshape(unpacked(c.in(1), n * blocks, size), {n, blocks, size});
  w = b.cast(w, DType::f32);
  if (!c.has(3)) w = b.sub(w, b.like(w, width == 4 ? 8 : 128));
  else if (is_float(c.dtype(3))) w = b.sub(w, by_block(c.in(3)));
  else w = b.sub(w, by_block(unpacked(c.in(3), n, blocks)));
  w = b.reshape(b.mul(w, by_block(c.in(2))), {n, blocks * size});
  w = b.cast(b.slice_axis(w, 1, 0, k), dtype);
  const NodeId y = matmul(c, c.in(0), b.transpose(w, {1, 0}), dtype);
  return c.has(5) ? b.add(y, c.in(5)) : y;
}

constexpr OpRow kOps[] = {
    {"MatMulNBits", lower_matmul_nbits},
    {"QGemm", lower_gemm},
    {"QLinearAdd", lower_binary<Op::add>},
    {"QLinearConcat", lower_concat},
    {"QLinearGlobalAveragePool", lower_global_average_pool},
    {"QLinearLeakyRelu", lower_leaky_relu},
    {"QLinearMul", lower_binary<Op::mul>},
    {"QLinearSigmoid", lower_sigmoid},
    {"QLinearSoftmax", lower_softmax},
};

}  // namespace

std::span<const OpRow> microsoft_ops() { return kOps; }

}  // namespace onrush
