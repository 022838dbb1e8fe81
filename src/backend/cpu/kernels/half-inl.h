// Runs of f32 to and from f16 and bf16.
#if defined(ONRUSH_HALF_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_HALF_INL_H_
#undef ONRUSH_HALF_INL_H_
#else
#define ONRUSH_HALF_INL_H_
#endif

#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/numeric.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// As onrush::f32_to_bf16, without branches.
inline uint16_t to_bf16(float value) {
  const auto x = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (x + 0x7fff + (x >> 16 & 1)) >> 16, quiet = x >> 16 | 0x40;
  return static_cast<uint16_t>((x & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
}
inline float from_bf16(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

#if HWY_TARGET == HWY_SCALAR
inline void f16_run_to_f32(float* out, const uint16_t* a, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = f16_to_f32(a[i]);
}
inline void f32_run_to_f16(uint16_t* out, const float* a, size_t n) {
  for (size_t i = 0; i < n; ++i) out[i] = f32_to_f16(a[i]);
}
#else
inline void f16_run_to_f32(float* out, const uint16_t* a, size_t n) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  auto* from = reinterpret_cast<const hwy::float16_t*>(a);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(half, from + i)), d, out + i);
  for (; i < n; ++i) out[i] = f16_to_f32(a[i]);
}
inline void f32_run_to_f16(uint16_t* out, const float* a, size_t n) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> half;
  auto* to = reinterpret_cast<hwy::float16_t*>(out);
  size_t i = 0;
  for (; i + hn::Lanes(d) <= n; i += hn::Lanes(d))
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, a + i)), half, to + i);
  for (; i < n; ++i) out[i] = f32_to_f16(a[i]);
}
#endif

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
