// Matrix kernels of x86 for 8-bit integers: AMX tiles, and the AVX512_VNNI dot product. Highway
// knows neither with all signs, so these are intrinsics, and this file is left out on other
// architectures.
#include <array>
#include <immintrin.h>
#include <utility>

#include "backend/cpu/kernels/amx.h"
#include "backend/cpu/kernels/gemm_parts.h"

namespace onrush::cpu {
namespace {

constexpr int kCols = 32;
constexpr int64_t kQuadRow = kCols * 4;  // bytes of a row of the panel, [k / 4][kCols][4]

enum class Signs : uint8_t { uu, us, su, ss };  // of A and of B

constexpr Signs signs_of(DType lhs, DType rhs) {
  if (lhs == DType::u8) return rhs == DType::u8 ? Signs::uu : Signs::us;
  return rhs == DType::u8 ? Signs::su : Signs::ss;
}

template <int k_multiple>
void pack(void* panel, const void* b, DType dtype, int64_t k_stride, int64_t n_stride, int64_t k,
          int n) {
  pack_panel_int8(static_cast<uint8_t*>(panel), kCols,
                  (k + k_multiple - 1) / k_multiple * k_multiple, b, dtype, k_stride, n_stride, k,
                  n);
}

// ---- AMX: a tile register is 16 rows of 64 bytes. C takes 2 x 2 registers (0 to 3), A two (4 and
// 5: 16 rows x 64 of k), B two (6 and 7: 16 quads of k x 16 columns).

constexpr int kTileRows = 16;
constexpr int kTileK = 64;

#define ONRUSH_AMX_INT8 __attribute__((target("amx-tile,amx-int8")))

// c += a b, of registers.
#define ONRUSH_TILE_DOT(c, a, b)                                  \
  do {                                                            \
    if constexpr (signs == Signs::uu) _tile_dpbuud(c, a, b);      \
    else if constexpr (signs == Signs::us) _tile_dpbusd(c, a, b); \
    else if constexpr (signs == Signs::su) _tile_dpbsud(c, a, b); \
    else _tile_dpbssd(c, a, b);                                   \
  } while (false)

ONRUSH_AMX_INT8 void zero_c() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
ONRUSH_AMX_INT8 void store_c(int32_t* product) {
  constexpr size_t kStride = kCols * sizeof(int32_t);
  _tile_stored(0, product, kStride);
  _tile_stored(1, product + kTileRows, kStride);
  _tile_stored(2, product + kTileRows * kCols, kStride);
  _tile_stored(3, product + kTileRows * kCols + kTileRows, kStride);
}

template <Signs signs, bool kBothRows, bool kBothColumns>
ONRUSH_AMX_INT8 void multiply_steps(const GemmTile& tile) {
  const auto* a = static_cast<const uint8_t*>(tile.a);
  const auto* b = static_cast<const uint8_t*>(tile.b);
  const auto stride = static_cast<size_t>(tile.a_stride);
  const uint8_t* lower = a + kTileRows * tile.a_stride;
  Prefetch prefetch(tile, tile.k / kTileK);
  for (int64_t p = 0; p < tile.k; p += kTileK, b += kTileK * kCols) {
    _tile_loadd(6, b, kQuadRow);
    _tile_loadd(4, a + p, stride);
    if constexpr (kBothColumns) _tile_loadd(7, b + kQuadRow / 2, kQuadRow);
    ONRUSH_TILE_DOT(0, 4, 6);
    if constexpr (kBothRows) _tile_loadd(5, lower + p, stride);
    if constexpr (kBothColumns) ONRUSH_TILE_DOT(1, 4, 7);
    if constexpr (kBothRows) ONRUSH_TILE_DOT(2, 5, 6);
    if constexpr (kBothRows && kBothColumns) ONRUSH_TILE_DOT(3, 5, 7);
    prefetch.step();
  }
}

template <Signs signs>
ONRUSH_AMX_INT8 void amx_run(const GemmTile& tile) {
  alignas(64) int32_t product[2 * kTileRows * kCols];
  zero_c();
  const bool wide = tile.cols > kCols / 2;
  if (tile.rows > kTileRows) {
    if (wide) multiply_steps<signs, true, true>(tile);
    else multiply_steps<signs, true, false>(tile);
  } else {
    if (wide) multiply_steps<signs, false, true>(tile);
    else multiply_steps<signs, false, false>(tile);
  }
  store_c(product);
  finish_int8(tile, product, kCols);
}

template <Signs signs, bool kBothColumns>
ONRUSH_AMX_INT8 void multiply_pixel_steps(const PixelRows& rows) {
  const auto* b = static_cast<const uint8_t*>(rows.b);
  const auto row_bytes = static_cast<size_t>(rows.row_bytes);
  for (int64_t s = 0; s < rows.steps; ++s, b += kTileK * kCols) {
    _tile_loadd(6, b, kQuadRow);
    _tile_loadd(4, rows.first[0] + rows.offsets[s], row_bytes);
    if constexpr (kBothColumns) _tile_loadd(7, b + kQuadRow / 2, kQuadRow);
    ONRUSH_TILE_DOT(0, 4, 6);
    _tile_loadd(5, rows.first[1] + rows.offsets[s], row_bytes);
    if constexpr (kBothColumns) ONRUSH_TILE_DOT(1, 4, 7);
    ONRUSH_TILE_DOT(2, 5, 6);
    if constexpr (kBothColumns) ONRUSH_TILE_DOT(3, 5, 7);
  }
}

template <Signs signs>
ONRUSH_AMX_INT8 void amx_multiply_pixels(const PixelRows& rows, void* product) {
  zero_c();
  if (rows.cols > kCols / 2) multiply_pixel_steps<signs, true>(rows);
  else multiply_pixel_steps<signs, false>(rows);
  store_c(static_cast<int32_t*>(product));
}

template <Signs signs>
GemmKernel amx(const char* name, DType lhs, DType rhs) {
  return {.name = name,
          .operand = lhs,
          .rhs = rhs,
          .rows = 2 * kTileRows,
          .cols = kCols,
          .k_multiple = kTileK,
          .row_multiple = kTileRows,
          .begin = amx_begin,
          .end = amx_end,
          .run = amx_run<signs>,
          .finish = finish_int8,
          .multiply_pixels = amx_multiply_pixels<signs>,
          .round_a = narrow_int8,
          .pack_b = pack<kTileK>};
}

// ---- AVX512_VNNI multiplies unsigned bytes of A by signed ones of B. The other signs are shifted
// by 128: A's as it is read, which the panel's columns correct; B's as it is packed, which the rows
// of A do.

constexpr int kRows = 8;
#define ONRUSH_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

template <Signs signs, int kCount>
ONRUSH_VNNI void vnni_multiply(const GemmTile& tile, int32_t* product) {
  constexpr bool kShiftsA = signs == Signs::su || signs == Signs::ss;
  constexpr bool kShiftsB = signs == Signs::uu || signs == Signs::su;
  const auto* a = static_cast<const char*>(tile.a);
  const auto* b = static_cast<const char*>(tile.b);
  const __m512i sign = _mm512_set1_epi8(char(0x80)), one = _mm512_set1_epi8(1);
  __m512i sum[kCount][2], row[kCount], column[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) sum[r][0] = sum[r][1] = row[r] = _mm512_setzero_si512();
  for (int64_t p = 0; p < tile.k; p += 4, b += kQuadRow) {
    const __m512i left = _mm512_loadu_si512(b), right = _mm512_loadu_si512(b + kQuadRow / 2);
    if constexpr (kShiftsA) {
      column[0] = _mm512_dpbusd_epi32(column[0], sign, left);
      column[1] = _mm512_dpbusd_epi32(column[1], sign, right);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) {
      int quad;
      __builtin_memcpy(&quad, a + r * tile.a_stride + p, sizeof(quad));
      __m512i elements = _mm512_set1_epi32(quad);
      if constexpr (kShiftsA) elements = _mm512_xor_si512(elements, sign);
      sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], elements, left);
      sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], elements, right);
      if constexpr (kShiftsB) row[r] = _mm512_dpbusd_epi32(row[r], elements, one);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kCount; ++r) {
    // (a + 128) (b - 128) + 128 (a + 128) - 128 b, where both are shifted.
    const __m512i more = _mm512_slli_epi32(row[r], 7);
    for (int v = 0; v < 2; ++v) {
      __m512i x = sum[r][v];
      if constexpr (kShiftsB) x = _mm512_add_epi32(x, more);
      if constexpr (kShiftsA) x = _mm512_sub_epi32(x, column[v]);
      _mm512_store_si512(product + r * kCols + v * kCols / 2, x);
    }
  }
}

