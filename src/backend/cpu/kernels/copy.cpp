#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/copy.cpp"
#include "hwy/foreach_target.h"
//
#include <cstring>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/memory.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The last `n` bytes of a row, fewer than a vector; and zeros up to `padded`.
HWY_INLINE void copy_rest(uint8_t* out, const uint8_t* from, size_t n, size_t padded) {
#if HWY_TARGET <= HWY_AVX3
  const hn::ScalableTag<uint8_t> d;
  const auto rest = hn::MaskedLoad(hn::FirstN(d, n), d, from);
  hn::BlendedStore(rest, hn::FirstN(d, padded), d, out);
#else
  std::memcpy(out, from, n);
  std::memset(out + n, 0, padded - n);
#endif
}

// Whole vectors: a cache line that is written at once need not be read first.
void copy(char* out, int64_t out_stride, const char* from, int64_t from_stride, int64_t rows,
          size_t row_bytes) {
  const hn::ScalableTag<uint8_t> d;
  const size_t lanes = hn::Lanes(d);
  const auto* source = reinterpret_cast<const uint8_t*>(from);
  auto* target = reinterpret_cast<uint8_t*>(out);
  for (int64_t r = 0; r < rows; ++r, source += from_stride, target += out_stride) {
    size_t i = 0;
    for (; i + lanes <= row_bytes; i += lanes) hn::StoreU(hn::LoadU(d, source + i), d, target + i);
    if (i < row_bytes) copy_rest(target + i, source + i, row_bytes - i, row_bytes - i);
  }
}

void pad(char* out, int64_t out_stride, const char* from, int64_t from_stride, int64_t rows,
         size_t row_bytes) {
  const hn::ScalableTag<uint8_t> d;
  const size_t lanes = hn::Lanes(d), end = static_cast<size_t>(out_stride);
  const auto* source = reinterpret_cast<const uint8_t*>(from);
  auto* target = reinterpret_cast<uint8_t*>(out);
  for (int64_t r = 0; r < rows; ++r, source += from_stride, target += out_stride) {
    size_t i = 0;
    for (; i + lanes <= row_bytes; i += lanes) hn::StoreU(hn::LoadU(d, source + i), d, target + i);
    for (; i < end; i += lanes)
      copy_rest(target + i, source + i, i < row_bytes ? row_bytes - i : 0,
                end - i < lanes ? end - i : lanes);
  }
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(copy);
HWY_EXPORT(pad);
void copy_rows(void* out, int64_t out_stride, const void* from, int64_t from_stride, int64_t rows,
               size_t row_bytes) {
  const auto dense = static_cast<int64_t>(row_bytes);
  if (out_stride == dense && from_stride == dense) {
    std::memcpy(out, from, row_bytes * static_cast<size_t>(rows));
    return;
  }
  HWY_DYNAMIC_DISPATCH(copy)
  (static_cast<char*>(out), out_stride, static_cast<const char*>(from), from_stride, rows,
   row_bytes);
}
void pad_rows(void* out, int64_t out_stride, const void* from, int64_t from_stride, int64_t rows,
              size_t row_bytes) {
  HWY_DYNAMIC_DISPATCH(pad)
  (static_cast<char*>(out), out_stride, static_cast<const char*>(from), from_stride, rows,
   row_bytes);
}
}  // namespace onrush::cpu
#endif
