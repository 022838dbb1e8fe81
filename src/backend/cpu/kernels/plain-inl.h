// Elementwise loops over scalar functions, which the compiler vectorises for each instruction set,
// and the integer arithmetic they share.
#if defined(ONRUSH_PLAIN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_PLAIN_INL_H_
#undef ONRUSH_PLAIN_INL_H_
#else
#define ONRUSH_PLAIN_INL_H_
#endif

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// out[i] = f(a[i]). The arrays are the same or apart: no iteration depends on another.
template <class From, class To, auto f>
void map_plain(void* out, const void* a, size_t n) {
  auto* to = static_cast<To*>(out);
  auto* from = static_cast<const From*>(a);
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i) to[i] = f(from[i]);
}

// Arithmetic modulo 2^bits; signed overflow is undefined in C++, so it goes unsigned.
template <class T>
T wrapping_add(T a, T b) {
  if constexpr (std::floating_point<T>) return a + b;
  else return static_cast<T>(std::make_unsigned_t<T>(a) + std::make_unsigned_t<T>(b));
}
template <class T>
T wrapping_sub(T a, T b) {
  if constexpr (std::floating_point<T>) return a - b;
  else return static_cast<T>(std::make_unsigned_t<T>(a) - std::make_unsigned_t<T>(b));
}
template <class T>
T wrapping_mul(T a, T b) {
  if constexpr (std::floating_point<T>) return a * b;
  else return static_cast<T>(std::make_unsigned_t<T>(a) * std::make_unsigned_t<T>(b));
}

// NaN if either is NaN.
template <class T>
T propagating_min(T a, T b) {
  return a != a || a < b ? a : b;
}
template <class T>
T propagating_max(T a, T b) {
  return a != a || a > b ? a : b;
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
