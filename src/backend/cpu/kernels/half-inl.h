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
#include <cstring>

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

// Vectors of f32 that are bf16 in memory; `n`: the first so many elements, the others are 0.
using FloatOfBf16 = hn::ScalableTag<float>;
inline constexpr hn::Rebind<uint16_t, FloatOfBf16> bf16_tag;
inline constexpr hn::RebindToUnsigned<FloatOfBf16> wide_bf16_tag;
inline constexpr size_t kMostBf16 = HWY_MAX(size_t{16}, hn::MaxLanes(FloatOfBf16()));

HWY_INLINE hn::Vec<FloatOfBf16> load_bf16(const uint16_t* at) {
  const auto wide = hn::PromoteTo(wide_bf16_tag, hn::LoadU(bf16_tag, at));
  return hn::BitCast(FloatOfBf16(), hn::ShiftLeft<16>(wide));
}
HWY_INLINE hn::Vec<FloatOfBf16> load_bf16(const uint16_t* at, size_t n) {
#if HWY_TARGET <= HWY_AVX3
  const auto bits = hn::MaskedLoad(hn::FirstN(bf16_tag, n), bf16_tag, at);
  return hn::BitCast(FloatOfBf16(), hn::ShiftLeft<16>(hn::PromoteTo(wide_bf16_tag, bits)));
#else
  HWY_ALIGN uint16_t elements[kMostBf16] = {};
  std::memcpy(elements, at, n * sizeof(uint16_t));
  return load_bf16(elements);
#endif
}
HWY_INLINE void store_bf16(hn::Vec<FloatOfBf16> v, uint16_t* at) {
  const auto x = hn::BitCast(wide_bf16_tag, v);
  const auto odd = hn::And(hn::ShiftRight<16>(x), hn::Set(wide_bf16_tag, 1u));
  const auto rounded = hn::Add(x, hn::Add(odd, hn::Set(wide_bf16_tag, 0x7fffu)));
  const auto quiet = hn::Or(x, hn::Set(wide_bf16_tag, 0x400000u));
  const auto is_nan = hn::RebindMask(wide_bf16_tag, hn::IsNaN(v));
  const auto upper = hn::ShiftRight<16>(hn::IfThenElse(is_nan, quiet, rounded));
  hn::StoreU(hn::TruncateTo(bf16_tag, upper), bf16_tag, at);
}
HWY_INLINE void store_bf16(hn::Vec<FloatOfBf16> v, uint16_t* at, size_t n) {
  HWY_ALIGN uint16_t elements[kMostBf16];
  store_bf16(v, elements);
  std::memcpy(at, elements, n * sizeof(uint16_t));
}

inline void bf16_run_to_f32(float* out, const uint16_t* a, size_t n) {
  const size_t lanes = hn::Lanes(FloatOfBf16());
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load_bf16(a + i), FloatOfBf16(), out + i);
  for (; i < n; ++i) out[i] = from_bf16(a[i]);
}
inline void f32_run_to_bf16(uint16_t* out, const float* a, size_t n) {
  const size_t lanes = hn::Lanes(FloatOfBf16());
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) store_bf16(hn::LoadU(FloatOfBf16(), a + i), out + i);
  for (; i < n; ++i) out[i] = to_bf16(a[i]);
}

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
