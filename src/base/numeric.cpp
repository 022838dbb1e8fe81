#include "base/numeric.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace onrush {
namespace {

// A small binary float: sign, exponent, mantissa; how it spells NaN and infinity.
struct SmallFormat {
  int exponent_bits;
  int mantissa_bits;
  int bias;
  bool has_infinity;          // IEEE-like top exponent
  bool nan_is_negative_zero;  // the "uz" formats
  bool has_nan;
};

SmallFormat format_of(DType dtype) {
  switch (dtype) {
    case DType::f8e4m3fn: return {4, 3, 7, false, false, true};
    case DType::f8e4m3fnuz: return {4, 3, 8, false, true, true};
    case DType::f8e5m2: return {5, 2, 15, true, false, true};
    case DType::f8e5m2fnuz: return {5, 2, 16, false, true, true};
    case DType::f4e2m1: return {2, 1, 1, false, false, false};
    default: internal_error("not a small float");
  }
}

bool is_nan(const SmallFormat& f, int exponent, int mantissa, bool negative) {
  const int top = (1 << f.exponent_bits) - 1;
  if (!f.has_nan) return false;
  if (f.nan_is_negative_zero) return negative && exponent == 0 && mantissa == 0;
  if (f.has_infinity) return exponent == top && mantissa != 0;
  return exponent == top && mantissa == (1 << f.mantissa_bits) - 1;
}

double magnitude(const SmallFormat& f, int exponent, int mantissa) {
  const double scale = 1 << f.mantissa_bits;
  if (exponent == 0) return std::ldexp(mantissa / scale, 1 - f.bias);
  return std::ldexp(1 + mantissa / scale, exponent - f.bias);
}

uint8_t nan_bits(const SmallFormat& f, bool negative) {
  if (f.nan_is_negative_zero) return 0x80;
  const uint8_t body =
      f.has_infinity ? ((1 << f.exponent_bits) - 1) << f.mantissa_bits | 1 << (f.mantissa_bits - 1)
                     : (1 << (f.exponent_bits + f.mantissa_bits)) - 1;
  return static_cast<uint8_t>(body | (negative ? 0x80 : 0));
}

// Largest finite code (exponent and mantissa fields together).
int max_code(const SmallFormat& f) {
  const int all = (1 << (f.exponent_bits + f.mantissa_bits)) - 1;
  if (f.has_infinity) return (((1 << f.exponent_bits) - 1) << f.mantissa_bits) - 1;
  return f.has_nan && !f.nan_is_negative_zero ? all - 1 : all;
}

uint8_t e8m0_from_f32(float value, bool saturate) {
  if (std::isnan(value) || value < 0) return 0xff;
  if (std::isinf(value)) return saturate ? 0xfe : 0xff;
  if (value == 0) return 0;
  int exponent;
  const float fraction = std::frexp(value, &exponent);  // in [0.5, 1)
  int code = exponent - 1 + 127 + (fraction >= 0.75f ? 1 : 0);
  if (code < 0) return 0;
  if (code > 0xfe) return saturate ? 0xfe : 0xff;
  return static_cast<uint8_t>(code);
}

uint64_t sub_byte_raw(int width, const void* data, int64_t index) {
  const int per_byte = 8 / width;
  const uint8_t byte = static_cast<const uint8_t*>(data)[index / per_byte];
  return (byte >> (index % per_byte * width)) & ((1u << width) - 1);
}

void store_sub_byte(int width, void* data, int64_t index, uint8_t value) {
  const int per_byte = 8 / width;
  const int shift = static_cast<int>(index % per_byte) * width;
  const uint8_t mask = static_cast<uint8_t>(((1u << width) - 1) << shift);
  uint8_t& byte = static_cast<uint8_t*>(data)[index / per_byte];
  byte = static_cast<uint8_t>((byte & ~mask) | ((value << shift) & mask));
}

int64_t sign_extend(uint64_t raw, int width) {
  const uint64_t top = uint64_t{1} << (width - 1);
  return static_cast<int64_t>((raw ^ top) - top);
}

// Weights that lie in a file need not be aligned.
template <class T>
T at(const void* data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + index * int64_t{sizeof(T)}, sizeof(T));
  return value;
}
template <class T>
void put(void* data, int64_t index, T value) {
  std::memcpy(static_cast<char*>(data) + index * int64_t{sizeof(T)}, &value, sizeof(T));
}

