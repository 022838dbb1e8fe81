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
    if (i < row_bytes) std::memcpy(target + i, source + i, row_bytes - i);
  }
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(copy);
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
}  // namespace onrush::cpu
#endif
