#include <algorithm>
#include <array>
#include <cmath>

#include "reference/arithmetic.h"
#include "reference/element.h"
#include "reference/kernels.h"

namespace onrush::reference {
namespace {

constexpr int64_t kBlock = 1024;  // elements converted at a time

// out[i] = f(x[i]); f takes T and gives a compute type.
template <class T, class F>
void map(const Tensor& x, Tensor& out, F f, bool saturate = true) {
  using R = std::invoke_result_t<F, T>;
  std::array<T, kBlock> in;
  std::array<R, kBlock> results;
  for (int64_t begin = 0; begin < x.count(); begin += kBlock) {
    const size_t count = static_cast<size_t>(std::min(kBlock, x.count() - begin));
    load(x, begin, std::span<T>(in.data(), count));
    for (size_t i = 0; i < count; ++i) results[i] = f(in[i]);
    store(std::span<const R>(results.data(), count), out, begin, saturate);
  }
}

template <class T, class F>
void map(const Tensor& x, const Tensor& y, Tensor& out, F f) {
  using R = std::invoke_result_t<F, T, T>;
  std::array<T, kBlock> a, b;
  std::array<R, kBlock> results;
  for (int64_t begin = 0; begin < x.count(); begin += kBlock) {
    const size_t count = static_cast<size_t>(std::min(kBlock, x.count() - begin));
    load(x, begin, std::span<T>(a.data(), count));
    load(y, begin, std::span<T>(b.data(), count));
    for (size_t i = 0; i < count; ++i) results[i] = f(a[i], b[i]);
    store(std::span<const R>(results.data(), count), out, begin);
  }
}

[[noreturn]] void undefined_for(Op op, DType dtype) {
  internal_error(fmt::format("{} is not defined for {}", name(op), name(dtype)));
}

template <class T>
T sigmoid(T x) {  // through f64, where f32 keeps its relative precision at both ends
  return static_cast<T>(1 / (1 + std::exp(-static_cast<double>(x))));
}

template <std::floating_point T>
void unary(Op op, const Tensor& x, Tensor& out) {
  switch (op) {
    case Op::neg: return map<T>(x, out, [](T v) { return -v; });
    case Op::abs: return map<T>(x, out, [](T v) { return std::fabs(v); });
    case Op::sign:
      return map<T>(x, out, [](T v) { return is_nan(v) ? v : static_cast<T>((v > 0) - (v < 0)); });
    case Op::ceil: return map<T>(x, out, [](T v) { return std::ceil(v); });
    case Op::floor: return map<T>(x, out, [](T v) { return std::floor(v); });
    case Op::round: return map<T>(x, out, [](T v) { return std::nearbyint(v); });
    case Op::trunc: return map<T>(x, out, [](T v) { return std::trunc(v); });
    case Op::sqrt: return map<T>(x, out, [](T v) { return std::sqrt(v); });
    case Op::exp: return map<T>(x, out, [](T v) { return std::exp(v); });
    case Op::expm1: return map<T>(x, out, [](T v) { return std::expm1(v); });
    case Op::log: return map<T>(x, out, [](T v) { return std::log(v); });
    case Op::log1p: return map<T>(x, out, [](T v) { return std::log1p(v); });
    case Op::sin: return map<T>(x, out, [](T v) { return std::sin(v); });
    case Op::cos: return map<T>(x, out, [](T v) { return std::cos(v); });
    case Op::tan: return map<T>(x, out, [](T v) { return std::tan(v); });
    case Op::asin: return map<T>(x, out, [](T v) { return std::asin(v); });
    case Op::acos: return map<T>(x, out, [](T v) { return std::acos(v); });
    case Op::atan: return map<T>(x, out, [](T v) { return std::atan(v); });
    case Op::sinh: return map<T>(x, out, [](T v) { return std::sinh(v); });
    case Op::cosh: return map<T>(x, out, [](T v) { return std::cosh(v); });
    case Op::tanh: return map<T>(x, out, [](T v) { return std::tanh(v); });
    case Op::asinh: return map<T>(x, out, [](T v) { return std::asinh(v); });
    case Op::acosh: return map<T>(x, out, [](T v) { return std::acosh(v); });
    case Op::atanh: return map<T>(x, out, [](T v) { return std::atanh(v); });
    case Op::erf: return map<T>(x, out, [](T v) { return std::erf(v); });
    case Op::sigmoid: return map<T>(x, out, [](T v) { return sigmoid(v); });
    default: undefined_for(op, x.dtype());
  }
}

template <std::integral T>
void unary(Op op, const Tensor& x, Tensor& out) {
  const bool boolean = x.dtype() == DType::boolean;
  switch (op) {
    case Op::neg: return map<T>(x, out, [](T v) { return subtract<T>(0, v); });
    case Op::abs: return map<T>(x, out, [](T v) { return v > 0 ? v : subtract<T>(0, v); });
    case Op::sign:
      return map<T>(x, out, [](T v) { return v > 0 ? T{1} : static_cast<T>(v == 0 ? 0 : -1); });
    case Op::ceil:
    case Op::floor:
    case Op::round:
    case Op::trunc: return map<T>(x, out, [](T v) { return v; });
    case Op::bit_not:
      return boolean ? map<T>(x, out, [](T v) { return v ^ 1; })
                     : map<T>(x, out, [](T v) { return static_cast<T>(~v); });
    default: undefined_for(op, x.dtype());
  }
}

template <std::floating_point T>
T floor_mod(T a, T b) {
  const T r = std::fmod(a, b);
  if (r == 0) return std::copysign(r, b);
  return (r < 0) != (b < 0) ? r + b : r;
}
template <std::integral T>
T divide(T a, T b) {
  if (b == 0) return 0;
  return b == static_cast<T>(-1) && std::is_signed_v<T> ? subtract<T>(0, a) : a / b;
}
template <std::integral T>
T remainder(T a, T b) {
  return subtract(a, multiply(divide(a, b), b)) * (b != 0);
}
template <std::integral T>
T floor_mod(T a, T b) {
  const T r = remainder(a, b);
  return r != 0 && (r < 0) != (b < 0) ? add(r, b) : r;
}

template <std::integral T>
T power(T base, T exponent) {
  if (std::is_signed_v<T> && exponent < 0) {
    if (base == 1) return 1;
    return base == static_cast<T>(-1) ? (exponent & 1 ? base : 1) : 0;
  }
  T result = 1;
  for (uint64_t e = static_cast<uint64_t>(exponent); e; e >>= 1, base = multiply(base, base))
    if (e & 1) result = multiply(result, base);
  return result;
}

template <std::integral T>
T shift_left(T a, T count) {
  return static_cast<uint64_t>(count) < 64 ? static_cast<T>(static_cast<uint64_t>(a) << count) : 0;
}
template <std::integral T>
T shift_right(T a, T count) {
  if (static_cast<uint64_t>(count) < 64) return a >> count;
  return std::is_signed_v<T> && a < 0 ? static_cast<T>(-1) : 0;
}

template <std::floating_point T>
void arithmetic(Op op, const Tensor& x, const Tensor& y, Tensor& out) {
  switch (op) {
    case Op::div: return map<T>(x, y, out, [](T a, T b) { return a / b; });
    case Op::rem: return map<T>(x, y, out, [](T a, T b) { return std::fmod(a, b); });
    case Op::mod: return map<T>(x, y, out, [](T a, T b) { return floor_mod(a, b); });
    case Op::pow: return map<T>(x, y, out, [](T a, T b) { return std::pow(a, b); });
    default: undefined_for(op, x.dtype());
  }
}

template <std::integral T>
void arithmetic(Op op, const Tensor& x, const Tensor& y, Tensor& out) {
  switch (op) {
    case Op::div: return map<T>(x, y, out, [](T a, T b) { return divide(a, b); });
    case Op::rem: return map<T>(x, y, out, [](T a, T b) { return remainder(a, b); });
    case Op::mod: return map<T>(x, y, out, [](T a, T b) { return floor_mod(a, b); });
    case Op::pow: return map<T>(x, y, out, [](T a, T b) { return power(a, b); });
    case Op::bit_and: return map<T>(x, y, out, [](T a, T b) { return a & b; });
    case Op::bit_or: return map<T>(x, y, out, [](T a, T b) { return a | b; });
    case Op::bit_xor: return map<T>(x, y, out, [](T a, T b) { return a ^ b; });
    case Op::shift_left: return map<T>(x, y, out, [](T a, T b) { return shift_left(a, b); });
    case Op::shift_right: return map<T>(x, y, out, [](T a, T b) { return shift_right(a, b); });
    default: undefined_for(op, x.dtype());
  }
}

template <class T>
void binary(Op op, const Tensor& x, const Tensor& y, Tensor& out) {
  const auto truth = [](bool value) { return uint64_t{value}; };
  switch (op) {
    case Op::add: return map<T>(x, y, out, [](T a, T b) { return add(a, b); });
    case Op::sub: return map<T>(x, y, out, [](T a, T b) { return subtract(a, b); });
    case Op::mul: return map<T>(x, y, out, [](T a, T b) { return multiply(a, b); });
    case Op::min: return map<T>(x, y, out, [](T a, T b) { return minimum(a, b); });
    case Op::max: return map<T>(x, y, out, [](T a, T b) { return maximum(a, b); });
    case Op::equal: return map<T>(x, y, out, [&](T a, T b) { return truth(a == b); });
    case Op::less: return map<T>(x, y, out, [&](T a, T b) { return truth(a < b); });
    case Op::less_equal: return map<T>(x, y, out, [&](T a, T b) { return truth(a <= b); });
    default: return arithmetic<T>(op, x, y, out);
  }
}

Tensor select(const Tensor& condition, const Tensor& a, const Tensor& b) {
  Tensor out(a.dtype(), a.shape());
  const std::span<const uint8_t> chosen = condition.as<uint8_t>();
  visit_storage(a.dtype(), [&]<class T>() {
    const std::span<T> from_a = a.as<T>(), from_b = b.as<T>(), to = out.as<T>();
    for (size_t i = 0; i < to.size(); ++i) to[i] = chosen[i] ? from_a[i] : from_b[i];
  });
  return out;
}

// The same memory under another dtype.
Tensor bitcast(const Tensor& x, DType dtype) {
  return Tensor(dtype, x.shape(), x.data(), std::make_shared<Tensor>(x));
}

}  // namespace

Tensor evaluate_elementwise(const Node& node, Operands operands) {
  const DType dtype = std::get<TensorType>(node.type).dtype;
  const Tensor& x = operands[0];
  if (node.op == Op::bitcast) return bitcast(x, dtype);
  if (node.op == Op::select)
    return narrow(dtype, select(x, widen(operands[1]), widen(operands[2])));
  Tensor out = allocate(dtype, x.shape());
  visit_compute(x.dtype(), [&]<class T>() {
    if (node.op == Op::cast)
      map<T>(
          x, out, [](T v) { return v; }, node.as<CastAttr>().saturate);
    else if (node.op == Op::is_nan) map<T>(x, out, [](T v) { return uint64_t{is_nan(v)}; });
    else if (operands.size() == 1) unary<T>(node.op, x, out);
    else binary<T>(node.op, x, operands[1], out);
  });
  return out;
}

}  // namespace onrush::reference
