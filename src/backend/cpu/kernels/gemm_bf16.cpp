// Matrix kernels of x86 for bf16: AMX tiles, and the AVX512_BF16 dot product. Highway knows
// neither, so these are intrinsics, and this file is left out on other architectures.
#include <array>
#include <immintrin.h>
#include <utility>

#include "backend/cpu/kernels/amx.h"
#include "backend/cpu/kernels/gemm_parts.h"

namespace onrush::cpu {
namespace {

constexpr int kCols = 32;
constexpr int64_t kPairRow = kCols * 2;  // bf16 elements of a row of the panel, [k / 2][kCols][2]

template <int k_multiple>
void pack(void* panel, const void* b, DType dtype, int64_t k_stride, int64_t n_stride, int64_t k,
          int n) {
  const int64_t padded_k = (k + k_multiple - 1) / k_multiple * k_multiple;
  pack_panel_bf16(static_cast<uint16_t*>(panel), kCols, padded_k, b, dtype, k_stride, n_stride, k,
                  n);
}

__attribute__((target("avx512f,avx512bw,avx512bf16"))) void round_a(void* out_v, const void* a_v,
                                                                    int64_t n) {
  const auto* a = static_cast<const float*>(a_v);
  auto* out = static_cast<uint16_t*>(out_v);
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    _mm512_storeu_si512(
        out + i, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(a + i)));
  if (i == n) return;
  const uint32_t rest = (uint32_t{1} << (n - i)) - 1;
  const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(rest), a + i);
  const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(rest >> 16), a + i + 16);
  _mm512_mask_storeu_epi16(out + i, rest, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// ---- the epilogue

enum class Residual : uint8_t { none, f32, bf16 };

__attribute__((target("avx512f"))) inline __m512 widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}

// C is bf16, there is no activation.
template <Residual residual>
__attribute__((target("avx512f,avx512bw,avx512bf16"))) void finish_bf16(const GemmTile& tile,
                                                                        const float* product,
                                                                        int64_t stride) {
  const GemmEpilogue none;
  const GemmEpilogue epilogue = tile.epilogue ? *tile.epilogue : none;
  const auto columns = static_cast<__mmask32>((uint64_t{1} << tile.cols) - 1);
  const auto left = static_cast<__mmask16>(columns), right = static_cast<__mmask16>(columns >> 16);
  const __m512 low = _mm512_set1_ps(epilogue.low), high = _mm512_set1_ps(epilogue.high);
  __m512 bias[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  if (epilogue.bias) {
    bias[0] = _mm512_maskz_loadu_ps(left, epilogue.bias);
    bias[1] = _mm512_maskz_loadu_ps(right, epilogue.bias + 16);
  }
  for (int64_t r = 0; r < tile.rows; ++r, product += stride) {
    __m512 x = _mm512_add_ps(_mm512_loadu_ps(product), bias[0]);
    __m512 y = _mm512_add_ps(_mm512_loadu_ps(product + 16), bias[1]);
    const int64_t at = r * epilogue.residual_stride;
    if constexpr (residual == Residual::f32) {
      const float* more = static_cast<const float*>(epilogue.residual) + at;
      x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(left, more));
      y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(right, more + 16));
    } else if constexpr (residual == Residual::bf16) {
      const auto* more = static_cast<const uint16_t*>(epilogue.residual) + at;
      const __m512i bits = _mm512_maskz_loadu_epi16(columns, more);
      x = _mm512_add_ps(x, widen(_mm512_castsi512_si256(bits)));
      y = _mm512_add_ps(y, widen(_mm512_extracti64x4_epi64(bits, 1)));
    }
    // The second operand where one is NaN: the sum.
    x = _mm512_min_ps(high, _mm512_max_ps(low, x));
    y = _mm512_min_ps(high, _mm512_max_ps(low, y));
    _mm512_mask_storeu_epi16(static_cast<uint16_t*>(tile.c) + r * tile.c_stride, columns,
                             (__m512i)_mm512_cvtne2ps_pbh(y, x));
  }
}

void finish(const GemmTile& tile, const void* product_v, int64_t stride) {
  const auto* product = static_cast<const float*>(product_v);
  const GemmEpilogue* e = tile.epilogue;
  if (tile.c_dtype != DType::bf16 || (e && e->activation != Activation::none))
    return finish_tile(tile, product, stride);
  if (!e || !e->residual) return finish_bf16<Residual::none>(tile, product, stride);
  if (e->residual_dtype == DType::f32) return finish_bf16<Residual::f32>(tile, product, stride);
  finish_bf16<Residual::bf16>(tile, product, stride);
}

