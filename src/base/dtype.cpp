#include <array>
#include <string>

#include <onrush/dtype.h>

namespace onrush {
namespace {

enum class Kind : uint8_t { none, real, signed_int, unsigned_int, boolean, complex, string };

struct Row {
  std::string_view name;
  std::string_view onnx_name;
  int bits;
  Kind kind;
};

constexpr std::array<Row, kDTypeCount> kRows = {{
    {"undefined", "undefined", 0, Kind::none},
    {"f32", "float", 32, Kind::real},
    {"u8", "uint8", 8, Kind::unsigned_int},
    {"i8", "int8", 8, Kind::signed_int},
    {"u16", "uint16", 16, Kind::unsigned_int},
    {"i16", "int16", 16, Kind::signed_int},
    {"i32", "int32", 32, Kind::signed_int},
    {"i64", "int64", 64, Kind::signed_int},
    {"string", "string", 8 * sizeof(std::string), Kind::string},
    {"bool", "bool", 8, Kind::boolean},
    {"f16", "float16", 16, Kind::real},
    {"f64", "double", 64, Kind::real},
    {"u32", "uint32", 32, Kind::unsigned_int},
    {"u64", "uint64", 64, Kind::unsigned_int},
    {"c64", "complex64", 64, Kind::complex},
    {"c128", "complex128", 128, Kind::complex},
    {"bf16", "bfloat16", 16, Kind::real},
    {"f8e4m3fn", "float8e4m3fn", 8, Kind::real},
    {"f8e4m3fnuz", "float8e4m3fnuz", 8, Kind::real},
    {"f8e5m2", "float8e5m2", 8, Kind::real},
    {"f8e5m2fnuz", "float8e5m2fnuz", 8, Kind::real},
    {"u4", "uint4", 4, Kind::unsigned_int},
    {"i4", "int4", 4, Kind::signed_int},
    {"f4e2m1", "float4e2m1", 4, Kind::real},
    {"f8e8m0", "float8e8m0", 8, Kind::real},
    {"u2", "uint2", 2, Kind::unsigned_int},
    {"i2", "int2", 2, Kind::signed_int},
}};

const Row& row(DType dtype) { return kRows[static_cast<size_t>(dtype)]; }

}  // namespace

std::string_view name(DType dtype) { return row(dtype).name; }
std::string_view onnx_name(DType dtype) { return row(dtype).onnx_name; }
int bits(DType dtype) { return row(dtype).bits; }
size_t byte_size(DType dtype, int64_t count) {
  return (static_cast<size_t>(count) * static_cast<size_t>(bits(dtype)) + 7) / 8;
}
bool is_float(DType dtype) { return row(dtype).kind == Kind::real; }
bool is_signed_integer(DType dtype) { return row(dtype).kind == Kind::signed_int; }
bool is_unsigned_integer(DType dtype) { return row(dtype).kind == Kind::unsigned_int; }
bool is_integer(DType dtype) { return is_signed_integer(dtype) || is_unsigned_integer(dtype); }
bool is_complex(DType dtype) { return row(dtype).kind == Kind::complex; }
bool is_sub_byte(DType dtype) { return dtype != DType::undefined && bits(dtype) < 8; }

}  // namespace onrush
