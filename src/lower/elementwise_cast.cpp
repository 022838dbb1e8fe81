// Conversions between element types.
#include <algorithm>
#include <cctype>

#include "lower/family_parts.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// |x| as f32, rounded to a power of two by Cast's round_mode, so that the cast to f8e8m0 is exact.
NodeId power_of_two(const OpContext& c, NodeId x) {
  Builder& b = c.b;
  const std::string mode = c.attr("round_mode", "up");
  c.require(mode == "up" || mode == "down" || mode == "nearest",
            "'round_mode' must be up, down or nearest");
  const auto integer = [&](int32_t value) { return b.scalar(DType::i32, value); };
  constexpr int32_t kInfinity = 0x7f800000, kFraction = 0x007fffff;
  const NodeId bits = b.bitcast(b.unary(Op::abs, b.cast(x, DType::f32)), DType::i32);
  const int32_t carry = mode == "up" ? kFraction : mode == "nearest" ? (kFraction + 1) / 2 : 0;
  const NodeId rounded = b.binary(Op::bit_and, b.add(bits, integer(carry)), integer(kInfinity));
  const NodeId is_number = b.less_equal(bits, integer(kInfinity));
  return b.bitcast(b.select(is_number, rounded, bits), DType::f32);
}

NodeId call_cast(Builder& b, CallAttr call, NodeId x, DType dtype) {
  const NodeId operands[] = {x};
  return b.get(b.call(std::move(call), operands, {{dtype, b.shape(x)}}), 0);
}

NodeId cast_to_string(Builder& b, NodeId x) {
  return call_cast(b, {"cast_to_string", {}}, x, DType::string);
}

NodeId cast_from_string(Builder& b, NodeId x, DType dtype) {
  const int64_t code = static_cast<int64_t>(dtype);
  Tensor parameter = Tensor::of<int64_t>(DType::i64, {}, std::span(&code, 1));
  return call_cast(b, {"cast_from_string", {{"dtype", std::move(parameter)}}}, x, dtype);
}

NodeId cast(const OpContext& c, DType dtype) {
  Builder& b = c.b;
  const NodeId x = c.in(0);
  if (b.dtype(x) == dtype) return x;
  c.require(!is_complex(dtype) && !is_complex(b.dtype(x)), "complex numbers cannot be cast");
  if (dtype == DType::string) return cast_to_string(b, x);
  if (b.dtype(x) == DType::string) return cast_from_string(b, x, dtype);
  const bool saturate = c.attr("saturate", 1) != 0;
  if (dtype == DType::f8e8m0) return b.cast(power_of_two(c, x), dtype, saturate);
  return b.cast(x, dtype, saturate);
}

// Before opset 6 the dtype went by name.
DType named_dtype(const OpContext& c, std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char letter) { return std::tolower(letter); });
  for (int i = 1; i < kDTypeCount; ++i)
    if (onnx_name(static_cast<DType>(i)) == name) return static_cast<DType>(i);
  c.fail(fmt::format("attribute 'to' names no element type: '{}'", name));
}

DType target_dtype(const OpContext& c) {
  c.require(c.has_attr("to"), "attribute 'to' is required");
  if (c.opset() < 6) return named_dtype(c, c.attr("to", ""));
  return dtype_attr(c, "to", DType::undefined);
}

Results lower_cast(OpContext& c) { return cast(c, target_dtype(c)); }

Results lower_cast_like(OpContext& c) { return cast(c, c.dtype(1)); }

Results lower_bit_cast(OpContext& c) {
  const DType to = dtype_attr(c, "to", DType::undefined);
  if (to == DType::string || c.dtype(0) == DType::string || bits(to) != bits(c.dtype(0)))
    c.fail(fmt::format("{} cannot be reinterpreted as {}: the element sizes differ",
                       onnx_name(c.dtype(0)), onnx_name(to)));
  return c.b.bitcast(c.in(0), to);
}

constexpr OpRow kOps[] = {
    {"Cast", lower_cast},
    {"CastLike", lower_cast_like},
    {"BitCast", lower_bit_cast},
};

}  // namespace

std::span<const OpRow> cast_ops() { return kOps; }

}  // namespace onrush
