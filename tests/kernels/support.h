// What the kernel tests share: running for every instruction set, awkward values, error in ULP.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "hwy/targets.h"

namespace onrush::cpu {

// Calls f() with the kernels of each instruction set that this machine has.
template <class F>
void for_each_target(F f) {
  for (int64_t target : {int64_t{HWY_AVX3}, int64_t{HWY_AVX2}, int64_t{HWY_SCALAR}}) {
    hwy::SetSupportedTargetsForTest(0);
    if (target != HWY_SCALAR && (hwy::SupportedTargets() & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    f();
  }
  hwy::SetSupportedTargetsForTest(0);
}

template <class T>
constexpr Compute kComputeOf = std::is_same_v<T, float>     ? Compute::f32
                               : std::is_same_v<T, double>  ? Compute::f64
                               : std::is_same_v<T, int32_t> ? Compute::i32
                               : std::is_same_v<T, int64_t> ? Compute::i64
                                                            : Compute::u64;

// Calls f.operator()<T>() for every compute type.
template <class F>
void for_each_type(F f) {
  f.template operator()<float>();
  f.template operator()<double>();
  f.template operator()<int32_t>();
  f.template operator()<int64_t>();
  f.template operator()<uint64_t>();
}

template <class T>
std::vector<T> awkward_values() {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_integral_v<T>) {
    std::vector<T> values = {0,
                             1,
                             2,
                             3,
                             5,
                             7,
                             8,
                             15,
                             31,
                             32,
                             33,
                             63,
                             64,
                             65,
                             100,
                             127,
                             128,
                             255,
                             256,
                             1000,
                             65535,
                             65536,
                             Limits::max(),
                             Limits::max() - 1,
                             Limits::max() / 2,
                             Limits::min(),
                             Limits::min() + 1};
    for (int i = 0; i < 8; ++i)
      values.push_back(static_cast<T>(0) - values[static_cast<size_t>(i)]);
    return values;
  } else {
    std::vector<T> values;
    for (double x :
         {0.0,    0.25,   0.5,      0.9277, 0.95,        1.0,        1.25,      1.5,          2.0,
          2.5,    3.0,    3.5,      4.0,    7.0,         10.0,       16.5,      50.0,         88.5,
          88.8,   89.2,   89.5,     100.0,  103.5,       104.5,      1e-3,      1e-8,         1e-20,
          1e-30,  1e4,    123456.0, 1e6,    8388607.5,   8388609.0,  1e10,      2147483648.0, 1e15,
          9.3e18, 1.9e19, 1e20,     1e30,   0.785398163, 1.57079633, 3.14159265}) {
      values.push_back(static_cast<T>(x));
      values.push_back(static_cast<T>(-x));
    }
    for (T x :
         {Limits::infinity(), Limits::max(), Limits::min(), Limits::min() / 2, Limits::denorm_min(),
          Limits::denorm_min() * 5, 1 - Limits::epsilon() / 2, 1 + Limits::epsilon()}) {
      values.push_back(x);
      values.push_back(-x);
    }
    values.push_back(Limits::quiet_NaN());
    return values;
  }
}

// Any bit pattern, and numbers of common size.
template <class T>
std::vector<T> random_values(size_t count, uint64_t seed = 1) {
  std::mt19937_64 generator(seed);
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) {
    using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    const auto bits = static_cast<Bits>(generator());
    if (i % 2 == 0) values[i] = std::bit_cast<T>(bits);
    else if (std::is_integral_v<T>)
      values[i] = static_cast<T>(bits % 200) - static_cast<T>(std::is_signed_v<T> ? 100 : 0);
    else values[i] = static_cast<T>(std::uniform_real_distribution<>(-12, 12)(generator));
  }
  return values;
}

// Uniform in [-1, 1].
inline std::vector<float> random_floats(size_t count, uint64_t seed = 1) {
  std::mt19937_64 generator(seed);
  std::uniform_real_distribution<float> distribution(-1, 1);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(generator);
  return values;
}

// Bits of equal values are equal but for NaN, all of which are one.
template <class T>
bool identical(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a || b != b) return a != a && b != b;
    return a == b && std::signbit(a) == std::signbit(b);
  } else {
    return a == b;
  }
}

// |value - exact| in units of the last place of an f32 of exact's size. 0 for two NaNs and for two
// infinities; infinite if only one is.
inline double ulp_error(float value, double exact) {
  const auto rounded = static_cast<float>(exact);
  if (std::isnan(value) || std::isnan(exact))
    return std::isnan(value) == std::isnan(exact) ? 0 : INFINITY;
  if (value == rounded) return 0;
  if (std::isinf(value)) {  // overflowed: the next number after the largest one
    const double limit = std::ldexp(1.0, 128);
    if (std::isinf(exact) || std::signbit(value) != std::signbit(exact)) return INFINITY;
    return (limit - std::fabs(exact)) / std::ldexp(1.0, 104);
  }
  if (std::isinf(exact)) return INFINITY;
  int exponent;
  std::frexp(exact, &exponent);
  return std::fabs(value - exact) / std::ldexp(1.0, std::max(exponent, -125) - 24);
}

}  // namespace onrush::cpu