template <Signs signs, int kCount>
void vnni_run_rows(const GemmTile& tile) {
  alignas(64) int32_t product[kCount * kCols];
  vnni_multiply<signs, kCount>(tile, product);
  if constexpr (signs == Signs::su) {
    // The panel's columns are those of b - 128: the shift of A by 128 adds 128 * 128 a row of k.
    for (int32_t& x : product)
      x = static_cast<int32_t>(static_cast<uint32_t>(x) -
                               static_cast<uint32_t>(tile.k) * uint32_t{128 * 128});
  }
  finish_int8(tile, product, kCols);
}

template <Signs signs, int... kIndex>
constexpr std::array<void (*)(const GemmTile&), sizeof...(kIndex)> make_table(
    std::integer_sequence<int, kIndex...>) {
  return {vnni_run_rows<signs, kIndex + 1>...};
}

template <Signs signs>
void vnni_run(const GemmTile& tile) {
  static constexpr auto kTable = make_table<signs>(std::make_integer_sequence<int, kRows>());
  kTable[static_cast<size_t>(tile.rows - 1)](tile);
}

void pack_shifted(void* panel_v, const void* b, DType dtype, int64_t k_stride, int64_t n_stride,
                  int64_t k, int n) {
  pack<4>(panel_v, b, dtype, k_stride, n_stride, k, n);
  auto* panel = static_cast<uint8_t*>(panel_v);
  for (int64_t i = 0; i < (k + 3) / 4 * kQuadRow; ++i) panel[i] ^= 0x80;
}

