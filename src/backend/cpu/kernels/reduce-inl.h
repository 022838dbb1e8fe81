// Folding an array to one value by vectors.
#if defined(ONRUSH_REDUCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_REDUCE_INL_H_
#undef ONRUSH_REDUCE_INL_H_
#else
#define ONRUSH_REDUCE_INL_H_
#endif

#include <cstddef>
#include <limits>

#include "backend/cpu/kernels/min_max-inl.h"
#include "backend/cpu/kernels/plain-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// The foldings: identity, and how to combine scalars and vectors.
struct Sum {
  template <class T>
  static constexpr T identity() {
    return 0;
  }
  template <class T>
  static T combine(T a, T b) {
    return wrapping_add(a, b);
  }
  template <class D, class V>
  HWY_INLINE static V combine(D, V a, V b) {
    return hn::Add(a, b);
  }
};
struct Product {
  template <class T>
  static constexpr T identity() {
    return 1;
  }
  template <class T>
  static T combine(T a, T b) {
    return wrapping_mul(a, b);
  }
  template <class D, class V>
  HWY_INLINE static V combine(D, V a, V b) {
    return hn::Mul(a, b);
  }
};
struct Max {
  template <class T>
  static constexpr T identity() {
    if constexpr (std::floating_point<T>) return -std::numeric_limits<T>::infinity();
    return std::numeric_limits<T>::lowest();
  }
  template <class T>
  static T combine(T a, T b) {
    return propagating_max(a, b);
  }
  template <class D, class V>
  HWY_INLINE static V combine(D, V a, V b) {
    return nan_or_max(a, b);
  }
};
struct Min {
  template <class T>
  static constexpr T identity() {
    if constexpr (std::floating_point<T>) return std::numeric_limits<T>::infinity();
    return std::numeric_limits<T>::max();
  }
  template <class T>
  static T combine(T a, T b) {
    return propagating_min(a, b);
  }
  template <class D, class V>
  HWY_INLINE static V combine(D, V a, V b) {
    return nan_or_min(a, b);
  }
};

// Halves the vector until one lane is left.
template <class Fold, class D, class T = hn::TFromD<D>>
HWY_INLINE T fold_lanes(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    return hn::GetLane(v);
  } else {
    HWY_ALIGN T lanes[hn::MaxLanes(D())];
    hn::Store(v, d, lanes);
    for (size_t half = hn::Lanes(d) / 2; half > 0; half /= 2)
      for (size_t i = 0; i < half; ++i) lanes[i] = Fold::combine(lanes[i], lanes[i + half]);
    return lanes[0];
  }
}

// Four vectors of partial results, combined as a tree.
template <class Fold, class T>
T fold(const T* x, size_t n) {
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  const auto identity = hn::Set(d, Fold::template identity<T>());
  auto a = identity, b = identity, c = identity, e = identity;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a = Fold::combine(d, a, hn::LoadU(d, x + i));
    b = Fold::combine(d, b, hn::LoadU(d, x + i + lanes));
    c = Fold::combine(d, c, hn::LoadU(d, x + i + 2 * lanes));
    e = Fold::combine(d, e, hn::LoadU(d, x + i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a = Fold::combine(d, a, hn::LoadU(d, x + i));
  if (i < n) {
    const auto rest = hn::FirstN(d, n - i);
    b = Fold::combine(d, b, hn::IfThenElse(rest, hn::MaskedLoad(rest, d, x + i), identity));
  }
  return fold_lanes<Fold>(d, Fold::combine(d, Fold::combine(d, a, b), Fold::combine(d, c, e)));
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
