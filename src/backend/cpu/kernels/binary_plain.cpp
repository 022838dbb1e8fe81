#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/binary_plain.cpp"
#include "hwy/foreach_target.h"
//
#include <cmath>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/look_up.h"
#include "backend/cpu/kernels/plain-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <class T>
inline constexpr T kAllOnes = static_cast<T>(-1);

// In f64, which divides vectors and holds every i32.
inline int32_t divide(int32_t a, int32_t b) {
  const int32_t dividend = b == -1 ? 0 : a;
  const auto quotient = static_cast<int32_t>(double(dividend) / double(b == 0 ? 1 : b));
  return b == 0 ? 0 : b == -1 ? wrapping_sub(0, a) : quotient;
}
template <std::integral T>
T divide(T a, T b) {
  if (b == 0) return 0;
  return std::is_signed_v<T> && b == kAllOnes<T> ? wrapping_sub(T{0}, a) : a / b;
}

template <std::integral T>
T remainder(T a, T b) {
  return b == 0 ? T{0} : wrapping_sub(a, wrapping_mul(divide(a, b), b));
}
template <std::floating_point T>
T remainder(T a, T b) {
  return std::fmod(a, b);
}

template <std::integral T>
T modulo(T a, T b) {
  const T r = remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? wrapping_add(r, b) : r;
}
template <std::floating_point T>
T modulo(T a, T b) {
  const T r = std::fmod(a, b);
  if (r == 0) return std::copysign(r, b);
  return (r < 0) != (b < 0) ? r + b : r;
}

template <std::integral T>
T power(T base, T exponent) {
  if (std::is_signed_v<T> && exponent < 0) {
    if (base == 1) return 1;
    return base == kAllOnes<T> ? (exponent & 1 ? base : T{1}) : T{0};
  }
  T result = 1;
  for (auto e = static_cast<uint64_t>(exponent); e; e >>= 1, base = wrapping_mul(base, base))
    if (e & 1) result = wrapping_mul(result, base);
  return result;
}
template <std::floating_point T>
T power(T base, T exponent) {
  return std::pow(base, exponent);
}

template <class T>
T shifted_left(T a, T count) {
  using U = std::make_unsigned_t<T>;
  constexpr U kBits = 8 * sizeof(T);
  const U shift = static_cast<U>(count);
  return shift < kBits ? static_cast<T>(U(a) << (shift & (kBits - 1))) : T{0};
}
template <class T>
T shifted_right(T a, T count) {
  using U = std::make_unsigned_t<T>;
  constexpr U kBits = 8 * sizeof(T);
  const U shift = static_cast<U>(count);
  if (std::is_signed_v<T>) return a >> (shift < kBits ? shift : kBits - 1);
  return shift < kBits ? a >> (shift & (kBits - 1)) : T{0};
}

template <class T, class To, Splat splat, auto f>
void zip(void* out_v, const void* a_v, const void* b_v, size_t n) {
  auto* out = static_cast<To*>(out_v);
  auto* a = static_cast<const T*>(a_v);
  auto* b = static_cast<const T*>(b_v);
  const T first_a = splat == Splat::a ? *a : T{}, first_b = splat == Splat::b ? *b : T{};
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i)
    out[i] = f(splat == Splat::a ? first_a : a[i], splat == Splat::b ? first_b : b[i]);
}

template <class T, Splat s>
BinaryKernel arithmetic(Op op) {
  switch (op) {
    case Op::add: return zip<T, T, s, [](T a, T b) { return wrapping_add(a, b); }>;
    case Op::sub: return zip<T, T, s, [](T a, T b) { return wrapping_sub(a, b); }>;
    case Op::mul: return zip<T, T, s, [](T a, T b) { return wrapping_mul(a, b); }>;
    case Op::min: return zip<T, T, s, [](T a, T b) { return propagating_min(a, b); }>;
    case Op::max: return zip<T, T, s, [](T a, T b) { return propagating_max(a, b); }>;
    case Op::equal: return zip<T, int32_t, s, [](T a, T b) { return int32_t{a == b}; }>;
    case Op::less: return zip<T, int32_t, s, [](T a, T b) { return int32_t{a < b}; }>;
    case Op::less_equal: return zip<T, int32_t, s, [](T a, T b) { return int32_t{a <= b}; }>;
    case Op::div:
      if constexpr (std::integral<T>) return zip<T, T, s, [](T a, T b) { return divide(a, b); }>;
      else return zip<T, T, s, [](T a, T b) { return a / b; }>;
    default: return nullptr;
  }
}

template <class T, Splat s>
BinaryKernel remainder_or_power(Op op) {
  switch (op) {
    case Op::rem: return zip<T, T, s, [](T a, T b) { return remainder(a, b); }>;
    case Op::mod: return zip<T, T, s, [](T a, T b) { return modulo(a, b); }>;
    case Op::pow: return zip<T, T, s, [](T a, T b) { return power(a, b); }>;
    default: return nullptr;
  }
}

template <std::integral T, Splat s>
BinaryKernel bitwise(Op op) {
  switch (op) {
    case Op::bit_and: return zip<T, T, s, [](T a, T b) { return a & b; }>;
    case Op::bit_or: return zip<T, T, s, [](T a, T b) { return a | b; }>;
    case Op::bit_xor: return zip<T, T, s, [](T a, T b) { return a ^ b; }>;
    case Op::shift_left: return zip<T, T, s, [](T a, T b) { return shifted_left(a, b); }>;
    case Op::shift_right: return zip<T, T, s, [](T a, T b) { return shifted_right(a, b); }>;
    default: return nullptr;
  }
}

template <std::integral T, Splat s>
BinaryKernel integer(Op op) {
  if (BinaryKernel kernel = arithmetic<T, s>(op)) return kernel;
  if (BinaryKernel kernel = remainder_or_power<T, s>(op)) return kernel;
  return bitwise<T, s>(op);
}

template <Splat s>
BinaryKernel of_type(Op op, Compute type) {
  switch (type) {
    case Compute::f32: return remainder_or_power<float, s>(op);
    case Compute::f64:
      if (BinaryKernel kernel = arithmetic<double, s>(op)) return kernel;
      return remainder_or_power<double, s>(op);
    case Compute::i32: return integer<int32_t, s>(op);
    case Compute::i64: return integer<int64_t, s>(op);
    case Compute::u64: return integer<uint64_t, s>(op);
  }
  return nullptr;
}

BinaryKernel binary_plain(Op op, Compute type, Splat splat) {
  switch (splat) {
    case Splat::none: return of_type<Splat::none>(op, type);
    case Splat::a: return of_type<Splat::a>(op, type);
    case Splat::b: return of_type<Splat::b>(op, type);
  }
  return nullptr;
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(binary_plain);

BinaryKernel plain_binary(Op op, Compute type, Splat splat) {
  return HWY_DYNAMIC_DISPATCH(binary_plain)(op, type, splat);
}

BinaryKernel binary_kernel(Op op, Compute type, Splat splat) {
  if (type == Compute::f32)
    if (BinaryKernel kernel = vector_binary_f32(op, splat)) return kernel;
  return plain_binary(op, type, splat);
}

}  // namespace onrush::cpu
#endif
