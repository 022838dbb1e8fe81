// Depthwise convolution, channels last.
#pragma once

#include <cstdint>

namespace onrush::cpu {

// One row of results:
//   out[x * out_stride + c] = clamp(bias[c] + sum over t of taps[x * tap_count + t][c] *
//                                   weights[t * channels + c], low, high)
// for x < width, c < channels. A tap points at the channels of one pixel; padding points at a row
// of zeros. bias may be null. NaN stays NaN. `out` overlaps nothing else.
struct DepthwiseRow {
  const float* const* taps;  // [width][tap_count]
  const float* weights;      // [tap_count][channels]
  const float* bias;
  float* out;
  int64_t out_stride;  // in elements, at least channels
  int tap_count;
  int64_t width;
  int64_t channels;
  float low, high;
  // If not 0: the window has so many columns (tap_count is a multiple) and slides by one pixel:
  // column j + 1 of result x is column j of result x + 1. Then a tap is loaded once for all results
  // that see it; faster for 3, 5 and 7 columns.
  int sliding_columns = 0;
};

void depthwise_f32(const DepthwiseRow& row);

}  // namespace onrush::cpu
