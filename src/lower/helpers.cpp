#include "lower/helpers.h"

#include <algorithm>
#include <bit>
#include <numeric>

namespace onrush {

DType wide(DType dtype) { return is_float(dtype) && bits(dtype) < 32 ? DType::f32 : dtype; }

NodeId widen(Builder& b, NodeId x) { return b.cast(x, wide(b.dtype(x))); }

NodeId dim_scalar(Builder& b, DType dtype, Dim dim) {
  return b.cast(b.dims(DType::i64, {dim}, {}), dtype);
}

NodeId full(Builder& b, DType dtype, double value, Dims shape) {
  return b.broadcast(b.scalar(dtype, value), std::move(shape));
}

Axes axis_range(int first, int last) {
  Axes axes(static_cast<size_t>(std::max(0, last - first)));
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

NodeId per_channel(Builder& b, NodeId vector, int rank) {
  if (b.rank(vector) != 1)
    fail(ErrorCode::invalid_model, "a vector with one element a channel is expected, not {}",
         to_string(b.type(vector)));
  return b.unsqueeze(vector, axis_range(1, rank - 1));
}

NodeId softmax(Builder& b, NodeId x, Axes axes) {
  const NodeId wide_x = widen(b, x);
  const NodeId power = b.exp(b.sub(wide_x, b.reduce(ReduceKind::max, wide_x, axes)));
  return b.cast(b.div(power, b.reduce(ReduceKind::sum, power, axes)), b.dtype(x));
}

NodeId log_softmax(Builder& b, NodeId x, Axes axes) {
  const NodeId wide_x = widen(b, x);
  const NodeId shifted = b.sub(wide_x, b.reduce(ReduceKind::max, wide_x, axes));
  const NodeId sum = b.reduce(ReduceKind::sum, b.exp(shifted), axes);
  return b.cast(b.sub(shifted, b.unary(Op::log, sum)), b.dtype(x));
}

RandomAttr random_stream(const OpContext& c, int draw) {
  // FNV-1a over the name of the first result, which is unique in its scope.
  uint64_t stream = 0xcbf29ce484222325;
  for (char letter : c.node().outputs.empty() ? c.node().name : c.node().outputs[0])
    stream = (stream ^ static_cast<uint8_t>(letter)) * 0x100000001b3;
  stream += static_cast<uint64_t>(draw);
  const onnx::Attribute* seed = c.node().find("seed");
  if (!seed) return {0, stream, false};
  if (const int64_t* number = std::get_if<int64_t>(&seed->value))
    return {static_cast<uint64_t>(*number), stream, true};
  return {std::bit_cast<uint32_t>(c.attr("seed", 0.f)), stream, true};
}

NodeId uniform(const OpContext& c, DType dtype, Dims shape, int draw) {
  Builder& b = c.b;
  const NodeId bits = b.random_bits(std::move(shape), random_stream(c, draw));
  const NodeId high = b.binary(Op::shift_right, bits, b.like(bits, 8));
  return b.mul(b.cast(high, dtype), b.scalar(dtype, 0x1p-24));
}

std::vector<OpRow> join_rows(std::initializer_list<std::span<const OpRow>> tables) {
  std::vector<OpRow> rows;
  for (std::span<const OpRow> table : tables) rows.insert(rows.end(), table.begin(), table.end());
  return rows;
}

DType dtype_attr(const OpContext& c, std::string_view name, DType otherwise) {
  const int64_t value = c.attr(name, static_cast<int64_t>(otherwise));
  if (value <= 0 || value >= kDTypeCount)
    c.fail(fmt::format("attribute '{}' names no element type: {}", name, value));
  return static_cast<DType>(value);
}

}  // namespace onrush