// C++ leaves out-of-range float to integer conversion undefined; ours truncates and wraps like
// x86 does for values inside int64, and gives the extreme value outside.
int64_t to_i64(double value) {
  if (std::isnan(value)) return std::numeric_limits<int64_t>::min();
  if (value >= 9223372036854775808.0) return std::numeric_limits<int64_t>::max();
  if (value < -9223372036854775808.0) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(value);
}

}  // namespace

float f16_to_f32(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16;
  uint32_t exponent = (h >> 10) & 0x1f;
  uint32_t mantissa = h & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  if (exponent == 0) {
    const float value = std::ldexp(static_cast<float>(mantissa), -24);
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t f32_to_f16(float value) {
  const uint32_t x = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((x >> 16) & 0x8000);
  const uint32_t magnitude = x & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= 0x477ff000) return sign | 0x7c00;  // rounds to 65536 or above
  if (magnitude < 0x38800000) {                       // subnormal or zero: exact scaled rounding
    const float scaled = std::bit_cast<float>(magnitude) * 16777216.0f;  // 2^24
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(std::nearbyint(scaled)));
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

uint16_t f32_to_bf16(float value) {
  const uint32_t x = std::bit_cast<uint32_t>(value);
  if ((x & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((x >> 16) | 0x40);
  return static_cast<uint16_t>((x + 0x7fff + ((x >> 16) & 1)) >> 16);
}

float small_float_to_f32(DType dtype, uint8_t code) {
  if (dtype == DType::f8e8m0)
    return code == 0xff ? std::numeric_limits<float>::quiet_NaN()
                        : static_cast<float>(std::ldexp(1.0, code - 127));
  const SmallFormat f = format_of(dtype);
  const int sign_shift = f.exponent_bits + f.mantissa_bits;
  const bool negative = code >> sign_shift & 1;
  const int exponent = code >> f.mantissa_bits & ((1 << f.exponent_bits) - 1);
  const int mantissa = code & ((1 << f.mantissa_bits) - 1);
  if (is_nan(f, exponent, mantissa, negative)) return std::numeric_limits<float>::quiet_NaN();
  const bool infinite = f.has_infinity && exponent == (1 << f.exponent_bits) - 1;
  const double value =
      infinite ? std::numeric_limits<double>::infinity() : magnitude(f, exponent, mantissa);
  return static_cast<float>(negative ? -value : value);
}

uint8_t f32_to_small_float(DType dtype, float value, bool saturate) {
  if (dtype == DType::f8e8m0) return e8m0_from_f32(value, saturate);
  const SmallFormat f = format_of(dtype);
  const bool negative = std::signbit(value);
  const uint8_t sign_bit = static_cast<uint8_t>(1 << (f.exponent_bits + f.mantissa_bits));
  const uint8_t sign = negative ? sign_bit : 0;
  if (std::isnan(value)) return f.has_nan ? nan_bits(f, negative) : sign ^ sign_bit;
  const uint8_t beyond = saturate || !f.has_nan ? static_cast<uint8_t>(sign | max_code(f))
                         : f.has_infinity       ? static_cast<uint8_t>(sign | (max_code(f) + 1))
                                                : nan_bits(f, negative);
  if (std::isinf(value)) return beyond;
  const double magnitude_in = std::fabs(static_cast<double>(value));
  int exponent = -f.bias;  // of zero, which frexp gives the exponent 0
  if (magnitude_in > 0) std::frexp(magnitude_in, &exponent);
  const int field = std::max(exponent - 1 + f.bias, 1);  // subnormals share the exponent of 1
  const double step = std::ldexp(1.0, field - f.bias - f.mantissa_bits);
  const auto units = static_cast<int64_t>(std::nearbyint(magnitude_in / step));
  const int64_t code = units + (static_cast<int64_t>(field - 1) << f.mantissa_bits);
  if (code > max_code(f)) return beyond;
  if (code == 0 && f.nan_is_negative_zero) return 0;
  return static_cast<uint8_t>(sign | code);
}

double load_f64(DType dtype, const void* data, int64_t index) {
  switch (dtype) {
    case DType::f32: return at<float>(data, index);
    case DType::f64: return at<double>(data, index);
    case DType::f16: return f16_to_f32(at<uint16_t>(data, index));
    case DType::bf16: return bf16_to_f32(at<uint16_t>(data, index));
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0: return small_float_to_f32(dtype, at<uint8_t>(data, index));
    case DType::f4e2m1:
      return small_float_to_f32(dtype, static_cast<uint8_t>(sub_byte_raw(4, data, index)));
    case DType::u64: return static_cast<double>(at<uint64_t>(data, index));
    default: return static_cast<double>(load_i64(dtype, data, index));
  }
}

int64_t load_i64(DType dtype, const void* data, int64_t index) {
  switch (dtype) {
    case DType::u8: return at<uint8_t>(data, index);
    case DType::i8: return at<int8_t>(data, index);
    case DType::u16: return at<uint16_t>(data, index);
    case DType::i16: return at<int16_t>(data, index);
    case DType::i32: return at<int32_t>(data, index);
    case DType::u32: return at<uint32_t>(data, index);
    case DType::i64:
    case DType::u64: return at<int64_t>(data, index);
    case DType::boolean: return at<uint8_t>(data, index) != 0;
    case DType::u4: return static_cast<int64_t>(sub_byte_raw(4, data, index));
    case DType::u2: return static_cast<int64_t>(sub_byte_raw(2, data, index));
    case DType::i4: return sign_extend(sub_byte_raw(4, data, index), 4);
    case DType::i2: return sign_extend(sub_byte_raw(2, data, index), 2);
    default: return to_i64(load_f64(dtype, data, index));
  }
}

void store_f64(DType dtype, void* data, int64_t index, double value) {
  switch (dtype) {
    case DType::f32: return put<float>(data, index, static_cast<float>(value));
    case DType::f64: return put<double>(data, index, value);
    case DType::f16: return put<uint16_t>(data, index, f32_to_f16(static_cast<float>(value)));
    case DType::bf16: return put<uint16_t>(data, index, f32_to_bf16(static_cast<float>(value)));
    case DType::f8e4m3fn:
    case DType::f8e4m3fnuz:
    case DType::f8e5m2:
    case DType::f8e5m2fnuz:
    case DType::f8e8m0:
      return put<uint8_t>(data, index, f32_to_small_float(dtype, static_cast<float>(value)));
    case DType::f4e2m1:
      return store_sub_byte(4, data, index, f32_to_small_float(dtype, static_cast<float>(value)));
    case DType::boolean: return put<uint8_t>(data, index, value != 0);
    case DType::u64:
      return put<uint64_t>(data, index,
                           value >= 9223372036854775808.0 && value < 18446744073709551616.0
                               ? static_cast<uint64_t>(value)
                               : static_cast<uint64_t>(to_i64(value)));
    default: return store_i64(dtype, data, index, to_i64(value));
  }
}

void store_i64(DType dtype, void* data, int64_t index, int64_t value) {
  switch (dtype) {
    case DType::u8:
    case DType::i8: return put<uint8_t>(data, index, static_cast<uint8_t>(value));
    case DType::u16:
    case DType::i16: return put<uint16_t>(data, index, static_cast<uint16_t>(value));
    case DType::u32:
    case DType::i32: return put<uint32_t>(data, index, static_cast<uint32_t>(value));
    case DType::u64:
    case DType::i64: return put<int64_t>(data, index, value);
    case DType::boolean: return put<uint8_t>(data, index, value != 0);
    case DType::u4:
    case DType::i4: return store_sub_byte(4, data, index, static_cast<uint8_t>(value));
    case DType::u2:
    case DType::i2: return store_sub_byte(2, data, index, static_cast<uint8_t>(value));
    default: return store_f64(dtype, data, index, static_cast<double>(value));
  }
}

}  // namespace onrush