template <Signs signs>
GemmKernel vnni(const char* name, DType lhs, DType rhs) {
  return {.name = name,
          .operand = lhs,
          .rhs = rhs,
          .rows = kRows,
          .cols = kCols,
          .k_multiple = 4,
          .row_multiple = 1,
          .begin = [] {},
          .end = [] {},
          .run = vnni_run<signs>,
          .finish = finish_int8,
          .round_a = narrow_int8,
          .pack_b = rhs == DType::u8 ? pack_shifted : pack<4>};
}

}  // namespace

std::optional<GemmKernel> gemm_int8_amx(DType lhs, DType rhs) {
  if (!has_amx() || !__builtin_cpu_supports("amx-int8")) return std::nullopt;
  switch (signs_of(lhs, rhs)) {
    case Signs::uu: return amx<Signs::uu>("u8 u8 amx 32x32", lhs, rhs);
    case Signs::us: return amx<Signs::us>("u8 i8 amx 32x32", lhs, rhs);
    case Signs::su: return amx<Signs::su>("i8 u8 amx 32x32", lhs, rhs);
    case Signs::ss: break;
  }
  return amx<Signs::ss>("i8 i8 amx 32x32", lhs, rhs);
}

std::optional<GemmKernel> gemm_int8_vnni(DType lhs, DType rhs) {
  if (!__builtin_cpu_supports("avx512vnni")) return std::nullopt;
  switch (signs_of(lhs, rhs)) {
    case Signs::uu: return vnni<Signs::uu>("u8 u8 avx512_vnni 8x32", lhs, rhs);
    case Signs::us: return vnni<Signs::us>("u8 i8 avx512_vnni 8x32", lhs, rhs);
    case Signs::su: return vnni<Signs::su>("i8 u8 avx512_vnni 8x32", lhs, rhs);
    case Signs::ss: break;
  }
  return vnni<Signs::ss>("i8 i8 avx512_vnni 8x32", lhs, rhs);
}

}  // namespace onrush::cpu
