#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/depthwise.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/access-inl.h"
#include "backend/cpu/kernels/depthwise.h"
#include "backend/cpu/kernels/min_max-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Access: of whole vectors of channels, or of the part of one that is left. Pixel: float, or
// uint16_t for bf16, or a byte.

template <class Access, class Pixel>
HWY_INLINE VF load_pixels(const DepthwiseRow& row, Access access, const Pixel* at) {
  if constexpr (sizeof(Pixel) == 1)
    return hn::Sub(access.load(at), hn::Set(f32_tag, row.pixel_zero));
  else return access.load(at);
}

template <int kPixels, int kVectors, class Access>
HWY_INLINE void start_sums(const DepthwiseRow& row, int64_t c, Access access,
                           VF (&sum)[kPixels][kVectors]) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  for (int v = 0; v < kVectors; ++v) {
    const VF bias = row.bias ? access.load(row.bias + c + v * lanes) : hn::Zero(f32_tag);
    for (int p = 0; p < kPixels; ++p) sum[p][v] = bias;
  }
}

template <int kPixels, int kVectors, class Access>
HWY_INLINE void finish_sums(const DepthwiseRow& row, int64_t x, int64_t c, Access access,
                            const VF (&sum)[kPixels][kVectors]) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  const VF low = hn::Set(f32_tag, row.low), high = hn::Set(f32_tag, row.high);
  for (int p = 0; p < kPixels; ++p)
    for (int v = 0; v < kVectors; ++v)
      access.store(clamp(sum[p][v], low, high), row.out + (x + p) * row.out_stride + c + v * lanes);
}

// kPixels results from x on, kVectors of their channels from c on. A weight is loaded once for all
// pixels.
template <class Pixel, int kPixels, int kVectors, class Access>
HWY_INLINE void pixels(const DepthwiseRow& row, int64_t x, int64_t c, Access access) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  VF sum[kPixels][kVectors];
  start_sums(row, c, access, sum);
  for (int r = 0; r < row.row_count; ++r) {
    const Pixel* taps =
        static_cast<const Pixel*>(row.rows[r].pixels) + row.first_pixel + x * row.pixel_step + c;
    const float* weights = row.rows[r].weights + row.first_weight + c;
    for (int j = 0; j < row.columns; ++j, taps += row.column_step, weights += row.weight_step) {
      VF weight[kVectors];
      for (int v = 0; v < kVectors; ++v) weight[v] = access.load(weights + v * lanes);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p)
        for (int v = 0; v < kVectors; ++v)
          sum[p][v] = hn::MulAdd(load_pixels(row, access, taps + p * row.pixel_step + v * lanes),
                                 weight[v], sum[p][v]);
    }
  }
  finish_sums(row, x, c, access, sum);
}

// The same for a window of kColumns neighbouring pixels that moves by kStep: a vector of input
// serves every result whose window it is in.
template <class Pixel, int kPixels, int kVectors, int kColumns, int kStep, class Access>
HWY_INLINE void sliding_pixels(const DepthwiseRow& row, int64_t x, int64_t c, Access access) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  VF sum[kPixels][kVectors];
  start_sums(row, c, access, sum);
  for (int r = 0; r < row.row_count; ++r) {
    const Pixel* taps =
        static_cast<const Pixel*>(row.rows[r].pixels) + row.first_pixel + x * row.pixel_step + c;
    const float* weights = row.rows[r].weights + row.first_weight + c;
    VF weight[kColumns][kVectors];
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j)
      for (int v = 0; v < kVectors; ++v)
        weight[j][v] = access.load(weights + j * row.weight_step + v * lanes);
#pragma GCC unroll 32
    for (int i = 0; i < (kPixels - 1) * kStep + kColumns; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const VF input = load_pixels(row, access, taps + i * row.column_step + v * lanes);
#pragma GCC unroll 8
        for (int j = 0; j < kColumns; ++j)
          if (const int p = (i - j) / kStep; i >= j && (i - j) % kStep == 0 && p < kPixels)
            sum[p][v] = hn::MulAdd(input, weight[j][v], sum[p][v]);
      }
    }
  }
  finish_sums(row, x, c, access, sum);
}

