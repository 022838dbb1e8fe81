#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/convert.cpp"
#include "hwy/foreach_target.h"
//
#include <limits>

#include "base/check.h"
#include "base/numeric.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/half-inl.h"
#include "backend/cpu/kernels/plain-inl.h"
#include "backend/cpu/kernels/tile.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// Calls f.operator()<T>() with the C++ type of a compute type.
template <class F>
auto visit_type(Compute type, F f) {
  switch (type) {
    case Compute::f32: return f.template operator()<float>();
    case Compute::f64: return f.template operator()<double>();
    case Compute::i32: return f.template operator()<int32_t>();
    case Compute::i64: return f.template operator()<int64_t>();
    case Compute::u64: return f.template operator()<uint64_t>();
  }
  internal_error("no such compute type");
}

// The range of f32 and f64 is compared as a power of two, which both hold.
template <class From>
int64_t truncate_to_i64(From value) {
  constexpr From kTwo63 = 9223372036854775808.0;
  const int64_t in_range = static_cast<int64_t>(value >= -kTwo63 && value < kTwo63 ? value : 0);
  if (value >= kTwo63) return std::numeric_limits<int64_t>::max();
  return value >= -kTwo63 ? in_range : std::numeric_limits<int64_t>::min();
}
template <class From>
uint64_t truncate_to_u64(From value) {
  constexpr From kTwo63 = 9223372036854775808.0;
  if (!(value >= kTwo63)) return static_cast<uint64_t>(truncate_to_i64(value));
  if (value >= 2 * kTwo63) return std::numeric_limits<uint64_t>::max();
  return static_cast<uint64_t>(value);
}

template <class To, class From>
To convert_value(From value) {
  if constexpr (std::floating_point<From> && std::is_same_v<To, uint64_t>)
    return truncate_to_u64(value);
  else if constexpr (std::floating_point<From> && std::integral<To>)
    return static_cast<To>(truncate_to_i64(value));
  else return static_cast<To>(value);
}

UnaryKernel convert(Compute from, Compute to) {
  return visit_type(from, [to]<class From>() {
    return visit_type(to, []<class To>() -> UnaryKernel {
      return map_plain<From, To, [](From x) { return convert_value<To>(x); }>;
    });
  });
}

void round_to_f16(void* out_v, const void* a_v, size_t n) {
  constexpr size_t kChunk = 256;
  uint16_t halves[kChunk];
  auto* out = static_cast<float*>(out_v);
  auto* a = static_cast<const float*>(a_v);
  for (size_t i = 0; i < n; i += kChunk) {
    const size_t count = n - i < kChunk ? n - i : kChunk;
    f32_run_to_f16(halves, a + i, count);
    f16_run_to_f32(out + i, halves, count);
  }
}

template <DType dtype, bool saturate>
float round_to_small(float x) {
  return small_float_to_f32(dtype, f32_to_small_float(dtype, x, saturate));
}
template <DType dtype>
UnaryKernel round_small(bool saturate) {
  return saturate ? map_plain<float, float, round_to_small<dtype, true>>
                  : map_plain<float, float, round_to_small<dtype, false>>;
}

UnaryKernel round_of(DType dtype, bool saturate) {
  switch (dtype) {
    case DType::f16: return round_to_f16;
    case DType::bf16: return map_plain<float, float, [](float x) { return from_bf16(to_bf16(x)); }>;
    case DType::f8e4m3fn: return round_small<DType::f8e4m3fn>(saturate);
    case DType::f8e4m3fnuz: return round_small<DType::f8e4m3fnuz>(saturate);
    case DType::f8e5m2: return round_small<DType::f8e5m2>(saturate);
    case DType::f8e5m2fnuz: return round_small<DType::f8e5m2fnuz>(saturate);
    case DType::f8e8m0: return round_small<DType::f8e8m0>(saturate);
    case DType::f4e2m1: return round_small<DType::f4e2m1>(true);
    default: return nullptr;
  }
}

// The low `kBits` bits of x, sign- or zero-extended.
template <int kBits, bool kSigned, class T>
T low_bits(T x) {
  using U = std::make_unsigned_t<T>;
  constexpr int kUnused = 8 * sizeof(T) - kBits;
  const U shifted = static_cast<U>(U(x) << kUnused);
  return kSigned ? static_cast<T>(static_cast<T>(shifted) >> kUnused)
                 : static_cast<T>(shifted >> kUnused);
}
template <int kBits, bool kSigned, class T = int32_t>
inline constexpr UnaryKernel kWrap = map_plain<T, T, low_bits<kBits, kSigned, T>>;

UnaryKernel wrap_of(DType dtype) {
  switch (dtype) {
    case DType::i8: return kWrap<8, true>;
    case DType::u8: return kWrap<8, false>;
    case DType::i16: return kWrap<16, true>;
    case DType::u16: return kWrap<16, false>;
    case DType::u32: return kWrap<32, false, int64_t>;
    case DType::i4: return kWrap<4, true>;
    case DType::u4: return kWrap<4, false>;
    case DType::i2: return kWrap<2, true>;
    case DType::u2: return kWrap<2, false>;
    default: return nullptr;
  }
}

template <class T>
void select(void* out_v, const int32_t* condition, const void* a_v, const void* b_v, size_t n) {
  auto* out = static_cast<T*>(out_v);
  auto* a = static_cast<const T*>(a_v);
  auto* b = static_cast<const T*>(b_v);
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i) {
    const T chosen = a[i], other = b[i];
    out[i] = condition[i] != 0 ? chosen : other;
  }
}

SelectKernel select_of(Compute type) {
  return visit_type(type, []<class T>() -> SelectKernel { return select<T>; });
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(convert);
HWY_EXPORT(round_of);
HWY_EXPORT(wrap_of);
HWY_EXPORT(select_of);

UnaryKernel convert_kernel(Compute from, Compute to) {
  return HWY_DYNAMIC_DISPATCH(convert)(from, to);
}
UnaryKernel round_kernel(DType dtype, bool saturate) {
  return HWY_DYNAMIC_DISPATCH(round_of)(dtype, saturate);
}
UnaryKernel wrap_kernel(DType dtype) { return HWY_DYNAMIC_DISPATCH(wrap_of)(dtype); }
SelectKernel select_kernel(Compute type) { return HWY_DYNAMIC_DISPATCH(select_of)(type); }

}  // namespace onrush::cpu
#endif
