// Vectors of f32 that are f32, bf16 or 8-bit integers in memory.
#if defined(ONRUSH_ACCESS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_ACCESS_INL_H_
#undef ONRUSH_ACCESS_INL_H_
#else
#define ONRUSH_ACCESS_INL_H_
#endif

#include <cstring>

#include "backend/cpu/kernels/half-inl.h"
#include "backend/cpu/kernels/math_f32-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <class Byte>
HWY_INLINE VF load_bytes(const Byte* at) {
  const hn::Rebind<Byte, F32> tag;
  return hn::ConvertTo(f32_tag, hn::PromoteTo(i32_tag, hn::LoadU(tag, at)));
}
template <class Byte>
HWY_INLINE VF load_bytes(const Byte* at, size_t n) {
  HWY_ALIGN Byte bytes[hn::MaxLanes(F32()) + 16] = {};
  std::memcpy(bytes, at, n);
  return load_bytes(bytes);
}
// Of whole numbers in range.
template <class Byte>
HWY_INLINE void store_bytes(VF v, Byte* at) {
  const hn::Rebind<Byte, F32> tag;
  hn::StoreU(hn::DemoteTo(tag, hn::ConvertTo(i32_tag, v)), tag, at);
}
template <class Byte>
HWY_INLINE void store_bytes(VF v, Byte* at, size_t n) {
  HWY_ALIGN Byte bytes[hn::MaxLanes(F32()) + 16];
  store_bytes(v, bytes);
  std::memcpy(at, bytes, n);
}

// Whole vectors, and the first elements of one. bf16 is uint16_t.
struct WholeVector {
  HWY_INLINE VF load(const uint8_t* at) const { return load_bytes(at); }
  HWY_INLINE VF load(const int8_t* at) const { return load_bytes(at); }
  HWY_INLINE void store(VF v, uint8_t* at) const { store_bytes(v, at); }
  HWY_INLINE void store(VF v, int8_t* at) const { store_bytes(v, at); }
  HWY_INLINE VF load(const float* at) const { return hn::LoadU(f32_tag, at); }
  HWY_INLINE VF load(const uint16_t* at) const { return load_bf16(at); }
  HWY_INLINE void store(VF v, float* at) const { hn::StoreU(v, f32_tag, at); }
  HWY_INLINE void store(VF v, uint16_t* at) const { store_bf16(v, at); }
};
struct PartOfVector {
  explicit PartOfVector(int64_t count)
      : n(static_cast<size_t>(count)), mask(hn::FirstN(f32_tag, n)) {}
  HWY_INLINE VF load(const float* at) const {
    // The scalar target's masked load reads in any case.
    if (HWY_TARGET == HWY_SCALAR && n == 0) return hn::Zero(f32_tag);
    return hn::MaskedLoad(mask, f32_tag, at);
  }
  HWY_INLINE VF load(const uint16_t* at) const { return load_bf16(at, n); }
  HWY_INLINE VF load(const uint8_t* at) const { return load_bytes(at, n); }
  HWY_INLINE VF load(const int8_t* at) const { return load_bytes(at, n); }
  HWY_INLINE void store(VF v, uint8_t* at) const { store_bytes(v, at, n); }
  HWY_INLINE void store(VF v, int8_t* at) const { store_bytes(v, at, n); }
  HWY_INLINE void store(VF v, float* at) const { hn::BlendedStore(v, mask, f32_tag, at); }
  HWY_INLINE void store(VF v, uint16_t* at) const { store_bf16(v, at, n); }
  size_t n;
  MF mask;
};

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
