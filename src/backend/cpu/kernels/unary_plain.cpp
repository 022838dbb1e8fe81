#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/unary_plain.cpp"
#include "hwy/foreach_target.h"
//
#include <cmath>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/look_up.h"
#include "backend/cpu/kernels/plain-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <std::floating_point T>
T sign_of(T x) {
  return x != x ? x : static_cast<T>((x > 0) - (x < 0));
}
template <std::integral T>
T sign_of(T x) {
  return static_cast<T>((x > 0) - (x < 0));
}

template <std::integral T>
T magnitude_of(T x) {
  return x > 0 ? x : wrapping_sub(T{0}, x);
}

// Through e^-|x|, which cannot overflow.
template <class T>
T sigmoid_of(T x) {
  const T e = std::exp(-std::fabs(x));
  return (x < 0 ? e : T{1}) / (1 + e);
}

template <std::floating_point T>
UnaryKernel simple_float(Op op) {
  switch (op) {
    case Op::neg: return map_plain<T, T, [](T x) { return -x; }>;
    case Op::abs: return map_plain<T, T, [](T x) { return std::fabs(x); }>;
    case Op::sign: return map_plain<T, T, [](T x) { return sign_of(x); }>;
    case Op::ceil: return map_plain<T, T, [](T x) { return std::ceil(x); }>;
    case Op::floor: return map_plain<T, T, [](T x) { return std::floor(x); }>;
    case Op::round: return map_plain<T, T, [](T x) { return std::nearbyint(x); }>;
    case Op::trunc: return map_plain<T, T, [](T x) { return std::trunc(x); }>;
    case Op::sqrt: return map_plain<T, T, [](T x) { return std::sqrt(x); }>;
    case Op::is_nan: return map_plain<T, int32_t, [](T x) { return int32_t{x != x}; }>;
    default: return nullptr;
  }
}

template <std::integral T>
UnaryKernel integer(Op op) {
  switch (op) {
    case Op::neg: return map_plain<T, T, [](T x) { return wrapping_sub(T{0}, x); }>;
    case Op::abs: return map_plain<T, T, [](T x) { return magnitude_of(x); }>;
    case Op::sign: return map_plain<T, T, [](T x) { return sign_of(x); }>;
    case Op::ceil:
    case Op::floor:
    case Op::round:
    case Op::trunc: return map_plain<T, T, [](T x) { return x; }>;
    case Op::bit_not: return map_plain<T, T, [](T x) { return static_cast<T>(~x); }>;
    case Op::is_nan: return map_plain<T, int32_t, [](T) { return int32_t{0}; }>;
    default: return nullptr;
  }
}

UnaryKernel simple_plain(Op op, Compute type) {
  switch (type) {
    case Compute::f32: return simple_float<float>(op);
    case Compute::f64: return simple_float<double>(op);
    case Compute::i32: return integer<int32_t>(op);
    case Compute::i64: return integer<int64_t>(op);
    case Compute::u64: return integer<uint64_t>(op);
  }
  return nullptr;
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(simple_plain);
namespace {

// The C library's functions, the same for every instruction set.
template <class T>
UnaryKernel library(Op op) {
  using HWY_NAMESPACE::map_plain;
  switch (op) {
    case Op::exp: return map_plain<T, T, [](T x) { return std::exp(x); }>;
    case Op::expm1: return map_plain<T, T, [](T x) { return std::expm1(x); }>;
    case Op::log: return map_plain<T, T, [](T x) { return std::log(x); }>;
    case Op::log1p: return map_plain<T, T, [](T x) { return std::log1p(x); }>;
    case Op::sin: return map_plain<T, T, [](T x) { return std::sin(x); }>;
    case Op::cos: return map_plain<T, T, [](T x) { return std::cos(x); }>;
    case Op::tan: return map_plain<T, T, [](T x) { return std::tan(x); }>;
    case Op::asin: return map_plain<T, T, [](T x) { return std::asin(x); }>;
    case Op::acos: return map_plain<T, T, [](T x) { return std::acos(x); }>;
    case Op::atan: return map_plain<T, T, [](T x) { return std::atan(x); }>;
    case Op::sinh: return map_plain<T, T, [](T x) { return std::sinh(x); }>;
    case Op::cosh: return map_plain<T, T, [](T x) { return std::cosh(x); }>;
    case Op::tanh: return map_plain<T, T, [](T x) { return std::tanh(x); }>;
    case Op::asinh: return map_plain<T, T, [](T x) { return std::asinh(x); }>;
    case Op::acosh: return map_plain<T, T, [](T x) { return std::acosh(x); }>;
    case Op::atanh: return map_plain<T, T, [](T x) { return std::atanh(x); }>;
    case Op::erf: return map_plain<T, T, [](T x) { return std::erf(x); }>;
    case Op::sigmoid: return map_plain<T, T, [](T x) { return HWY_NAMESPACE::sigmoid_of(x); }>;
    default: return nullptr;
  }
}

}  // namespace

UnaryKernel plain_unary(Op op, Compute type) {
  if (UnaryKernel kernel = HWY_DYNAMIC_DISPATCH(simple_plain)(op, type)) return kernel;
  if (type == Compute::f32) return library<float>(op);
  return type == Compute::f64 ? library<double>(op) : nullptr;
}

UnaryKernel unary_kernel(Op op, Compute type) {
  if (type == Compute::f32)
    if (UnaryKernel kernel = vector_unary_f32(op)) return kernel;
  return plain_unary(op, type);
}

}  // namespace onrush::cpu
#endif
