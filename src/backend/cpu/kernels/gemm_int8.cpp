#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/gemm_int8.cpp"
#include "hwy/foreach_target.h"
//
#include <array>
#include <utility>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/gemm_parts.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace {

constexpr int kRows = 2;
constexpr int kCols = 16;

#if HWY_TARGET == HWY_SCALAR || !HWY_ARCH_X86
template <class Lhs, class Rhs, int kCount>
HWY_INLINE void multiply(const GemmTile& tile, int32_t* product) {
  const auto* b = static_cast<const Rhs*>(tile.b);
  for (int r = 0; r < kCount; ++r) {
    const Lhs* a = static_cast<const Lhs*>(tile.a) + r * tile.a_stride;
    uint32_t sum[kCols] = {};
    for (int64_t p = 0; p < tile.k; ++p)
      for (int j = 0; j < kCols; ++j)
        sum[j] += static_cast<uint32_t>(a[p] * b[p / 4 * 4 * kCols + 4 * j + p % 4]);
    for (int j = 0; j < kCols; ++j) product[r * kCols + j] = static_cast<int32_t>(sum[j]);
  }
}
#else
// Four of k lie together: their products are added in pairs from 16 bits, which is exact whatever
// the signs are, and a lane holds the sums of two of them until the end.
template <class Lhs, class Rhs, int kCount>
HWY_INLINE void multiply(const GemmTile& tile, int32_t* product) {
  using D = hn::CappedTag<int32_t, 16>;
  using D16 = hn::RepartitionToNarrow<D>;
  constexpr D d;
  constexpr D16 d16;
  constexpr auto kLanes = int64_t(hn::MaxLanes(D()));  // of i32: the halves of as many / 2 columns
  constexpr int kVectors = int(2 * kCols / kLanes);
  const auto* b = static_cast<const Rhs*>(tile.b);
  const auto* a = static_cast<const Lhs*>(tile.a);
  hn::Vec<D> sum[kCount][kVectors], unused = hn::Zero(d);
#pragma GCC unroll 8
  for (auto& row : sum)
#pragma GCC unroll 8
    for (auto& v : row) v = hn::Zero(d);
  for (int64_t p = 0; p < tile.k; p += 4, b += 4 * kCols) {
    hn::Vec<D16> quad[kCount];
#pragma GCC unroll 8
    for (int r = 0; r < kCount; ++r) {
      const Lhs* at = a + r * tile.a_stride + p;
      const hn::Repartition<int64_t, D> d64;
      const auto wide = [](Lhs x) { return static_cast<uint64_t>(static_cast<uint16_t>(x)); };
      const uint64_t bits = wide(at[0]) | wide(at[1]) << 16 | wide(at[2]) << 32 | wide(at[3]) << 48;
      quad[r] = hn::BitCast(d16, hn::Set(d64, static_cast<int64_t>(bits)));
    }
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const hn::Rebind<Rhs, D16> bytes;
      const auto column = hn::PromoteTo(d16, hn::LoadU(bytes, b + v * 2 * kLanes));
#pragma GCC unroll 8
      for (int r = 0; r < kCount; ++r)
        sum[r][v] = hn::ReorderWidenMulAccumulate(d, quad[r], column, sum[r][v], unused);
    }
  }
  for (int r = 0; r < kCount; ++r)
    for (int v = 0; v < kVectors; ++v) {
      HWY_ALIGN int32_t halves[kLanes];
      hn::Store(sum[r][v], d, halves);
      for (int64_t j = 0; j < kLanes / 2; ++j)
        product[r * kCols + v * kLanes / 2 + j] = static_cast<int32_t>(
            static_cast<uint32_t>(halves[2 * j]) + static_cast<uint32_t>(halves[2 * j + 1]));
    }
}
#endif

template <class Lhs, class Rhs>
void run(const GemmTile& tile) {
  HWY_ALIGN int32_t product[kRows * kCols + 16];
  if (tile.rows == 1) multiply<Lhs, Rhs, 1>(tile, product);
  else multiply<Lhs, Rhs, 2>(tile, product);
  finish_int8(tile, product, kCols);
}

void pack(void* panel, const void* b, DType dtype, int64_t k_stride, int64_t n_stride, int64_t k,
          int n) {
  pack_panel_int8(static_cast<uint8_t*>(panel), kCols, (k + 3) / 4 * 4, b, dtype, k_stride,
                  n_stride, k, n);
}

template <class Lhs, class Rhs>
GemmKernel kernel_of(const char* name, DType lhs, DType rhs) {
  return {.name = name,
          .operand = lhs,
          .rhs = rhs,
          .rows = kRows,
          .cols = kCols,
          .k_multiple = 4,
          .row_multiple = 1,
          .begin = [] {},
          .end = [] {},
          .run = run<Lhs, Rhs>,
          .finish = finish_int8,
          .round_a = narrow_int8,
          .pack_b = pack};
}

}  // namespace

GemmKernel kernel(DType lhs, DType rhs) {
  using enum DType;
  if (lhs == u8 && rhs == i8) return kernel_of<uint8_t, int8_t>("u8 i8 2x16", u8, i8);
  if (lhs == u8) return kernel_of<uint8_t, uint8_t>("u8 u8 2x16", u8, u8);
  if (rhs == i8) return kernel_of<int8_t, int8_t>("i8 i8 2x16", i8, i8);
  return kernel_of<int8_t, uint8_t>("i8 u8 2x16", i8, u8);
}

void narrow(void* out_v, const void* a_v, int64_t n) {
  auto* out = static_cast<uint8_t*>(out_v);
  const auto* a = static_cast<const int32_t*>(a_v);
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(a[i]);
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(kernel);
HWY_EXPORT(narrow);

GemmKernel gemm_int8_plain(DType lhs, DType rhs) { return HWY_DYNAMIC_DISPATCH(kernel)(lhs, rhs); }

GemmKernel gemm_int8(DType lhs, DType rhs) {
  if (const auto kernel = gemm_int8_amx(lhs, rhs)) return *kernel;
  if (const auto kernel = gemm_int8_vnni(lhs, rhs)) return *kernel;
  return gemm_int8_plain(lhs, rhs);
}

void narrow_int8(void* out, const void* a, int64_t n) { HWY_DYNAMIC_DISPATCH(narrow)(out, a, n); }

void finish_int8(const GemmTile& tile, const void* product, int64_t stride) {
  finish_integers({.product = static_cast<const int32_t*>(product),
                   .product_stride = stride,
                   .rows = tile.rows,
                   .columns = tile.cols,
                   .first_row = tile.first_row,
                   .stages = tile.integer_epilogue ? *tile.integer_epilogue : IntegerEpilogue(),
                   .out = tile.c,
                   .out_stride = tile.c_stride,
                   .dtype = tile.integer_epilogue ? tile.c_dtype : DType::i32});
}

}  // namespace onrush::cpu
#endif