template <class Pixel, int kPixels, int kVectors, int kColumns, int kStep, class Access>
HWY_INLINE void group(const DepthwiseRow& row, int64_t x, int64_t c, Access access) {
  if constexpr (kColumns > 0)
    sliding_pixels<Pixel, kPixels, kVectors, kColumns, kStep>(row, x, c, access);
  else pixels<Pixel, kPixels, kVectors>(row, x, c, access);
}

// The results from x on of a row that has at least kPixels: the last group ends with the row and
// may do a few of the one before again.
template <class Pixel, int kPixels, int kVectors, int kColumns, int kStep, class Access>
HWY_INLINE void to_the_end(const DepthwiseRow& row, int64_t x, int64_t c, Access access) {
  for (; x < row.width; x += kPixels)
    group<Pixel, kPixels, kVectors, kColumns, kStep>(row, std::min(x, row.width - kPixels), c,
                                                     access);
}

template <class Pixel, int kVectors, int kColumns, int kStep, class Access>
void channels(const DepthwiseRow& row, int64_t c, Access access) {
  // Enough sums at a time to hide the latency of multiply-add.
  constexpr int kPixels = kVectors == 4 ? 4 : kColumns == 7 ? 6 : 8;
  int64_t x = 0;
  for (; x + kPixels <= row.width; x += kPixels)
    group<Pixel, kPixels, kVectors, kColumns, kStep>(row, x, c, access);
  if (row.width >= 4) to_the_end<Pixel, 4, kVectors, kColumns, kStep>(row, x, c, access);
  else if (row.width >= 2) to_the_end<Pixel, 2, kVectors, 0, 0>(row, x, c, access);
  else to_the_end<Pixel, 1, kVectors, 0, 0>(row, x, c, access);
}

// kVectors: of channels at a time, where there are as many.
template <class Pixel, int kVectors, int kColumns, int kStep>
void all_channels(const DepthwiseRow& row) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  int64_t c = 0;
  for (; c + kVectors * lanes <= row.channels; c += kVectors * lanes)
    channels<Pixel, kVectors, kColumns, kStep>(row, c, WholeVector());
  for (; c + lanes <= row.channels; c += lanes)
    channels<Pixel, 1, kColumns, kStep>(row, c, WholeVector());
  if (c < row.channels) channels<Pixel, 1, kColumns, kStep>(row, c, PartOfVector(row.channels - c));
}

// The window's columns times the vectors, and the sums, must fit the registers.
template <class Pixel>
void depthwise_of(const DepthwiseRow& row) {
  constexpr bool kManyRegisters = hn::MaxLanes(F32()) == 16;  // 32 of them, else 16
  constexpr int kSliding = kManyRegisters ? 2 : 1;
  const int64_t step = row.column_step > 0 && row.pixel_step % row.column_step == 0
                           ? row.pixel_step / row.column_step
                           : 0;
  if (row.width >= 4 && step == 1) {
    switch (row.columns) {
      case 3: return all_channels<Pixel, kSliding, 3, 1>(row);
      case 5: return all_channels<Pixel, kSliding, 5, 1>(row);
      case 7: return all_channels<Pixel, kSliding, 7, 1>(row);
      default: break;
    }
  } else if (row.width >= 4 && step == 2) {
    switch (row.columns) {
      case 3: return all_channels<Pixel, kSliding, 3, 2>(row);
      case 5: return all_channels<Pixel, kSliding, 5, 2>(row);
      default: break;
    }
  }
  all_channels<Pixel, kManyRegisters ? 4 : 2, 0, 0>(row);
}

void depthwise(const DepthwiseRow& row) {
  switch (row.pixel_dtype) {
    case DType::u8: return depthwise_of<uint8_t>(row);
    case DType::i8: return depthwise_of<int8_t>(row);
    case DType::bf16: return depthwise_of<uint16_t>(row);
    default: return depthwise_of<float>(row);
  }
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(depthwise);
void depthwise_f32(const DepthwiseRow& row) { HWY_DYNAMIC_DISPATCH(depthwise)(row); }
}  // namespace onrush::cpu
#endif
