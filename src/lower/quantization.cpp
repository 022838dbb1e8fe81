// Linear quantisation: real = (quantised - zero point) * scale. Scales and zero points stand for
// the whole tensor, for each index of one axis, or for blocks along one axis.
#include "lower/quantization.h"

#include "lower/contraction.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

struct Range {
  double low, high;
};

// Of an integer dtype of at most 16 bits.
Range range_of(DType dtype) {
  const double count = static_cast<double>(int64_t{1} << bits(dtype));
  return is_signed_integer(dtype) ? Range{-count / 2, count / 2 - 1} : Range{0, count - 1};
}

bool is_quantized(DType dtype) {
  return is_float(dtype) ? bits(dtype) <= 8 : is_integer(dtype) && bits(dtype) <= 16;
}

// --- granularity

// For the whole tensor; some exporters write vectors of one element.
bool is_single(const Dims& shape) {
  return shape.empty() ||
         (shape.size() == 1 && decide(equal(shape[0], 1), "quantisation per tensor"));
}

// Every element of the scale for blocks of `size` along `axis`, cut to the extent of x.
NodeId repeat_blocks(const OpContext& c, NodeId scale, Dims x, int axis, int64_t size) {
  Builder& b = c.b;
  const size_t a = static_cast<size_t>(axis);
  Dims expected = x;
  expected[a] = ceildiv(x[a], size);
  const Dims given = b.shape(scale);
  for (size_t i = 0; i < x.size(); ++i)
    if (!decide(equal(given[i], expected[i]), "blocked quantisation"))
      c.fail(fmt::format("the scale for blocks of {} must have shape {}", size,
                         to_string(std::span<const Dim>(expected))));
  Dims repeated = expected;
  repeated.insert(repeated.begin() + axis + 1, Dim(size));
  Dims merged = expected;
  merged[a] = expected[a] * size;
  const NodeId blocks = b.broadcast(b.unsqueeze(scale, {axis + 1}), std::move(repeated));
  return b.slice_axis(b.reshape(blocks, std::move(merged)), axis, 0, x[a]);
}

// A scale or zero point as it broadcasts against an x of shape `x`.
NodeId spread(const OpContext& c, NodeId scale, Dims x) {
  Builder& b = c.b;
  const Dims shape = b.shape(scale);
  const int rank = static_cast<int>(x.size());
  if (is_single(shape)) return b.reshape(scale, {});
  const int axis = rank == 1 ? 0 : c.axis(c.attr("axis", 1), rank);
  const int64_t block = c.attr("block_size", int64_t{0});
  if (block > 0) {
    c.require(static_cast<int>(shape.size()) == rank,
              "the scale for blocks must have the rank of the input");
    return repeat_blocks(c, scale, x, axis, block);
  }
  c.require(shape.size() == 1, "the scale must be a scalar or a vector, or block_size be given");
  c.require(decide(equal(shape[0], x[static_cast<size_t>(axis)]), "quantisation per axis"),
            "the scale must have one element for each index of 'axis'");
  return b.unsqueeze(b.unsqueeze(scale, axis_range(0, axis)), axis_range(axis + 1, rank));
}

// --- one tensor

Results quantize_linear(OpContext& c) {
  Builder& b = c.b;
  const DType dtype = c.has(2) ? c.dtype(2) : dtype_attr(c, "output_dtype", DType::u8);
  c.require(is_quantized(dtype),
            "the output must be an integer of at most 16 bits or a small float");
  const DType given = dtype_attr(c, "output_dtype", dtype);
  c.require(given == dtype, "'output_dtype' must be the dtype of y_zero_point");
  const DType precision = dtype_attr(c, "precision", c.dtype(1));
  const NodeId scale = spread(c, b.cast(c.in(1), precision), c.shape(0));
  const auto zero_point = c.has(2) ? std::optional(spread(c, c.in(2), c.shape(0))) : std::nullopt;
  const bool saturate = c.attr("saturate", 1) != 0;
  return quantize(b, b.div(b.cast(c.in(0), precision), scale), zero_point, dtype, saturate);
}

Results dequantize_linear(OpContext& c) {
  Builder& b = c.b;
  c.require(is_quantized(c.dtype(0)) || c.dtype(0) == DType::i32,
            "the input must be i32, an integer of at most 16 bits or a small float");
  const DType dtype = dtype_attr(c, "output_dtype", c.dtype(1));
  const DType compute = wide(dtype);
  NodeId x = b.cast(c.in(0), compute);
  if (c.has(2) && !is_float(c.dtype(0))) {
    c.require(c.dtype(2) == c.dtype(0), "x_zero_point must have the dtype of x");
    x = b.sub(x, b.cast(spread(c, c.in(2), c.shape(0)), compute));
  }
  return b.cast(b.mul(x, b.cast(spread(c, c.in(1), c.shape(0)), compute)), dtype);
}

