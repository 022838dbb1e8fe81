// Minimum, maximum and clamp of vectors with a fixed meaning for NaN.
#if defined(ONRUSH_MIN_MAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_MIN_MAX_INL_H_
#undef ONRUSH_MIN_MAX_INL_H_
#else
#define ONRUSH_MIN_MAX_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// b where either is NaN, as the instructions of x86 do (Arm's give NaN, which serves as well).
template <class V>
HWY_INLINE V min_or_second(V a, V b) {
  if constexpr (HWY_TARGET == HWY_SCALAR) return hn::IfThenElse(hn::Lt(a, b), a, b);
  return hn::Min(a, b);
}
template <class V>
HWY_INLINE V max_or_second(V a, V b) {
  if constexpr (HWY_TARGET == HWY_SCALAR) return hn::IfThenElse(hn::Gt(a, b), a, b);
  return hn::Max(a, b);
}

// NaN where either is NaN.
template <class V>
HWY_INLINE V nan_or_min(V a, V b) {
  if constexpr (hwy::IsFloat<hn::TFromV<V>>())
    return hn::IfThenElse(hn::IsNaN(a), a, min_or_second(a, b));
  else return hn::Min(a, b);
}
template <class V>
HWY_INLINE V nan_or_max(V a, V b) {
  if constexpr (hwy::IsFloat<hn::TFromV<V>>())
    return hn::IfThenElse(hn::IsNaN(a), a, max_or_second(a, b));
  else return hn::Max(a, b);
}

// min(high, max(low, x)); NaN stays NaN.
template <class V>
HWY_INLINE V clamp(V x, V low, V high) {
  return min_or_second(high, max_or_second(low, x));
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
