// Arithmetic on the compute types: integers wrap, NaN propagates through min and max.
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>

#include "base/check.h"
#include "ir/attributes.h"
#include "reference/element.h"

namespace onrush::reference {

// Integer arithmetic modulo 2^64; signed overflow is undefined in C++, so it goes by uint64_t.
template <class T>
T add(T a, T b) {
  if constexpr (std::floating_point<T>) return a + b;
  else return static_cast<T>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
template <class T>
T subtract(T a, T b) {
  if constexpr (std::floating_point<T>) return a - b;
  else return static_cast<T>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
template <class T>
T multiply(T a, T b) {
  if constexpr (std::floating_point<T>) return a * b;
  else return static_cast<T>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

template <class T>
bool is_nan(T x) {
  return x != x;
}

template <class T>
T minimum(T a, T b) {
  return is_nan(a) || a < b ? a : b;
}
template <class T>
T maximum(T a, T b) {
  return is_nan(a) || a > b ? a : b;
}

// Order with NaN as the largest value.
template <class T>
bool sorts_before(T a, T b) {
  return a < b || (is_nan(b) && !is_nan(a));
}

// Calls f(combine, identity) with the function of a reduction (not argmax, argmin) on accumulators
// of type A over elements of `dtype`.
template <class A, class F>
decltype(auto) visit_reduction(ReduceKind kind, DType dtype, F&& f) {
  switch (kind) {
    case ReduceKind::sum: return f([](A a, A b) { return add(a, b); }, A{0});
    case ReduceKind::product: return f([](A a, A b) { return multiply(a, b); }, A{1});
    case ReduceKind::max: return f([](A a, A b) { return maximum(a, b); }, lowest<A>(dtype));
    case ReduceKind::min: return f([](A a, A b) { return minimum(a, b); }, highest<A>(dtype));
    default: internal_error("argmax and argmin are not folds of one value");
  }
}

inline bool is_arg(ReduceKind kind) {
  return kind == ReduceKind::argmax || kind == ReduceKind::argmin;
}

// The extreme element so far and where it was seen.
template <class T>
struct Extreme {
  T value{};
  int64_t index = -1;

  // Elements come by ascending index. A NaN beats every number.
  void see(ReduceKind kind, bool last, T candidate, int64_t at) {
    if (index < 0 || beats(kind, candidate, value) || (last && !beats(kind, value, candidate)))
      *this = {candidate, at};
  }

 private:
  static bool beats(ReduceKind kind, T a, T b) {
    if (is_nan(a) || is_nan(b)) return !is_nan(b);
    return kind == ReduceKind::argmax ? a > b : a < b;
  }
};

}  // namespace onrush::reference
