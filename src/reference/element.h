// Elements as the evaluator sees them: numbers of one of four compute types, or storage to move.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/check.h"
#include <onrush/tensor.h>

namespace onrush::reference {

// Calls f.operator()<T>() with the type that arithmetic on `dtype` is done in: double for f64,
// float for the other floats, int64_t or uint64_t for integers, uint64_t (0 or 1) for boolean.
template <class F>
decltype(auto) visit_compute(DType dtype, F&& f) {
  if (dtype == DType::f64) return f.template operator()<double>();
  if (is_float(dtype)) return f.template operator()<float>();
  if (is_signed_integer(dtype)) return f.template operator()<int64_t>();
  if (is_unsigned_integer(dtype) || dtype == DType::boolean)
    return f.template operator()<uint64_t>();
  internal_error(fmt::format("{} has no arithmetic", name(dtype)));
}

struct Bytes16 {
  uint64_t low, high;
};

// Calls f.operator()<T>() with a type that holds one element as it lies in memory. Sub-byte
// elements have none: see widen().
template <class F>
decltype(auto) visit_storage(DType dtype, F&& f) {
  if (dtype == DType::string) return f.template operator()<std::string>();
  switch (bits(dtype)) {
    case 8: return f.template operator()<uint8_t>();
    case 16: return f.template operator()<uint16_t>();
    case 32: return f.template operator()<uint32_t>();
    case 64: return f.template operator()<uint64_t>();
    case 128: return f.template operator()<Bytes16>();
    default: internal_error(fmt::format("{} elements have no address", name(dtype)));
  }
}

// The type in which sums over elements of compute type T accumulate.
template <class T>
using Accumulator = std::conditional_t<std::floating_point<T>, double, T>;

// Between compute types, as Op::cast.
template <class To, class From>
To convert(From value) {
  if constexpr (std::floating_point<From> && std::integral<To>) {
    constexpr From kTwo63 = 9223372036854775808.0;
    if (std::is_unsigned_v<To> && value >= kTwo63)
      return static_cast<To>(value >= 2 * kTwo63 ? UINT64_MAX : static_cast<uint64_t>(value));
    if (std::isnan(value) || value < -kTwo63) return static_cast<To>(INT64_MIN);
    return static_cast<To>(value >= kTwo63 ? INT64_MAX : static_cast<int64_t>(value));
  } else {
    return static_cast<To>(value);
  }
}

// Reads elements begin, begin + 1, ... of a real, integer or boolean tensor. T: a compute type.
template <class T>
void load(const Tensor& tensor, int64_t begin, std::span<T> values);
// Writes them. `saturate` is CastAttr's.
template <class T>
void store(std::span<const T> values, Tensor& tensor, int64_t begin, bool saturate = true);

template <class T>
std::vector<T> load_all(const Tensor& tensor) {
  std::vector<T> values(static_cast<size_t>(tensor.count()));
  load<T>(tensor, 0, values);
  return values;
}

// An uninitialised tensor, but that the unused bits of a sub-byte tensor's last byte are 0.
Tensor allocate(DType dtype, Shape shape);

template <class T>
Tensor make_tensor(DType dtype, Shape shape, const std::vector<T>& values) {
  Tensor tensor = allocate(dtype, std::move(shape));
  store<T>(values, tensor, 0);
  return tensor;
}

// A sub-byte tensor's codes as one u8 each; any other tensor as it is. narrow() undoes it.
Tensor widen(const Tensor& tensor);
Tensor narrow(DType dtype, const Tensor& codes);

// Copies a run of elements of equal dtype, whatever it is.
void copy_elements(const Tensor& from, int64_t from_begin, Tensor& to, int64_t to_begin,
                   int64_t count);

// Extremes of a dtype in compute type T (or its accumulator): infinities for floats.
template <class T>
T lowest(DType dtype) {
  if constexpr (std::floating_point<T>) return -std::numeric_limits<T>::infinity();
  if (!is_signed_integer(dtype)) return 0;
  return static_cast<T>(INT64_MIN >> (64 - bits(dtype)));
}
template <class T>
T highest(DType dtype) {
  if constexpr (std::floating_point<T>) return std::numeric_limits<T>::infinity();
  if (dtype == DType::boolean) return 1;
  const int unused = 64 - bits(dtype) + (is_signed_integer(dtype) ? 1 : 0);
  return static_cast<T>(UINT64_MAX >> unused);
}

}  // namespace onrush::reference