// ---- AMX: a tile register is 16 rows of 64 bytes. C takes 2 x 2 registers (0 to 3), A two (4 and
// 5: 16 rows x 32 of k), B two (6 and 7: 16 pairs of k x 16 columns).

constexpr int kTileRows = 16;
constexpr int kTileK = 32;

// The loads of one step of k and where they are.
struct AmxOperands {
  const uint16_t* a;
  const uint16_t* b;
  size_t a_bytes;  // from row to row
  static constexpr size_t kBBytes = kPairRow * sizeof(uint16_t);
};

// C is started from zero or from memory, [rows][stride], and ends in memory.
struct AmxResult {
  float* c;
  size_t bytes;   // from row to row
  int64_t lower;  // elements from the first row to the 17th
};

ONRUSH_AMX void multiply_16_rows(AmxOperands at, int64_t k, Prefetch prefetch) {
  for (int64_t p = 0; p < k; p += kTileK) {
    _tile_loadd(4, at.a, at.a_bytes);
    _tile_loadd(6, at.b, at.kBBytes);
    _tile_loadd(7, at.b + kPairRow / 2, at.kBBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    prefetch.step();
    at.a += kTileK;
    at.b += kTileK * kCols;
  }
}

ONRUSH_AMX void multiply_32_rows(AmxOperands at, int64_t a_lower, int64_t k, Prefetch prefetch) {
  for (int64_t p = 0; p < k; p += kTileK) {
    _tile_loadd(6, at.b, at.kBBytes);
    _tile_loadd(4, at.a, at.a_bytes);
    _tile_loadd(7, at.b + kPairRow / 2, at.kBBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, at.a + a_lower, at.a_bytes);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    prefetch.step();
    at.a += kTileK;
    at.b += kTileK * kCols;
  }
}

ONRUSH_AMX void amx_load_c(const AmxResult& at, bool both) {
  _tile_loadd(0, at.c, at.bytes);
  _tile_loadd(1, at.c + kTileRows, at.bytes);
  if (!both) return;
  _tile_loadd(2, at.c + at.lower, at.bytes);
  _tile_loadd(3, at.c + at.lower + kTileRows, at.bytes);
}
ONRUSH_AMX void amx_zero_c() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
ONRUSH_AMX void amx_store_c(const AmxResult& at, bool both) {
  _tile_stored(0, at.c, at.bytes);
  _tile_stored(1, at.c + kTileRows, at.bytes);
  if (!both) return;
  _tile_stored(2, at.c + at.lower, at.bytes);
  _tile_stored(3, at.c + at.lower + kTileRows, at.bytes);
}

// A register of B at a time where there are only 16 columns.
template <bool kBothColumns>
ONRUSH_AMX void multiply_pixel_steps(const PixelRows& rows) {
  const auto* b = static_cast<const uint16_t*>(rows.b);
  const auto row_bytes = static_cast<size_t>(rows.row_bytes);
  for (int64_t s = 0; s < rows.steps; ++s, b += kTileK * kCols) {
    _tile_loadd(6, b, AmxOperands::kBBytes);
    _tile_loadd(4, rows.first[0] + rows.offsets[s], row_bytes);
    if (kBothColumns) _tile_loadd(7, b + kPairRow / 2, AmxOperands::kBBytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, rows.first[1] + rows.offsets[s], row_bytes);
    if (kBothColumns) _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    if (kBothColumns) _tile_dpbf16ps(3, 5, 7);
  }
}

ONRUSH_AMX void amx_multiply_pixels(const PixelRows& rows, void* product) {
  amx_zero_c();
  if (rows.cols > kCols / 2) multiply_pixel_steps<true>(rows);
  else multiply_pixel_steps<false>(rows);
  amx_store_c({static_cast<float*>(product), kCols * sizeof(float), kTileRows * kCols}, true);
}

ONRUSH_AMX void amx_run(const GemmTile& tile) {
  const bool both = tile.rows > kTileRows;
  // Whole registers go to C directly, everything else through a scratch tile.
  const bool direct = tile.cols == kCols && tile.rows % kTileRows == 0 && !tile.epilogue &&
                      tile.c_dtype == DType::f32;
  alignas(64) float product[2 * kTileRows * kCols];
  float* c = direct ? static_cast<float*>(tile.c) : product;
  const int64_t stride = direct ? tile.c_stride : kCols;
  const AmxResult result{c, static_cast<size_t>(stride) * sizeof(float), kTileRows * stride};
  if (direct && tile.accumulate) amx_load_c(result, both);
  else amx_zero_c();

  const AmxOperands operands{static_cast<const uint16_t*>(tile.a),
                             static_cast<const uint16_t*>(tile.b),
                             static_cast<size_t>(tile.a_stride) * sizeof(uint16_t)};
  const Prefetch prefetch(tile, tile.k / kTileK);
  if (both) multiply_32_rows(operands, kTileRows * tile.a_stride, tile.k, prefetch);
  else multiply_16_rows(operands, tile.k, prefetch);

  amx_store_c(result, both);
  if (!direct) finish(tile, product, kCols);
}

// ---- AVX512_BF16: the register tile of the f32 kernel, with pairs of k in a lane.

constexpr int kRows = 14;

template <int kCount>
__attribute__((target("avx512f,avx512bf16"))) void multiply_pairs(const GemmTile& tile,
                                                                  float* product) {
  const int64_t stride = tile.a_stride;
  const auto* a = static_cast<const char*>(tile.a);
  const auto* b = static_cast<const uint16_t*>(tile.b);
  __m512 sum[kCount][2];
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
  for (int64_t p = 0; p < tile.k; p += 2, b += kPairRow) {
    const auto left = (__m512bh)_mm512_loadu_si512(b);
    const auto right = (__m512bh)_mm512_loadu_si512(b + kPairRow / 2);
#pragma GCC unroll 16
    for (int r = 0; r < kCount; ++r) {
      int pair;
      __builtin_memcpy(&pair, a + (r * stride + p) * 2, sizeof(pair));
      const auto elements = (__m512bh)_mm512_set1_epi32(pair);
      sum[r][0] = _mm512_dpbf16_ps(sum[r][0], elements, left);
      sum[r][1] = _mm512_dpbf16_ps(sum[r][1], elements, right);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kCount; ++r) {
    _mm512_store_ps(product + r * kCols, sum[r][0]);
    _mm512_store_ps(product + r * kCols + kCols / 2, sum[r][1]);
  }
}

template <int kCount>
void dot_run_rows(const GemmTile& tile) {
  alignas(64) float product[kCount * kCols];
  multiply_pairs<kCount>(tile, product);
  finish(tile, product, kCols);
}

template <int... kIndex>
constexpr std::array<void (*)(const GemmTile&), sizeof...(kIndex)> make_table(
    std::integer_sequence<int, kIndex...>) {
  return {dot_run_rows<kIndex + 1>...};
}

void dot_run(const GemmTile& tile) {
  static constexpr auto kTable = make_table(std::make_integer_sequence<int, kRows>());
  kTable[static_cast<size_t>(tile.rows - 1)](tile);
}

constexpr GemmKernel kAmx = {.name = "bf16 amx 32x32",
                             .operand = DType::bf16,
                             .rhs = DType::bf16,
                             .rows = 2 * kTileRows,
                             .cols = kCols,
                             .k_multiple = kTileK,
                             .row_multiple = kTileRows,
                             .begin = amx_begin,
                             .end = amx_end,
                             .run = amx_run,
                             .finish = finish,
                             .multiply_pixels = amx_multiply_pixels,
                             .round_a = round_a,
                             .pack_b = pack<kTileK>};

constexpr GemmKernel kDot = {.name = "bf16 avx512_bf16 14x32",
                             .operand = DType::bf16,
                             .rhs = DType::bf16,
                             .rows = kRows,
                             .cols = kCols,
                             .k_multiple = 2,
                             .row_multiple = 1,
                             .begin = [] {},
                             .end = [] {},
                             .run = dot_run,
                             .finish = finish,
                             .round_a = round_a,
                             .pack_b = pack<2>};

}  // namespace

std::optional<GemmKernel> gemm_bf16_dot() {
  if (!__builtin_cpu_supports("avx512bf16")) return std::nullopt;
  return kDot;
}

std::optional<GemmKernel> gemm_bf16() {
  if (has_amx()) return kAmx;
  return gemm_bf16_dot();
}

}  // namespace onrush::cpu
