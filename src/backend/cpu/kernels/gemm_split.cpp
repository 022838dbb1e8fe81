// See gemm_split.h; on AMX, which Highway does not know, and with AVX-512 for the splitting.
#include "backend/cpu/kernels/gemm_split.h"

#include <immintrin.h>

#include "backend/cpu/kernels/amx.h"
#include "backend/cpu/kernels/gemm_parts.h"

namespace onrush::cpu {
namespace {

constexpr int64_t kTile = 512;         // bf16 elements of a tile register
constexpr int64_t kAStep = 3 * kTile;  // of a unit of rows, in one step of k
constexpr int64_t kBStep = 6 * kTile;  // of a panel
constexpr size_t kRowBytes = 64;       // of a tile register

// ---- splitting

#define ONRUSH_VECTORS __attribute__((target("avx512f,avx512bw")))

// The parts of 16 numbers, each in the upper halves of the lanes.
struct Parts {
  __m512i part[3];
};

ONRUSH_VECTORS inline __m512i round_to_bf16(__m512 x) {
  const __m512i rounded = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
  return _mm512_and_si512(rounded, _mm512_set1_epi32(int(0xffff0000)));
}

ONRUSH_VECTORS inline Parts split(__m512 x) {
  const __m512i high = round_to_bf16(x);
  const __m512 rest = _mm512_sub_ps(x, _mm512_castsi512_ps(high));
  const __m512i middle = round_to_bf16(rest);
  const __m512 low = _mm512_sub_ps(rest, _mm512_castsi512_ps(middle));
  return {{high, middle, _mm512_castps_si512(low)}};
}

// Finds the largest magnitude, as bits: NaN and infinity are above all numbers.
class Largest {
 public:
  ONRUSH_VECTORS Largest() : bits_(_mm512_setzero_si512()) {}
  ONRUSH_VECTORS void see(__m512 x) {
    const __m512i magnitude =
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    bits_ = _mm512_max_epu32(bits_, magnitude);
  }
  ONRUSH_VECTORS bool splits() const { return _mm512_reduce_max_epu32(bits_) < 0x7f000000; }

