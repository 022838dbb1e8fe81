#include "reference/element.h"

#include <algorithm>

#include "base/numeric.h"

namespace onrush::reference {
namespace {

// One element of a dtype without a C++ type of its own: small floats and sub-byte integers.
template <class T>
T load_odd(DType dtype, const void* data, int64_t index) {
  if (is_integer(dtype)) return convert<T>(load_i64(dtype, data, index));
  return convert<T>(static_cast<float>(load_f64(dtype, data, index)));
}

template <class T>
void store_odd(DType dtype, void* data, int64_t index, T value, bool saturate) {
  if (is_integer(dtype)) return store_i64(dtype, data, index, convert<int64_t>(value));
  internal_check(is_float(dtype), "only numbers are stored");
  const uint8_t code = f32_to_small_float(dtype, convert<float>(value), saturate);
  store_i64(is_sub_byte(dtype) ? DType::u4 : DType::u8, data, index, code);
}

// decode: Stored -> compute value
template <class Stored, class T, class F>
void load_as(const Tensor& tensor, int64_t begin, std::span<T> values, F decode) {
  const Stored* in = static_cast<const Stored*>(tensor.data()) + begin;
  for (size_t i = 0; i < values.size(); ++i) values[i] = convert<T>(decode(in[i]));
}
template <class Stored, class T>
void load_plain(const Tensor& tensor, int64_t begin, std::span<T> values) {
  load_as<Stored>(tensor, begin, values, [](Stored x) { return x; });
}

template <class Stored, class T, class F>
void store_as(std::span<const T> values, Tensor& tensor, int64_t begin, F encode) {
  Stored* out = static_cast<Stored*>(tensor.data()) + begin;
  for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<Stored>(encode(values[i]));
}

}  // namespace

template <class T>
void load(const Tensor& tensor, int64_t begin, std::span<T> values) {
  switch (tensor.dtype()) {
    case DType::f32: return load_plain<float>(tensor, begin, values);
    case DType::f64: return load_plain<double>(tensor, begin, values);
    case DType::i8: return load_plain<int8_t>(tensor, begin, values);
    case DType::i16: return load_plain<int16_t>(tensor, begin, values);
    case DType::i32: return load_plain<int32_t>(tensor, begin, values);
    case DType::i64: return load_plain<int64_t>(tensor, begin, values);
    case DType::u8: return load_plain<uint8_t>(tensor, begin, values);
    case DType::u16: return load_plain<uint16_t>(tensor, begin, values);
    case DType::u32: return load_plain<uint32_t>(tensor, begin, values);
    case DType::u64: return load_plain<uint64_t>(tensor, begin, values);
    case DType::boolean:
      return load_as<uint8_t>(tensor, begin, values, [](uint8_t x) { return x != 0; });
    case DType::f16: return load_as<uint16_t>(tensor, begin, values, f16_to_f32);
    case DType::bf16: return load_as<uint16_t>(tensor, begin, values, bf16_to_f32);
    default: break;
  }
  const DType dtype = tensor.dtype();
  internal_check(is_float(dtype) || is_integer(dtype), "only numbers are loaded");
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = load_odd<T>(dtype, tensor.data(), begin + static_cast<int64_t>(i));
}

template <class T>
void store(std::span<const T> values, Tensor& tensor, int64_t begin, bool saturate) {
  const auto integer = [](T x) { return convert<int64_t>(x); };
  switch (tensor.dtype()) {
    case DType::f32: return store_as<float>(values, tensor, begin, convert<float, T>);
    case DType::f64: return store_as<double>(values, tensor, begin, convert<double, T>);
    case DType::i8: return store_as<int8_t>(values, tensor, begin, integer);
    case DType::i16: return store_as<int16_t>(values, tensor, begin, integer);
    case DType::i32: return store_as<int32_t>(values, tensor, begin, integer);
    case DType::i64: return store_as<int64_t>(values, tensor, begin, integer);
    case DType::u8: return store_as<uint8_t>(values, tensor, begin, integer);
    case DType::u16: return store_as<uint16_t>(values, tensor, begin, integer);
    case DType::u32: return store_as<uint32_t>(values, tensor, begin, integer);
    case DType::u64: return store_as<uint64_t>(values, tensor, begin, convert<uint64_t, T>);
    case DType::boolean:
      return store_as<uint8_t>(values, tensor, begin, [](T x) { return x != 0; });
    case DType::f16:
      return store_as<uint16_t>(values, tensor, begin,
                                [](T x) { return f32_to_f16(convert<float>(x)); });
    case DType::bf16:
      return store_as<uint16_t>(values, tensor, begin,
                                [](T x) { return f32_to_bf16(convert<float>(x)); });
    default: break;
  }
  for (size_t i = 0; i < values.size(); ++i)
    store_odd(tensor.dtype(), tensor.data(), begin + static_cast<int64_t>(i), values[i], saturate);
}

template void load<float>(const Tensor&, int64_t, std::span<float>);
template void load<double>(const Tensor&, int64_t, std::span<double>);
template void load<int64_t>(const Tensor&, int64_t, std::span<int64_t>);
template void load<uint64_t>(const Tensor&, int64_t, std::span<uint64_t>);
template void store<float>(std::span<const float>, Tensor&, int64_t, bool);
template void store<double>(std::span<const double>, Tensor&, int64_t, bool);
template void store<int64_t>(std::span<const int64_t>, Tensor&, int64_t, bool);
template void store<uint64_t>(std::span<const uint64_t>, Tensor&, int64_t, bool);

Tensor allocate(DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  if (is_sub_byte(dtype) && tensor.count() > 0) tensor.as<uint8_t>().data()[tensor.bytes() - 1] = 0;
  return tensor;
}

namespace {
DType code_dtype(DType dtype) { return bits(dtype) == 4 ? DType::u4 : DType::u2; }
}  // namespace

Tensor widen(const Tensor& tensor) {
  if (!is_sub_byte(tensor.dtype())) return tensor;
  Tensor codes(DType::u8, tensor.shape());
  const DType code = code_dtype(tensor.dtype());
  for (int64_t i = 0; i < tensor.count(); ++i)
    store_i64(DType::u8, codes.data(), i, load_i64(code, tensor.data(), i));
  return codes;
}

Tensor narrow(DType dtype, const Tensor& codes) {
  if (!is_sub_byte(dtype)) return codes;
  Tensor tensor = allocate(dtype, codes.shape());
  for (int64_t i = 0; i < tensor.count(); ++i)
    store_i64(code_dtype(dtype), tensor.data(), i, load_i64(DType::u8, codes.data(), i));
  return tensor;
}

void copy_elements(const Tensor& from, int64_t from_begin, Tensor& to, int64_t to_begin,
                   int64_t count) {
  if (is_sub_byte(from.dtype())) {
    const DType code = code_dtype(from.dtype());
    for (int64_t i = 0; i < count; ++i)
      store_i64(code, to.data(), to_begin + i, load_i64(code, from.data(), from_begin + i));
    return;
  }
  visit_storage(from.dtype(), [&]<class T>() {
    std::copy_n(from.as<T>().data() + from_begin, count, to.as<T>().data() + to_begin);
  });
}

}  // namespace onrush::reference
