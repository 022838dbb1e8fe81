#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/load.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "base/check.h"
#include "base/numeric.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/half-inl.h"
#include "backend/cpu/kernels/memory.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// Weights may lie unaligned in their file.
template <class E>
HWY_INLINE E element(const E* base, int64_t index) {
  E value;
  std::memcpy(&value, reinterpret_cast<const char*>(base) + index * int64_t(sizeof(E)), sizeof(E));
  return value;
}

// How elements of one dtype lie in memory and read. A format has: Element and Value, the types in
// memory and in the tile; read(base, index); read_run(out, base, index, n) for adjacent elements.
template <class E, class V>
struct Number {
  using Element = E;
  using Value = V;
  static V read(const E* base, int64_t index) { return static_cast<V>(element(base, index)); }
  static void read_run(V* out, const E* base, int64_t index, size_t n) {
    if constexpr (std::is_same_v<E, V>) {
      if (n == 0) return;  // there may be no memory
      std::memcpy(out, reinterpret_cast<const char*>(base) + index * int64_t(sizeof(E)),
                  n * sizeof(E));
    } else {
      for (size_t i = 0; i < n; ++i) out[i] = static_cast<V>(element(base, index + int64_t(i)));
    }
  }
};

struct Boolean {
  using Element = uint8_t;
  using Value = int32_t;
  static int32_t read(const uint8_t* base, int64_t index) { return base[index] != 0; }
  static void read_run(int32_t* out, const uint8_t* base, int64_t index, size_t n) {
    for (size_t i = 0; i < n; ++i) out[i] = base[index + int64_t(i)] != 0;
  }
};

struct Bf16 {
  using Element = uint16_t;
  using Value = float;
  static float read(const uint16_t* base, int64_t index) {
    return bf16_to_f32(element(base, index));
  }
  static void read_run(float* out, const uint16_t* base, int64_t index, size_t n) {
    bf16_run_to_f32(out, base + index, n);
  }
};

struct F16 {
  using Element = uint16_t;
  using Value = float;
  static float read(const uint16_t* base, int64_t index) {
    return f16_to_f32(element(base, index));
  }
  static void read_run(float* out, const uint16_t* base, int64_t index, size_t n) {
    f16_run_to_f32(out, base + index, n);
  }
};

// The 256 values of an 8-bit float, the 16 of f4e2m1.
template <DType dtype>
const float* small_float_table() {
  static const auto table = [] {
    std::array<float, dtype == DType::f4e2m1 ? 16 : 256> values;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = small_float_to_f32(dtype, static_cast<uint8_t>(i));
    return values;
  }();
  return table.data();
}

template <DType dtype>
struct SmallFloat {
  using Element = uint8_t;
  using Value = float;
  static float read(const uint8_t* base, int64_t index) {
    return small_float_table<dtype>()[base[index]];
  }
  static void read_run(float* out, const uint8_t* base, int64_t index, size_t n) {
    const float* table = small_float_table<dtype>();
    for (size_t i = 0; i < n; ++i) out[i] = table[base[index + int64_t(i)]];
  }
};

// Packed 2- and 4-bit elements.
template <DType dtype>
struct Packed {
  using Element = uint8_t;
  using Value = std::conditional_t<dtype == DType::f4e2m1, float, int32_t>;
  static constexpr int kWidth = dtype == DType::u2 || dtype == DType::i2 ? 2 : 4;
  static constexpr bool kSigned = dtype == DType::i4 || dtype == DType::i2;
  static constexpr int kPerByte = 8 / kWidth;

  static Value decode(uint8_t code) {
    if constexpr (dtype == DType::f4e2m1) return small_float_table<dtype>()[code];
    else if constexpr (kSigned) return (code ^ (1 << (kWidth - 1))) - (1 << (kWidth - 1));
    else return code;
  }
  static uint8_t code_at(const uint8_t* base, int64_t index) {
    const int shift = static_cast<int>(index % kPerByte) * kWidth;
    return static_cast<uint8_t>(base[index / kPerByte] >> shift & ((1 << kWidth) - 1));
  }
  static Value read(const uint8_t* base, int64_t index) { return decode(code_at(base, index)); }
  // Whole bytes in the middle, single elements at the ends.
  static void read_run(Value* out, const uint8_t* base, int64_t index, size_t n) {
    const int64_t end = index + static_cast<int64_t>(n);
    for (; index < end && index % kPerByte != 0; ++index) *out++ = read(base, index);
    const uint8_t* bytes = base + index / kPerByte;
    const int64_t whole = (end - index) / kPerByte;
    for (int64_t i = 0; i < whole; ++i)
      for (int part = 0; part < kPerByte; ++part)
        out[i * kPerByte + part] = decode(bytes[i] >> part * kWidth & ((1 << kWidth) - 1));
    out += whole * kPerByte;
    for (index += whole * kPerByte; index < end; ++index) *out++ = read(base, index);
  }
};

// Makes runs, which convert by vectors.
inline void load_strided_f16(float* out, const uint16_t* base, int64_t offset, int64_t stride,
                             size_t n) {
  constexpr size_t kRun = 64;
  uint16_t run[kRun];
  for (size_t i = 0; i < n; i += kRun) {
    const size_t count = n - i < kRun ? n - i : kRun;
    for (size_t j = 0; j < count; ++j, offset += stride) run[j] = element(base, offset);
    f16_run_to_f32(out + i, run, count);
  }
}

