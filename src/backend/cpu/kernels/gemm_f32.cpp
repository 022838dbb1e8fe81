#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/gemm_f32.cpp"
#include "hwy/foreach_target.h"
//
#include <array>
#include <atomic>
#include <utility>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/finish-inl.h"
#include "backend/cpu/kernels/gemm_parts.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A register tile of kRows x (2 vectors): its accumulators, the panel's two vectors and one
// element of A fill the register file. Where C has half the columns or less, half the vectors are
// computed.
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
inline constexpr D d;
inline constexpr bool kBaseline = HWY_TARGET == HWY_SCALAR;
inline constexpr bool kAvx512 = hn::MaxLanes(D()) == 16;
inline constexpr int kVectors = kBaseline ? 8 : 2;
inline constexpr int kCols = kVectors * int(hn::MaxLanes(D()));
inline constexpr int kRows = kAvx512 ? 14 : kBaseline ? 4 : 6;

// Few rows have too few accumulators to hide the latency of multiply-add: they take kSplit rows of
// the panel at a time, each with its own accumulators.
template <int kTileRows>
inline constexpr int kSplit = kTileRows == 1   ? 4
                              : kTileRows == 2 ? 2
                                               : 1;

// Rows of A are addressed from every fourth one, with offsets of 0 to 3 strides: five address
// registers in all.
template <bool kOffsets, int kTileRows, int kUsed>
HWY_INLINE void multiply(const GemmTile& tile, V (&sum)[kTileRows][kUsed]) {
  constexpr int kGroups = (kTileRows + 3) / 4;
  constexpr int kSteps = kSplit<kTileRows>;
  const int64_t stride = tile.a_stride;
  const float* a[kGroups];
  for (int g = 0; g < kGroups; ++g) a[g] = static_cast<const float*>(tile.a) + 4 * g * stride;
  const auto* b = static_cast<const float*>(tile.b);

  V partial[kSteps][kTileRows][kUsed];
  for (auto& step : partial)
    for (auto& row : step)
      for (V& v : row) v = hn::Zero(d);

  const auto multiply_row = [&](int64_t p, int step) HWY_ATTR {
    const int64_t at = kOffsets ? tile.a_offsets[p] : p;
    V columns[kUsed];
    for (int v = 0; v < kUsed; ++v)
      columns[v] = hn::Load(d, b + p * kCols + v * int64_t(hn::Lanes(d)));
    // Keeps GCC from loading a column again for each of two or three rows.
    if constexpr (kTileRows == 2 || kTileRows == 3)
      std::atomic_signal_fence(std::memory_order_acq_rel);
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r) {
      const V element = hn::Set(d, a[r / 4][(r % 4) * stride + at]);
#pragma GCC unroll 8
      for (int v = 0; v < kUsed; ++v)
        partial[step][r][v] = hn::MulAdd(element, columns[v], partial[step][r][v]);
    }
  };
  int64_t p = 0;
  for (; p + kSteps <= tile.k; p += kSteps)
#pragma GCC unroll 4
    for (int step = 0; step < kSteps; ++step) multiply_row(p + step, step);
  for (; p < tile.k; ++p) multiply_row(p, 0);

#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kUsed; ++v) {
      sum[r][v] = partial[0][r][v];
      for (int step = 1; step < kSteps; ++step) sum[r][v] = hn::Add(sum[r][v], partial[step][r][v]);
    }
}

// The epilogue on the sums themselves. Rest: the last of the vectors may be a part of one.
template <Activation activation, bool kRest, int kTileRows, int kUsed>
HWY_INLINE void finish_sums(const GemmTile& tile, const V (&sum)[kTileRows][kUsed]) {
  constexpr auto kLanes = int64_t(hn::MaxLanes(D()));
#pragma GCC unroll 8
  for (int v = 0; v < kUsed; ++v) {
    const int64_t column = v * kLanes;
    const auto access = [&] {
      if constexpr (kRest) return PartOfVector(HWY_MAX(int64_t{0}, tile.cols - column));
      else return WholeVector();
    }();
#pragma GCC unroll 16
    for (int r = 0; r < kTileRows; ++r)
      access.store(finish_vector<activation>(sum[r][v], tile, r, column, access),
                   static_cast<float*>(tile.c) + r * tile.c_stride + column);
  }
}

template <int kTileRows, int kUsed>
HWY_INLINE void run_columns(const GemmTile& tile) {
  constexpr auto kLanes = int64_t(hn::MaxLanes(D()));
  V sum[kTileRows][kUsed];
  if (tile.a_offsets) multiply<true>(tile, sum);
  else multiply<false>(tile, sum);
  const auto finish = [&]<Activation kind>() HWY_ATTR {
    if (tile.cols == kUsed * kLanes) finish_sums<kind, false>(tile, sum);
    else finish_sums<kind, true>(tile, sum);
  };
  // Longer functions and bf16 are not worth their copies in every kernel.
  const Activation activation = tile.epilogue ? tile.epilogue->activation : Activation::none;
  const bool plain = tile.c_dtype == DType::f32;
  if (plain && activation == Activation::none)
    return finish.template operator()<Activation::none>();
  if (plain && activation == Activation::hard_swish)
    return finish.template operator()<Activation::hard_swish>();
  HWY_ALIGN float product[kTileRows * kUsed * kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kTileRows; ++r)
    for (int v = 0; v < kUsed; ++v) hn::Store(sum[r][v], d, product + (r * kUsed + v) * kLanes);
  finish_tile(tile, product, kUsed * kLanes);
}

template <int kTileRows>
void run_rows(const GemmTile& tile) {
  if (tile.cols <= kCols / 2) run_columns<kTileRows, kVectors / 2>(tile);
  else run_columns<kTileRows, kVectors>(tile);
}

using Run = void (*)(const GemmTile&);
template <int... kIndex>
constexpr std::array<Run, sizeof...(kIndex)> make_table(std::integer_sequence<int, kIndex...>) {
  return {run_rows<kIndex + 1>...};
}

void run(const GemmTile& tile) {
  static constexpr auto kTable = make_table(std::make_integer_sequence<int, kRows>());
  kTable[static_cast<size_t>(tile.rows - 1)](tile);
}

void pack(void* panel, const void* b, DType dtype, int64_t k_stride, int64_t n_stride, int64_t k,
          int n) {
  pack_panel_f32(static_cast<float*>(panel), kCols, b, dtype, k_stride, n_stride, k, n);
}

GemmKernel kernel() {
  return {.name = kAvx512     ? "f32 avx512 14x32"
                  : kBaseline ? "f32 baseline 4x8"
                              : "f32 avx2 6x16",
          .operand = DType::f32,
          .rhs = DType::f32,
          .rows = kRows,
          .cols = kCols,
          .k_multiple = 1,
          .row_multiple = 1,
          .begin = [] {},
          .end = [] {},
          .run = run,
          .finish = finish_tile,
          .round_a = nullptr,
          .pack_b = pack};
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(kernel);
GemmKernel gemm_f32() { return HWY_DYNAMIC_DISPATCH(kernel)(); }
}  // namespace onrush::cpu
#endif
