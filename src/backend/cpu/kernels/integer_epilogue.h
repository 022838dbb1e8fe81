// What follows the sums of a product of integers, on vectors in registers.
//
// A program of stages over one value an element, which begins as the i32 sum. Stages that read
// columns have an array of 32, as many as a tile has; those that read rows, one element a row;
// those that read all, an element for each.
#pragma once

#include <cstdint>
#include <span>

#include "backend/cpu/kernels/activation.h"
#include <onrush/dtype.h>

namespace onrush::cpu {

struct IntegerStage {
  enum class Kind : uint8_t {
    // of i32
    add_columns_i32,
    subtract_outer_i32,  // columns * rows
    to_f32,
    // of f32
    add_columns,
    subtract_columns,
    multiply_columns,
    multiply_rows,
    minimum,     // with `high`, NaN stays NaN
    maximum,     // with `low`
    quantise,    // round_to_even(clamp(x, low, high) / scale) + zero, still f32
    dequantise,  // (x - zero) * scale
    add_all,     // x + (element - zero) * scale
    activate,
    look_up,  // columns[x - zero], of 256 f32: any function of an 8-bit integer
  };
  Kind kind;
  Activation activation = Activation::none;
  DType dtype = DType::f32;  // of `all`: f32, bf16, u8 or s8
  float scale = 1, zero = 0, low = 0, high = 0;
  float reciprocal = 1;  // of the scale, rounded
  const void* columns = nullptr;
  const void* rows = nullptr;
  const void* all = nullptr;
  int64_t row_stride = 0;  // elements, of `rows` and `all`
};

// Quantises to numbers of [low, high]. What is out of range is so before the division as well.
constexpr IntegerStage quantise_stage(float scale, float zero, float low, float high) {
  return {.kind = IntegerStage::Kind::quantise,
          .scale = scale,
          .zero = zero,
          .low = (low - zero) * scale,
          .high = (high - zero) * scale,
          .reciprocal = 1 / scale};
}

using IntegerEpilogue = std::span<const IntegerStage>;

// One row of `columns` results from their sums. product: 32 readable elements. out: of `dtype`, i32
// or f32 as the value is then, or u8 or s8 from f32 whole numbers in range.
struct IntegerRows {
  const int32_t* product;
  int64_t product_stride;
  int rows, columns;  // columns <= 32
  int64_t first_row;
  IntegerEpilogue stages;
  void* out;
  int64_t out_stride;
  DType dtype;
};
void finish_integers(const IntegerRows& rows);

}  // namespace onrush::cpu