 private:
  __m512i bits_;
};

// A row of A: part i of step s goes to out + s * step + i * part.
ONRUSH_VECTORS void split_row(uint16_t* out, int64_t step, int64_t part, const float* row,
                              int64_t k, Largest& largest) {
  // The upper halves of two vectors side by side.
  alignas(64) static constexpr uint16_t kUpperHalves[32] = {
      1,  3,  5,  7,  9,  11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
      33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};
  const __m512i upper = _mm512_load_si512(kUpperHalves);
  for (int64_t p = 0; p < k; p += SplitGemm::kStep, out += step) {
    __m512 x, y;
    if (p + SplitGemm::kStep <= k) {
      x = _mm512_loadu_ps(row + p);
      y = _mm512_loadu_ps(row + p + 16);
    } else {
      const uint32_t left = (uint32_t{1} << (k - p)) - 1;
      x = _mm512_maskz_loadu_ps(static_cast<__mmask16>(left), row + p);
      y = _mm512_maskz_loadu_ps(static_cast<__mmask16>(left >> 16), row + p + 16);
    }
    largest.see(x);
    largest.see(y);
    const Parts xs = split(x), ys = split(y);
    for (int i = 0; i < 3; ++i)
      _mm512_store_si512(out + i * part, _mm512_permutex2var_epi16(xs.part[i], upper, ys.part[i]));
  }
}

ONRUSH_VECTORS bool split_a(void* split_v, const float* a, int64_t a_stride, int64_t rows,
                            int64_t k) {
  const int64_t steps = SplitGemm::steps(k);
  Largest largest;
  for (int64_t r = 0; r < rows; ++r) {
    auto* out = static_cast<uint16_t*>(split_v) + (r / SplitGemm::kTileRows * steps) * kAStep +
                r % SplitGemm::kTileRows * SplitGemm::kStep;
    split_row(out, kAStep, kTile, a + r * a_stride, k, largest);
  }
  return largest.splits();
}

ONRUSH_VECTORS bool split_pixels(void* split_v, int64_t out_bytes, const float* a, int64_t a_stride,
                                 int64_t pixels, int64_t k) {
  auto* out = static_cast<char*>(split_v);
  Largest largest;
  for (int64_t i = 0; i < pixels; ++i)
    split_row(reinterpret_cast<uint16_t*>(out + i * out_bytes), 3 * SplitGemm::kStep,
              SplitGemm::kStep, a + i * a_stride, k, largest);
  return largest.splits();
}

ONRUSH_VECTORS bool split_b(void* split_v, const float* panel, int64_t k) {
  auto* out = static_cast<uint16_t*>(split_v);
  Largest largest;
  for (int64_t p = 0; p < SplitGemm::steps(k) * SplitGemm::kStep; p += 2) {
    uint16_t* pairs = out + p / SplitGemm::kStep * kBStep + p % SplitGemm::kStep / 2 * 32;
    for (int half = 0; half < 2; ++half) {
      const float* at = panel + p * SplitGemm::kCols + half * 16;
      const __m512 even = p < k ? _mm512_load_ps(at) : _mm512_setzero_ps();
      const __m512 odd = p + 1 < k ? _mm512_load_ps(at + SplitGemm::kCols) : _mm512_setzero_ps();
      largest.see(even);
      largest.see(odd);
      const Parts evens = split(even), odds = split(odd);
      for (int i = 0; i < 3; ++i)
        _mm512_store_si512(pairs + (2 * i + half) * kTile,
                           _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(evens.part[i], 16),
                                                   odds.part[i]));
    }
  }
  return largest.splits();
}

// ---- multiplication. C takes the registers 0 to 3, A 4 and 5, B 6 and 7.

// Each element of C is summed in the same order whether both registers of columns are there or one:
// equal columns of B give equal results.
template <bool kBothColumns>
ONRUSH_AMX void multiply_32_rows(const GemmTile& tile) {
  const auto* upper = static_cast<const uint16_t*>(tile.a);
  const auto* lower =
      reinterpret_cast<const uint16_t*>(static_cast<const char*>(tile.a) + tile.a_stride);
  const auto* b = static_cast<const uint16_t*>(tile.b);
  const int64_t steps = SplitGemm::steps(tile.k);
  Prefetch prefetch(tile, steps);
  const auto multiply = [] {
    _tile_dpbf16ps(0, 4, 6);
    if (kBothColumns) _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    if (kBothColumns) _tile_dpbf16ps(3, 5, 7);
  };
  for (int64_t s = 0; s < steps; ++s, upper += kAStep, lower += kAStep, b += kBStep) {
    const auto load_a = [&](int part) {
      _tile_loadd(4, upper + part * kTile, kRowBytes);
      _tile_loadd(5, lower + part * kTile, kRowBytes);
    };
    const auto load_b = [&](int part) {
      _tile_loadd(6, b + 2 * part * kTile, kRowBytes);
      if (kBothColumns) _tile_loadd(7, b + (2 * part + 1) * kTile, kRowBytes);
    };
    load_a(0), load_b(2), multiply();
    load_b(1), multiply();
    load_b(0), multiply();
    load_a(1), multiply();
    load_b(1), multiply();
    load_a(2), load_b(0), multiply();
    prefetch.step();
  }
}

// One register of rows: two sums for each register of C, as one would wait for
// itself. The second sums are in registers 2 and 3.
ONRUSH_AMX void multiply_16_rows(const GemmTile& tile) {
  const auto* a = static_cast<const uint16_t*>(tile.a);
  const auto* b = static_cast<const uint16_t*>(tile.b);
  const int64_t steps = SplitGemm::steps(tile.k);
  Prefetch prefetch(tile, steps);
  for (int64_t s = 0; s < steps; ++s, a += kAStep, b += kBStep) {
    const auto load_b = [&](int part) {
      _tile_loadd(6, b + 2 * part * kTile, kRowBytes);
      _tile_loadd(7, b + (2 * part + 1) * kTile, kRowBytes);
    };
    const auto multiply_both = [] {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    };
    _tile_loadd(4, a, kRowBytes);
    _tile_loadd(5, a + kTile, kRowBytes);
    load_b(0), multiply_both();
    load_b(1), multiply_both();
    load_b(2);
    _tile_loadd(5, a + 2 * kTile, kRowBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    load_b(0);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    prefetch.step();
  }
}

// A register of B at a time where there are only 16 columns.
template <bool kBothColumns>
ONRUSH_AMX void multiply_pixel_steps(const PixelRows& rows) {
  const auto* b = static_cast<const uint16_t*>(rows.b);
  const auto row_bytes = static_cast<size_t>(rows.row_bytes);
  const auto load_b = [&](int part) {
    _tile_loadd(6, b + 2 * part * kTile, kRowBytes);
    if (kBothColumns) _tile_loadd(7, b + (2 * part + 1) * kTile, kRowBytes);
  };
  const auto multiply = [] {
    _tile_dpbf16ps(0, 4, 6);
    if (kBothColumns) _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    if (kBothColumns) _tile_dpbf16ps(3, 5, 7);
  };
  for (int64_t s = 0; s < rows.steps; ++s, b += kBStep) {
    const char *upper = rows.first[0] + rows.offsets[s], *lower = rows.first[1] + rows.offsets[s];
    const auto load_a = [&](int part) {
      _tile_loadd(4, upper + part * int64_t{kRowBytes}, row_bytes);
      _tile_loadd(5, lower + part * int64_t{kRowBytes}, row_bytes);
    };
    load_a(0), load_b(2), multiply();
    load_b(1), multiply();
    load_b(0), multiply();
    load_a(1), multiply();
    load_b(1), multiply();
    load_a(2), load_b(0), multiply();
  }
}

ONRUSH_AMX void multiply_pixels(const PixelRows& rows, void* product_v) {
  auto* product = static_cast<float*>(product_v);
  constexpr size_t kStride = SplitGemm::kCols * sizeof(float);
  constexpr int64_t kUnit = SplitGemm::kTileRows * SplitGemm::kCols;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (rows.cols > 16) multiply_pixel_steps<true>(rows);
  else multiply_pixel_steps<false>(rows);
  _tile_stored(0, product, kStride);
  _tile_stored(1, product + 16, kStride);
  _tile_stored(2, product + kUnit, kStride);
  _tile_stored(3, product + kUnit + 16, kStride);
}

ONRUSH_VECTORS void add(float* sum, const float* more, int64_t n) {
  for (int64_t i = 0; i < n; i += 16)
    _mm512_store_ps(sum + i, _mm512_add_ps(_mm512_load_ps(sum + i), _mm512_load_ps(more + i)));
}

ONRUSH_AMX void run(const GemmTile& tile) {
  constexpr size_t kStride = SplitGemm::kCols * sizeof(float);
  constexpr int64_t kUnit = SplitGemm::kTileRows * SplitGemm::kCols;
  alignas(64) float product[2 * kUnit], second[2 * kUnit];
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (tile.rows <= SplitGemm::kTileRows) {
    multiply_16_rows(tile);
    _tile_stored(0, product, kStride);
    _tile_stored(1, product + 16, kStride);
    _tile_stored(2, second, kStride);
    _tile_stored(3, second + 16, kStride);
    add(product, second, kUnit);
  } else {
    if (tile.cols > 16) multiply_32_rows<true>(tile);
    else multiply_32_rows<false>(tile);
    _tile_stored(0, product, kStride);
    _tile_stored(1, product + 16, kStride);
    _tile_stored(2, product + kUnit, kStride);
    _tile_stored(3, product + kUnit + 16, kStride);
  }
  finish_tile(tile, product, SplitGemm::kCols);
}

constexpr SplitGemm kSplit = {.split_a = split_a,
                              .split_b = split_b,
                              .split_pixels = split_pixels,
                              .begin = amx_begin,
                              .end = amx_end,
                              .run = run,
                              .multiply_pixels = multiply_pixels};

}  // namespace

const SplitGemm* split_gemm() {
  return has_amx() && __builtin_cpu_supports("avx512bw") && gemm_f32().cols == SplitGemm::kCols
             ? &kSplit
             : nullptr;
}

}  // namespace onrush::cpu
