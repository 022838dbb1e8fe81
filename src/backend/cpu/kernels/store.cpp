#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/store.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>
#include <type_traits>

#include "base/check.h"
#include "base/numeric.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/half-inl.h"
#include "backend/cpu/kernels/memory.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// How elements of one dtype are written: the counterpart of load.cpp's formats.
template <class E, class V>
struct Number {
  using Element = E;
  using Value = V;
  static void write(E* base, int64_t index, V value) { base[index] = static_cast<E>(value); }
  static void write_run(E* base, int64_t index, const V* values, size_t n) {
    if constexpr (std::is_same_v<E, V>) {
      std::copy_n(values, n, base + index);
    } else {
      for (size_t i = 0; i < n; ++i) base[index + int64_t(i)] = static_cast<E>(values[i]);
    }
  }
};

struct Boolean {
  using Element = uint8_t;
  using Value = int32_t;
  static void write(uint8_t* base, int64_t index, int32_t value) { base[index] = value != 0; }
  static void write_run(uint8_t* base, int64_t index, const int32_t* values, size_t n) {
    for (size_t i = 0; i < n; ++i) base[index + int64_t(i)] = values[i] != 0;
  }
};

struct Bf16 {
  using Element = uint16_t;
  using Value = float;
  static void write(uint16_t* base, int64_t index, float value) { base[index] = to_bf16(value); }
  static void write_run(uint16_t* base, int64_t index, const float* values, size_t n) {
    f32_run_to_bf16(base + index, values, n);
  }
};

struct F16 {
  using Element = uint16_t;
  using Value = float;
  static void write(uint16_t* base, int64_t index, float value) { base[index] = f32_to_f16(value); }
  static void write_run(uint16_t* base, int64_t index, const float* values, size_t n) {
    f32_run_to_f16(base + index, values, n);
  }
};

// 8-bit floats and packed elements, by base/numeric.h.
template <DType dtype, bool saturate>
struct SmallFloat {
  using Element = uint8_t;
  using Value = float;
  static void write(uint8_t* base, int64_t index, float value) {
    base[index] = f32_to_small_float(dtype, value, saturate);
  }
  static void write_run(uint8_t* base, int64_t index, const float* values, size_t n) {
    for (size_t i = 0; i < n; ++i) write(base, index + int64_t(i), values[i]);
  }
};

template <DType dtype>
struct Packed {
  using Element = uint8_t;
  using Value = std::conditional_t<dtype == DType::f4e2m1, float, int32_t>;
  static void write(uint8_t* base, int64_t index, Value value) {
    if constexpr (dtype == DType::f4e2m1) store_f64(dtype, base, index, double{value});
    else store_i64(dtype, base, index, value);
  }
  static void write_run(uint8_t* base, int64_t index, const Value* values, size_t n) {
    for (size_t i = 0; i < n; ++i) write(base, index + int64_t(i), values[i]);
  }
};

template <class Format>
void store(void* base_v, int64_t offset, int64_t stride, const void* values_v, size_t n) {
  auto* base = static_cast<typename Format::Element*>(base_v);
  auto* values = static_cast<const typename Format::Value*>(values_v);
  if (stride == 1) return Format::write_run(base, offset, values, n);
  for (size_t i = 0; i < n; ++i, offset += stride) Format::write(base, offset, values[i]);
}

template <DType dtype>
StoreKernel store_small_float(bool saturate) {
  return saturate ? store<SmallFloat<dtype, true>> : store<SmallFloat<dtype, false>>;
}

StoreKernel store_of(DType dtype, bool saturate) {
  switch (dtype) {
    case DType::f32: return store<Number<float, float>>;
    case DType::f64: return store<Number<double, double>>;
    case DType::u8:
    case DType::i8: return store<Number<uint8_t, int32_t>>;
    case DType::u16:
    case DType::i16: return store<Number<uint16_t, int32_t>>;
    case DType::i32: return store<Number<int32_t, int32_t>>;
    case DType::u32: return store<Number<uint32_t, int64_t>>;
    case DType::i64: return store<Number<int64_t, int64_t>>;
    case DType::u64: return store<Number<uint64_t, uint64_t>>;
    case DType::boolean: return store<Boolean>;
    case DType::f16: return store<F16>;
    case DType::bf16: return store<Bf16>;
    case DType::f8e4m3fn: return store_small_float<DType::f8e4m3fn>(saturate);
    case DType::f8e4m3fnuz: return store_small_float<DType::f8e4m3fnuz>(saturate);
    case DType::f8e5m2: return store_small_float<DType::f8e5m2>(saturate);
    case DType::f8e5m2fnuz: return store_small_float<DType::f8e5m2fnuz>(saturate);
    case DType::f8e8m0: return store_small_float<DType::f8e8m0>(saturate);
    case DType::f4e2m1: return store<Packed<DType::f4e2m1>>;
    case DType::u4: return store<Packed<DType::u4>>;
    case DType::i4: return store<Packed<DType::i4>>;
    case DType::u2: return store<Packed<DType::u2>>;
    case DType::i2: return store<Packed<DType::i2>>;
    default: internal_error("elements of this dtype have no compute type");
  }
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(store_of);
StoreKernel store_kernel(DType dtype, bool saturate) {
  return HWY_DYNAMIC_DISPATCH(store_of)(dtype, saturate);
}
}  // namespace onrush::cpu
#endif
