// Element types. The numbers are those of ONNX's TensorProto.DataType.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace onrush {

enum class DType : uint8_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  string = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  c64 = 14,   // complex of two f32
  c128 = 15,  // complex of two f64
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,
  i4 = 22,
  f4e2m1 = 23,
  f8e8m0 = 24,
  u2 = 25,
  i2 = 26,
};
inline constexpr int kDTypeCount = 27;

// "f32", "i64", ... ; ONNX's own spelling ("float", "int64", "float8e4m3fn") for messages and APIs.
std::string_view name(DType dtype);
std::string_view onnx_name(DType dtype);

// Bits of one element in memory: 2, 4, 8 ... 128. Strings are std::string objects.
int bits(DType dtype);
// Bytes of `count` densely packed elements; sub-byte elements share bytes, least significant first.
size_t byte_size(DType dtype, int64_t count);

bool is_float(DType dtype);  // any real floating-point format
bool is_signed_integer(DType dtype);
bool is_unsigned_integer(DType dtype);
bool is_integer(DType dtype);  // signed or unsigned; not boolean
bool is_complex(DType dtype);
bool is_sub_byte(DType dtype);  // packed 2- or 4-bit elements

}  // namespace onrush