template <class Format>
void load(void* out_v, const void* base_v, int64_t offset, int64_t stride, size_t n) {
  auto* out = static_cast<typename Format::Value*>(out_v);
  auto* base = static_cast<const typename Format::Element*>(base_v);
  if (stride == 1) return Format::read_run(out, base, offset, n);
  if (stride == 0) {
    if (n == 0) return;
    const auto value = Format::read(base, offset);
    for (size_t i = 0; i < n; ++i) out[i] = value;
    return;
  }
  if constexpr (std::is_same_v<Format, F16>) return load_strided_f16(out, base, offset, stride, n);
  for (size_t i = 0; i < n; ++i, offset += stride) out[i] = Format::read(base, offset);
}

template <class Format>
void gather(void* out_v, const void* base_v, const int64_t* offsets, size_t n) {
  auto* out = static_cast<typename Format::Value*>(out_v);
  auto* base = static_cast<const typename Format::Element*>(base_v);
  for (size_t i = 0; i < n; ++i) out[i] = Format::read(base, offsets[i]);
}

bool add_indices(int64_t* offsets, const int64_t* indices, int64_t stride, int64_t extent,
                 size_t n) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<int64_t> d;
  const size_t lanes = hn::Lanes(d);
  uint64_t largest = 0;  // negative ones are large as unsigned numbers
  size_t i = 0;
  const hn::RebindToUnsigned<decltype(d)> u;
  auto most = hn::Zero(u);
  const auto step = hn::Set(d, stride);
  for (; i + lanes <= n; i += lanes) {
    const auto index = hn::LoadU(d, indices + i);
    most = hn::Max(most, hn::BitCast(u, index));
    hn::StoreU(hn::Add(hn::LoadU(d, offsets + i), hn::Mul(index, step)), d, offsets + i);
  }
  largest = hn::GetLane(hn::MaxOfLanes(u, most));
  for (; i < n; ++i) {
    largest = std::max(largest, static_cast<uint64_t>(indices[i]));
    offsets[i] += indices[i] * stride;
  }
  return largest < static_cast<uint64_t>(extent) || n == 0;
}

// Calls f.operator()<Format>() with the format of a dtype.
template <class F>
auto visit_format(DType dtype, F f) {
  switch (dtype) {
    case DType::f32: return f.template operator()<Number<float, float>>();
    case DType::f64: return f.template operator()<Number<double, double>>();
    case DType::u8: return f.template operator()<Number<uint8_t, int32_t>>();
    case DType::i8: return f.template operator()<Number<int8_t, int32_t>>();
    case DType::u16: return f.template operator()<Number<uint16_t, int32_t>>();
    case DType::i16: return f.template operator()<Number<int16_t, int32_t>>();
    case DType::i32: return f.template operator()<Number<int32_t, int32_t>>();
    case DType::u32: return f.template operator()<Number<uint32_t, int64_t>>();
    case DType::i64: return f.template operator()<Number<int64_t, int64_t>>();
    case DType::u64: return f.template operator()<Number<uint64_t, uint64_t>>();
    case DType::boolean: return f.template operator()<Boolean>();
    case DType::f16: return f.template operator()<F16>();
    case DType::bf16: return f.template operator()<Bf16>();
    case DType::f8e4m3fn: return f.template operator()<SmallFloat<DType::f8e4m3fn>>();
    case DType::f8e4m3fnuz: return f.template operator()<SmallFloat<DType::f8e4m3fnuz>>();
    case DType::f8e5m2: return f.template operator()<SmallFloat<DType::f8e5m2>>();
    case DType::f8e5m2fnuz: return f.template operator()<SmallFloat<DType::f8e5m2fnuz>>();
    case DType::f8e8m0: return f.template operator()<SmallFloat<DType::f8e8m0>>();
    case DType::f4e2m1: return f.template operator()<Packed<DType::f4e2m1>>();
    case DType::u4: return f.template operator()<Packed<DType::u4>>();
    case DType::i4: return f.template operator()<Packed<DType::i4>>();
    case DType::u2: return f.template operator()<Packed<DType::u2>>();
    case DType::i2: return f.template operator()<Packed<DType::i2>>();
    default: internal_error("elements of this dtype have no compute type");
  }
}

LoadKernel load_of(DType dtype) {
  return visit_format(dtype, []<class Format>() -> LoadKernel { return load<Format>; });
}
GatherKernel gather_of(DType dtype) {
  return visit_format(dtype, []<class Format>() -> GatherKernel { return gather<Format>; });
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(load_of);
HWY_EXPORT(gather_of);
HWY_EXPORT(add_indices);
LoadKernel load_kernel(DType dtype) { return HWY_DYNAMIC_DISPATCH(load_of)(dtype); }
bool add_indices(int64_t* offsets, const int64_t* indices, int64_t stride, int64_t extent,
                 size_t n) {
  return HWY_DYNAMIC_DISPATCH(add_indices)(offsets, indices, stride, extent, n);
}
GatherKernel gather_kernel(DType dtype) { return HWY_DYNAMIC_DISPATCH(gather_of)(dtype); }
}  // namespace onrush::cpu
#endif