// To u8 over the range of the elements, extended to hold zero.
Results dynamic_quantize_linear(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = c.in(0);
  const NodeId zero = b.like(x, 0);
  const Axes all = axis_range(0, c.rank(0));
  const NodeId high = b.max(b.reshape(b.reduce(ReduceKind::max, x, all), {}), zero);
  const NodeId low = b.min(b.reshape(b.reduce(ReduceKind::min, x, all), {}), zero);
  const NodeId step = b.div(b.sub(high, low), b.like(x, 255));
  const NodeId scale = b.select(b.equal(high, low), b.like(x, 1), step);
  const NodeId zero_point = quantize(b, b.div(b.neg(low), scale), {}, DType::u8);
  return {quantize(b, b.div(x, scale), zero_point, DType::u8), scale, zero_point};
}

// --- contractions of quantised operands

// A scale or zero point of a product's operand or result as it broadcasts against the product, of
// which a vector belongs to `axis` from the end.
NodeId along(Builder& b, NodeId scale, int axis_from_end) {
  if (is_single(b.shape(scale))) return b.reshape(scale, {});
  return b.rank(scale) == 1 ? b.unsqueeze(scale, axis_range(1, axis_from_end)) : scale;
}

// Sums of products, in units of x_scale * w_scale, quantised as input y_scale and, where it is
// there, the input after it say.
NodeId requantize(OpContext& c, NodeId sums, NodeId x_scale, NodeId w_scale, int y_scale) {
  Builder& b = c.b;
  const DType dtype = c.has(y_scale + 1) ? c.dtype(y_scale + 1) : c.dtype(0);
  c.require(is_quantized(dtype), "y_zero_point must have a quantised dtype");
  const auto y_zero =
      c.has(y_scale + 1) ? std::optional(along(b, c.in(y_scale + 1), 2)) : std::nullopt;
  const NodeId factor = b.div(b.mul(x_scale, w_scale), along(b, c.in(y_scale), 2));
  return quantize(b, b.mul(b.cast(sums, DType::f32), b.cast(factor, DType::f32)), y_zero, dtype);
}

Results qlinear_matmul(OpContext& c) {
  Builder& b = c.b;
  enum { kA, kAScale, kAZero, kB, kBScale, kBZero, kYScale };
  const NodeId sums = is_float(c.dtype(kA))
                          ? matmul(c, c.in(kA), c.in(kB), DType::f32)
                          : integer_matmul(c, c.in(kA), c.maybe(kAZero), c.in(kB), c.maybe(kBZero));
  return requantize(c, sums, along(b, c.in(kAScale), 2), along(b, c.in(kBScale), 1), kYScale);
}

Results qlinear_conv(OpContext& c) {
  Builder& b = c.b;
  enum { kX, kXScale, kXZero, kW, kWScale, kWZero, kYScale, kYZero, kBias };
  NodeId sums = integer_convolve(c, c.in(kX), c.maybe(kXZero), c.in(kW), c.maybe(kWZero));
  if (c.has(kBias)) sums = b.add(sums, c.in(kBias));
  const NodeId y =
      requantize(c, sums, along(b, c.in(kXScale), 1), along(b, c.in(kWScale), 1), kYScale);
  Axes channels_first = axis_range(0, b.rank(y) - 1);
  channels_first.insert(channels_first.begin() + 1, b.rank(y) - 1);
  return b.transpose(y, std::move(channels_first));
}

constexpr OpRow kOps[] = {
    {"QuantizeLinear", quantize_linear},
    {"DequantizeLinear", dequantize_linear},
    {"DynamicQuantizeLinear", dynamic_quantize_linear},
    {"QLinearMatMul", qlinear_matmul},
    {"QLinearConv", qlinear_conv},
};

}  // namespace

NodeId quantize(Builder& b, NodeId y, std::optional<NodeId> zero_point, DType dtype,
                bool saturate) {
  if (is_float(dtype)) return b.cast(y, dtype, saturate);
  y = b.unary(Op::round, widen(b, y));
  if (zero_point) y = b.add(y, b.cast(*zero_point, b.dtype(y)));
  const Range range = range_of(dtype);
  return b.cast(b.min(b.max(y, b.like(y, range.low)), b.like(y, range.high)), dtype);
}

std::span<const OpRow> quantization_ops() { return kOps; }

}  // namespace onrush
