// Depthwise convolution, channels last.
#pragma once

#include <cstdint>

#include <onrush/dtype.h>

namespace onrush::cpu {

// Neighbouring results of one row, with the same taps inside the image:
//   out[x * out_stride + c] = clamp(bias[c] + sum over r and j of
//       (rows[r].pixels[first_pixel + x * pixel_step + j * column_step + c] - pixel_zero) *
//       rows[r].weights[first_weight + j * weight_step + c], low, high)
// for x < width, c < channels, j < columns. bias may be null. NaN stays NaN. `out` overlaps
// nothing else. Steps count elements.
struct DepthwiseRow {
  struct WindowRow {
    const void* pixels;
    const float* weights;
  };
  const WindowRow* rows;
  int row_count;
  DType pixel_dtype = DType::f32;  // or bf16, u8, i8
  float pixel_zero = 0;            // of u8 and i8
  int columns;
  int64_t first_pixel, first_weight;
  int64_t pixel_step;                // from a result's window to the next one's
  int64_t column_step, weight_step;  // from a column of the window to the next
  const float* bias;
  float* out;
  int64_t out_stride;  // at least channels
  int64_t width;
  int64_t channels;
  float low, high;
};

void depthwise_f32(const DepthwiseRow& row);

}  // namespace onrush::cpu
