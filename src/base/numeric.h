// Conversions between element formats and C++ numbers, one element at a time.
#pragma once

#include <bit>
#include <cstdint>

#include <onrush/dtype.h>

namespace onrush {

float f16_to_f32(uint16_t bits);
// Round to nearest even; overflow gives infinity; NaN stays NaN.
uint16_t f32_to_f16(float value);
inline float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }
uint16_t f32_to_bf16(float value);

// The 8-bit and 4-bit formats of ONNX (see "Float stored in 8 bits" in its specification).
// `saturate`: values beyond the range become the largest finite one, else infinity or NaN.
// A NaN becomes the zero of the other sign in f4e2m1, which has no NaN.
float small_float_to_f32(DType dtype, uint8_t bits);
uint8_t f32_to_small_float(DType dtype, float value, bool saturate = true);

// Reads element `index` of a dense array of any real, integer or boolean dtype; 64-bit integers
// lose precision past 2^53 in the f64 form. Sub-byte elements are unpacked.
double load_f64(DType dtype, const void* data, int64_t index);
int64_t load_i64(DType dtype, const void* data, int64_t index);
// Writes one element. From f64: floats round to nearest even through f32 (f64 keeps all bits),
// integers truncate toward zero and wrap, boolean is value != 0.
void store_f64(DType dtype, void* data, int64_t index, double value);
void store_i64(DType dtype, void* data, int64_t index, int64_t value);

}  // namespace onrush
