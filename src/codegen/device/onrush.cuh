// What generated kernels call: element formats, primitives, reductions.
//
// Names follow the primitives of ir/ops.def, prefixed by op_, with their meaning documented there.
// Arithmetic is in float, double, int, long long or unsigned long long. Includes nothing, so that a
// program compiles in a fraction of a second.
#pragma once

typedef unsigned char u8;
typedef signed char i8;
typedef unsigned short u16;
typedef short i16;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;

// Positions and extents: 64 bits wide where a buffer has more than 2^31 elements.
#if ONRUSH_WIDE_INDEX
typedef i64 index;
typedef u64 uindex;
#else
typedef int index;
typedef u32 uindex;
#endif

#define UNROLL _Pragma("unroll")
#define UNROLL_4 _Pragma("unroll 4")

// The sizes a kernel is launched with.
template <int kCount>
struct Sizes {
  i64 v[kCount];
};

// x / d for 0 <= x < 2^31: by a multiplication with `magic`, which the host computes with d.
__device__ inline int quotient(int x, i64, i64 magic) {
  return (int)((__umulhi((u32)x, (u32)magic) + (u32)x) >> (int)(magic >> 32));
}
__device__ inline i64 quotient(i64 x, i64 d, i64) { return x / d; }

// --- the order of kernels

// Work that follows may start from here on; it waits by itself for what this kernel writes.
__device__ inline void trigger_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Until the kernels ahead are done and their results can be read.
__device__ inline void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ inline void begin_dependent() {
  trigger_dependents();
  wait_for_inputs();
}

// Blocks that share one piece of work. The grid is a multiple of the cluster.
__device__ inline int cluster_size() {
#if __CUDA_ARCH__ >= 900
  int size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
#else
  return 1;
#endif
}
__device__ inline int cluster_rank() {
#if __CUDA_ARCH__ >= 900
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}
// block / cluster_size(), which is a power of two.
__device__ inline u32 cluster_of(u32 block) { return block >> (__ffs(cluster_size()) - 1); }
__device__ inline void cluster_sync() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
#endif
}
// The same shared memory of another block of the cluster.
template <class T>
__device__ inline const T* in_block(const T* shared, int rank) {
#if __CUDA_ARCH__ >= 900
  if (cluster_size() == 1) return shared;
  u64 there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"((u64)shared), "r"(rank));
  return (const T*)there;
#else
  return shared;
#endif
}

// --- element formats: a struct for each that C++ lacks, with its conversions from and to float

struct f16 {
  u16 bits;
};
struct bf16 {
  u16 bits;
};
struct f8e4m3fn {
  u8 bits;
};
struct f8e5m2 {
  u8 bits;
};
struct f8e4m3fnuz {
  u8 bits;
};
struct f8e5m2fnuz {
  u8 bits;
};
struct f8e8m0 {
  u8 bits;
};

__device__ inline float as_float(u32 bits) { return __uint_as_float(bits); }
__device__ inline u32 as_bits(float value) { return __float_as_uint(value); }

__device__ inline float to_float(f16 x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
  return r;
}
__device__ inline f16 to_f16(float x) {
  f16 r;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}
// x, or the largest finite f16 of its sign.
__device__ inline float within_f16(float x) {
  return x > 65504.0f ? 65504.0f : x < -65504.0f ? -65504.0f : x;
}
// Both, as one word with `low` in its lower half.
__device__ inline u32 pair_within_f16(float low, float high) {
  u32 r;
  asm("{\n"
      ".reg .b32 x;\n"
      "cvt.rn.f16x2.f32 x, %2, %1;\n"
      "min.NaN.f16x2 x, x, %3;\n"
      "max.NaN.f16x2 %0, x, %4;\n}"
      : "=r"(r)
      : "f"(low), "f"(high), "r"(0x7bff7bff), "r"(0xfbfffbff));
  return r;
}
template <int kCount>
__device__ inline void to_f16_within(const float* x, f16* aligned) {
  UNROLL for (int i = 0; i < kCount; i += 2) * (u32*)(aligned + i) =
      pair_within_f16(x[i], x[i + 1]);
}
__device__ inline float to_float(bf16 x) { return as_float((u32)x.bits << 16); }
__device__ inline bf16 to_bf16(float x) {
  bf16 r;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
  return r;
}

// Two, the first in the lower half.
__device__ inline u32 pair_f16(float low, float high) {
  u32 r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
__device__ inline u32 pair_bf16(float low, float high) {
  u32 r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
// Within a relative error of 2^-22; denormal results are zeros.
__device__ inline float power_of_two(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// A small binary float by its parts. `uz`: the code of minus zero is the only NaN. `infinite`: the
// top exponent is infinity and NaN; else its last code alone is NaN.
template <int kExponentBits, int kMantissaBits, int kBias, bool kUz, bool kInfinite>
struct SmallFloat {
  static __device__ int largest() {
    const int all = (1 << (kExponentBits + kMantissaBits)) - 1;
    return kInfinite ? (((1 << kExponentBits) - 1) << kMantissaBits) - 1 : kUz ? all : all - 1;
  }
  static __device__ float decode(u32 code) {
    const bool negative = code >> (kExponentBits + kMantissaBits) & 1;
    const int exponent = code >> kMantissaBits & ((1 << kExponentBits) - 1);
    const int mantissa = code & ((1 << kMantissaBits) - 1);
    const int magnitude = (int)(code & ((1 << (kExponentBits + kMantissaBits)) - 1));
    if (kUz ? negative && magnitude == 0 : magnitude > largest() + (kInfinite ? 1 : 0))
      return as_float(0x7fc00000);
    if (kInfinite && magnitude == largest() + 1)
      return as_float(negative ? 0xff800000 : 0x7f800000);
    const float m = exponent ? 1.0f + mantissa / (float)(1 << kMantissaBits)
                             : mantissa / (float)(1 << kMantissaBits);
    const float value = ldexpf(m, (exponent ? exponent : 1) - kBias);
    return negative ? -value : value;
  }
  static __device__ u8 encode(float x, bool saturate) {
    const bool negative = as_bits(x) >> 31;
    const u32 sign = negative ? 1u << (kExponentBits + kMantissaBits) : 0;
    const u32 all = (1u << (kExponentBits + kMantissaBits)) - 1;
    const u32 nan = kUz ? 0x80 : sign | (kInfinite ? all - (1u << (kMantissaBits - 1)) + 1 : all);
    if (x != x) return (u8)nan;
    const u32 beyond = saturate    ? sign | (u32)largest()
                       : kInfinite ? sign | (u32)(largest() + 1)
                                   : nan;
    if (fabsf(x) > 3.4e38f) return (u8)beyond;
    int exponent = 0;
    frexpf(fabsf(x), &exponent);
    const int field = exponent - 1 + kBias > 1 ? exponent - 1 + kBias : 1;
    const int units = (int)rintf(ldexpf(fabsf(x), kMantissaBits + kBias - field));
    const int code = x == 0 ? 0 : units + ((field - 1) << kMantissaBits);
    if (code > largest()) return (u8)beyond;
    return code == 0 && kUz ? 0 : (u8)(sign | (u32)code);
  }
};
using E4m3fn = SmallFloat<4, 3, 7, false, false>;
using E4m3fnuz = SmallFloat<4, 3, 8, true, false>;
using E5m2 = SmallFloat<5, 2, 15, false, true>;
using E5m2fnuz = SmallFloat<5, 2, 16, true, false>;

__device__ inline float to_float(f8e4m3fn x) { return E4m3fn::decode(x.bits); }
__device__ inline float to_float(f8e4m3fnuz x) { return E4m3fnuz::decode(x.bits); }
__device__ inline float to_float(f8e5m2 x) { return E5m2::decode(x.bits); }
__device__ inline float to_float(f8e5m2fnuz x) { return E5m2fnuz::decode(x.bits); }
__device__ inline float to_float(f8e8m0 x) {
  return x.bits == 0xff ? as_float(0x7fc00000) : ldexpf(1.0f, (int)x.bits - 127);
}
__device__ inline f8e4m3fn to_f8e4m3fn(float x, bool s) { return {E4m3fn::encode(x, s)}; }
__device__ inline f8e4m3fnuz to_f8e4m3fnuz(float x, bool s) { return {E4m3fnuz::encode(x, s)}; }
__device__ inline f8e5m2 to_f8e5m2(float x, bool s) { return {E5m2::encode(x, s)}; }
__device__ inline f8e5m2fnuz to_f8e5m2fnuz(float x, bool s) { return {E5m2fnuz::encode(x, s)}; }
struct f4e2m1 {
  u8 bits;
};
// A NaN becomes the zero of the other sign; what is too large becomes the largest number.
__device__ inline f4e2m1 to_f4e2m1(float x, bool) {
  const u32 sign = as_bits(x) >> 31;
  if (x != x) return {(u8)(sign ? 0 : 8)};
  const float a = fabsf(x);
  if (a > 6.0f) return {(u8)(sign << 3 | 7)};
  int exponent = 0;
  frexpf(a, &exponent);
  const int field = exponent > 1 ? exponent : 1;
  const int units = (int)rintf(ldexpf(a, 2 - field));
  return {(u8)(sign << 3 | (u32)(a == 0 ? 0 : units + ((field - 1) << 1)))};
}
__device__ inline float to_float(f4e2m1 x) {
  const int exponent = x.bits >> 1 & 3;
  const float fraction = 0.5f * (x.bits & 1);
  const float value = exponent ? ldexpf(1.0f + fraction, exponent - 1) : fraction;
  return x.bits & 8 ? -value : value;
}
__device__ inline f8e8m0 to_f8e8m0(float x, bool saturate) {
  if (x != x || x < 0) return {0xff};
  if (x > 3.4e38f) return {(u8)(saturate ? 0xfe : 0xff)};
  if (x == 0) return {0};
  int exponent;
  const float fraction = frexpf(x, &exponent);
  const int code = exponent + 126 + (fraction >= 0.75f ? 1 : 0);
  return {(u8)(code < 0 ? 0 : code > 0xfe ? (saturate ? 0xfe : 0xff) : code)};
}

// --- memory: element `at` of an array, in the compute type

__device__ inline float load(const float* p, i64 at) { return p[at]; }
__device__ inline double load(const double* p, i64 at) { return p[at]; }
__device__ inline int load(const i32* p, i64 at) { return p[at]; }
__device__ inline i64 load(const i64* p, i64 at) { return p[at]; }
__device__ inline u64 load(const u64* p, i64 at) { return p[at]; }
__device__ inline int load(const u8* p, i64 at) { return p[at]; }
__device__ inline int load(const i8* p, i64 at) { return p[at]; }
__device__ inline int load(const u16* p, i64 at) { return p[at]; }
__device__ inline int load(const i16* p, i64 at) { return p[at]; }
__device__ inline i64 load(const u32* p, i64 at) { return p[at]; }
template <class T>
__device__ inline float load(const T* p, i64 at) {
  return to_float(p[at]);
}

// Packed sub-byte elements, least significant bits first.
template <int kBits, bool kSigned>
__device__ inline int load_packed(const u8* p, i64 at) {
  const int raw = p[at * kBits / 8] >> (int)(at * kBits % 8) & ((1 << kBits) - 1);
  return kSigned && raw >> (kBits - 1) ? raw - (1 << kBits) : raw;
}
__device__ inline float load_f4e2m1(const u8* p, i64 at) {
  return to_float(f4e2m1{(u8)load_packed<4, false>(p, at)});
}
// Neighbours in a byte may be stored by other threads at the same time.
template <int kBits>
__device__ inline void store_packed(u8* p, i64 at, u32 value) {
  const u64 byte = (u64)p + (u64)at * kBits / 8;
  u32* word = (u32*)(byte & ~3ull);
  const int shift = (int)(byte & 3) * 8 + (int)(at * kBits % 8);
  const u32 mask = ((1u << kBits) - 1) << shift;
  atomicAnd(word, ~mask);
  atomicOr(word, value << shift & mask);
}

// kCount neighbours at an address that is a multiple of kCount elements, in pieces of 16 bytes: as
// they are, to an aligned array, or in the compute type.
template <int kCount, class T>
__device__ inline void fetch_vector(const T* p, i64 at, T* elements) {
  constexpr int kBytes = kCount * (int)sizeof(T);
  if constexpr (kBytes >= 16) {
    UNROLL for (int i = 0; i < kBytes / 16; ++i)((uint4*)elements)[i] = ((const uint4*)(p + at))[i];
  } else if constexpr (kBytes == 8) {
    *(uint2*)elements = *(const uint2*)(p + at);
  } else if constexpr (kBytes == 4) {
    *(u32*)elements = *(const u32*)(p + at);
  } else {
    UNROLL for (int i = 0; i < kCount; ++i) elements[i] = p[at + i];
  }
}
template <int kCount, class T, class Compute>
__device__ inline void load_vector(const T* p, i64 at, Compute* out) {
  __align__(16) T elements[kCount];
  fetch_vector<kCount>(p, at, elements);
  UNROLL for (int i = 0; i < kCount; ++i) out[i] = (Compute)load(elements, i);
}
// The same where `valid`, else `fill`. Without a branch, so that many loads are under way at once.
template <int kCount, class T, class Compute>
__device__ inline void load_vector_where(bool valid, const T* p, i64 at, Compute fill,
                                         Compute* out) {
  constexpr int kBytes = kCount * (int)sizeof(T);
  __align__(16) T elements[kCount] = {};
  if constexpr (kBytes >= 16) {
    UNROLL for (int i = 0; i < kBytes / 16; ++i) if (valid)((uint4*)elements)[i] =
        ((const uint4*)(p + at))[i];
  } else if constexpr (kBytes == 8) {
    if (valid) *(uint2*)elements = *(const uint2*)(p + at);
  } else if constexpr (kBytes == 4) {
    if (valid) *(u32*)elements = *(const u32*)(p + at);
  } else {
    UNROLL for (int i = 0; i < kCount; ++i) if (valid) elements[i] = p[at + i];
  }
  UNROLL for (int i = 0; i < kCount; ++i) out[i] =
      valid || fill == 0 ? (Compute)load(elements, i) : fill;
}
template <int kCount, class T>
__device__ inline void store_vector(T* p, i64 at, const T* elements) {
  constexpr int kBytes = kCount * (int)sizeof(T);
  if constexpr (kBytes >= 16) {
    UNROLL for (int i = 0; i < kBytes / 16; ++i)((uint4*)(p + at))[i] = ((const uint4*)elements)[i];
  } else if constexpr (kBytes == 8) {
    *(uint2*)(p + at) = *(const uint2*)elements;
  } else if constexpr (kBytes == 4) {
    *(u32*)(p + at) = *(const u32*)elements;
  } else {
    UNROLL for (int i = 0; i < kCount; ++i) p[at + i] = elements[i];
  }
}

// An index that the model computes. One outside of [0, extent) is reported, and becomes 0.
template <class T>
__device__ inline index position(T value, index extent, u32* error) {
  if ((u64)(i64)value < (u64)extent) return (index)value;
  *error = 1;
  return 0;
}

// --- primitives

#define ONRUSH_FLOATS(name, expression_f, expression_d)          \
  __device__ inline float name(float x) { return expression_f; } \
  __device__ inline double name(double x) { return expression_d; }
ONRUSH_FLOATS(op_ceil, ceilf(x), ceil(x))
ONRUSH_FLOATS(op_floor, floorf(x), floor(x))
ONRUSH_FLOATS(op_round, rintf(x), rint(x))
ONRUSH_FLOATS(op_trunc, truncf(x), trunc(x))
ONRUSH_FLOATS(op_sqrt, sqrtf(x), sqrt(x))
ONRUSH_FLOATS(op_exp, expf(x), exp(x))
ONRUSH_FLOATS(op_expm1, expm1f(x), expm1(x))
ONRUSH_FLOATS(op_log, logf(x), log(x))
ONRUSH_FLOATS(op_log1p, log1pf(x), log1p(x))
ONRUSH_FLOATS(op_sin, sinf(x), sin(x))
ONRUSH_FLOATS(op_cos, cosf(x), cos(x))
ONRUSH_FLOATS(op_tan, tanf(x), tan(x))
ONRUSH_FLOATS(op_asin, asinf(x), asin(x))
ONRUSH_FLOATS(op_acos, acosf(x), acos(x))
ONRUSH_FLOATS(op_atan, atanf(x), atan(x))
ONRUSH_FLOATS(op_sinh, sinhf(x), sinh(x))
ONRUSH_FLOATS(op_cosh, coshf(x), cosh(x))
ONRUSH_FLOATS(op_tanh, tanhf(x), tanh(x))
ONRUSH_FLOATS(op_asinh, asinhf(x), asinh(x))
ONRUSH_FLOATS(op_acosh, acoshf(x), acosh(x))
ONRUSH_FLOATS(op_atanh, atanhf(x), atanh(x))
ONRUSH_FLOATS(op_erf, erff(x), erf(x))
ONRUSH_FLOATS(op_sigmoid, 1.0f / (1.0f + expf(-x)), 1.0 / (1.0 + exp(-x)))
// The same by fewer instructions and without branches, for results that are rounded to 16 bits.
__device__ inline float fast_exp(float x) { return __expf(x); }
__device__ inline float fast_sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }
// To 2^-11 of the result.
__device__ inline float fast_tanh(float x) {
  float r;
  asm("tanh.approx.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
__device__ inline float fast_div(float a, float b) { return __fdividef(a, b); }
// tanh of an odd polynomial fitted to atanh(erf), to 3.7e-5 of 1 with an exact tanh.
__device__ inline float fast_erf(float x) {
  const float y = fminf(x * x, 8.0f);
  return fast_tanh(x * fmaf(fmaf(-0.00178647f, y, 0.10408119f), y, 1.12814338f));
}
ONRUSH_FLOATS(op_neg, -x, -x)
ONRUSH_FLOATS(op_abs, fabsf(x), fabs(x))
#undef ONRUSH_FLOATS
__device__ inline int op_is_nan(float x) { return x != x; }
__device__ inline int op_is_nan(double x) { return x != x; }

template <class T>
__device__ inline T op_sign(T x) {
  return x != x ? x : (T)((x > 0) - (x < 0));
}
__device__ inline int op_neg(int x) { return (int)(0u - (u32)x); }
__device__ inline i64 op_neg(i64 x) { return (i64)(0ull - (u64)x); }
__device__ inline u64 op_neg(u64 x) { return 0ull - x; }
__device__ inline int op_abs(int x) { return x < 0 ? op_neg(x) : x; }
__device__ inline i64 op_abs(i64 x) { return x < 0 ? op_neg(x) : x; }
__device__ inline u64 op_abs(u64 x) { return x; }
template <class T>
__device__ inline T op_bit_not(T x) {
  return ~x;
}

// Integers wrap: arithmetic is done unsigned.
template <class T>
struct Unsigned {
  using type = T;
};
template <>
struct Unsigned<int> {
  using type = u32;
};
template <>
struct Unsigned<i64> {
  using type = u64;
};
template <class T>
using unsigned_of = typename Unsigned<T>::type;
template <class T>
struct IsFloat {
  static constexpr bool value = false;
};
template <>
struct IsFloat<float> {
  static constexpr bool value = true;
};
template <>
struct IsFloat<double> {
  static constexpr bool value = true;
};

template <class T>
__device__ inline T op_add(T a, T b) {
  return (T)((unsigned_of<T>)a + (unsigned_of<T>)b);
}
template <class T>
__device__ inline T op_sub(T a, T b) {
  return (T)((unsigned_of<T>)a - (unsigned_of<T>)b);
}
template <class T>
__device__ inline T op_mul(T a, T b) {
  return (T)((unsigned_of<T>)a * (unsigned_of<T>)b);
}
template <class T>
__device__ inline T op_div(T a, T b) {
  if constexpr (IsFloat<T>::value) return a / b;
  else return b == 0 ? 0 : b == (T)-1 ? op_neg(a) : a / b;
}
__device__ inline u64 op_div(u64 a, u64 b) { return b == 0 ? 0 : a / b; }
__device__ inline float op_rem(float a, float b) { return fmodf(a, b); }
__device__ inline double op_rem(double a, double b) { return fmod(a, b); }
__device__ inline int op_rem(int a, int b) { return b == 0 || b == -1 ? 0 : a % b; }
__device__ inline i64 op_rem(i64 a, i64 b) { return b == 0 || b == -1 ? 0 : a % b; }
__device__ inline u64 op_rem(u64 a, u64 b) { return b == 0 ? 0 : a % b; }
template <class T>
__device__ inline T op_mod(T a, T b) {
  const T r = op_rem(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
__device__ inline float op_pow(float a, float b) { return powf(a, b); }
__device__ inline double op_pow(double a, double b) { return pow(a, b); }
template <class T>
__device__ inline T op_pow(T a, T b) {
  if (b < 0) return a == 1 ? 1 : a == (T)-1 ? (b % 2 == 0 ? 1 : (T)-1) : 0;
  T result = 1;
  for (; b > 0; b /= 2, a = op_mul(a, a))
    if (b % 2 != 0) result = op_mul(result, a);
  return result;
}
template <class T>
__device__ inline T op_min(T a, T b) {
  return a != a ? a : b != b ? b : a < b ? a : b;
}
template <class T>
__device__ inline T op_max(T a, T b) {
  return a != a ? a : b != b ? b : a > b ? a : b;
}
__device__ inline float op_min(float a, float b) {
  float r;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
__device__ inline float op_max(float a, float b) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
template <class T>
__device__ inline T op_bit_and(T a, T b) {
  return a & b;
}
template <class T>
__device__ inline T op_bit_or(T a, T b) {
  return a | b;
}
template <class T>
__device__ inline T op_bit_xor(T a, T b) {
  return a ^ b;
}
template <class T>
__device__ inline T op_shift_left(T a, T b) {
  return (u64)b >= sizeof(T) * 8 ? 0 : (T)((unsigned_of<T>)a << b);
}
template <class T>
__device__ inline T op_shift_right(T a, T b) {
  return (u64)b >= sizeof(T) * 8 ? (a < 0 ? (T)-1 : 0) : (T)(a >> b);
}
__device__ inline float multiply_add(float a, float b, float c) { return fmaf(a, b, c); }
__device__ inline double multiply_add(double a, double b, double c) { return fma(a, b, c); }
template <class T>
__device__ inline T multiply_add(T a, T b, T c) {
  return op_add(op_mul(a, b), c);
}
template <class T>
__device__ inline int op_equal(T a, T b) {
  return a == b;
}
template <class T>
__device__ inline int op_less(T a, T b) {
  return a < b;
}
template <class T>
__device__ inline int op_less_equal(T a, T b) {
  return a <= b;
}
template <class T>
__device__ inline T op_select(int condition, T a, T b) {
  return condition ? a : b;
}

// --- conversion between compute types, as Op::cast

template <class To, class From>
struct Convert {
  static __device__ To apply(From x) { return (To)x; }
};
template <class From>
__device__ inline i64 float_to_i64(From x) {
  if (x != x || x < (From)-9223372036854775808.0) return (i64)0x8000000000000000ull;
  return x >= (From)9223372036854775808.0 ? 0x7fffffffffffffffll : (i64)x;
}
template <>
struct Convert<i64, float> {
  static __device__ i64 apply(float x) { return float_to_i64(x); }
};
template <>
struct Convert<i64, double> {
  static __device__ i64 apply(double x) { return float_to_i64(x); }
};
template <>
struct Convert<int, float> {
  static __device__ int apply(float x) { return (int)float_to_i64(x); }
};
template <>
struct Convert<int, double> {
  static __device__ int apply(double x) { return (int)float_to_i64(x); }
};
template <class From>
__device__ inline u64 float_to_u64(From x) {
  if (x >= (From)18446744073709551616.0) return 0xffffffffffffffffull;
  return x >= (From)9223372036854775808.0 ? (u64)x : (u64)float_to_i64(x);
}
template <>
struct Convert<u64, float> {
  static __device__ u64 apply(float x) { return float_to_u64(x); }
};
template <>
struct Convert<u64, double> {
  static __device__ u64 apply(double x) { return float_to_u64(x); }
};
template <class To, class From>
__device__ inline To convert(From x) {
  return Convert<To, From>::apply(x);
}

// --- reductions

struct Sum {
  template <class T>
  static __device__ T apply(T a, T b) {
    return op_add(a, b);
  }
};
struct Product {
  template <class T>
  static __device__ T apply(T a, T b) {
    return op_mul(a, b);
  }
};
struct Max {
  template <class T>
  static __device__ T apply(T a, T b) {
    return op_max(a, b);
  }
};
struct Min {
  template <class T>
  static __device__ T apply(T a, T b) {
    return op_min(a, b);
  }
};

// A candidate of argmax or argmin: NaN beats every number, the smaller index wins ties, or the
// larger one if kLast. Index -1: none.
template <class T>
struct Candidate {
  T value;
  i64 index;
};
template <bool kMax, bool kLast>
struct Best {
  template <class T>
  static __device__ Candidate<T> apply(Candidate<T> a, Candidate<T> b) {
    if (a.index < 0) return b;
    if (b.index < 0) return a;
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan ? a : b;
    if (!a_nan && a.value != b.value) return (a.value > b.value) == kMax ? a : b;
    return (a.index < b.index) != kLast ? a : b;
  }
};

template <class T>
__device__ inline T shuffle(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
template <class T>
__device__ inline Candidate<T> shuffle(Candidate<T> x, int mask) {
  return {shuffle(x.value, mask), shuffle(x.index, mask)};
}

// Rows: kThreads neighbouring threads (a part of a warp, a warp, or the block) share one.
template <int kThreads>
__device__ inline int lane_of() {
  return (int)threadIdx.x % kThreads;
}
template <int kThreads>
__device__ inline i64 first_row() {
  return (i64)blockIdx.x * (blockDim.x / kThreads) + threadIdx.x / kThreads;
}
template <int kThreads>
__device__ inline index row_step() {
  return (index)gridDim.x * (index)(blockDim.x / kThreads);
}
// Rows rounded up so that the threads of a warp leave the loop together.
template <int kThreads>
__device__ inline index row_limit(index rows) {
  constexpr int kRows = 32 / kThreads;
  return (rows + kRows - 1) / kRows * kRows;
}
// The combination of the values of a row's threads, given to each of them. All threads of a warp
// call it.
template <class Combine, int kThreads, class T>
__device__ T row_reduce(T x) {
  UNROLL for (int mask = kThreads < 32 ? kThreads / 2 : 16; mask; mask /= 2) x =
      Combine::apply(x, shuffle(x, mask));
  if constexpr (kThreads > 32) {
    __shared__ T partial[kThreads / 32];
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = x;
    __syncthreads();
    x = partial[0];
    UNROLL for (int i = 1; i < kThreads / 32; ++i) x = Combine::apply(x, partial[i]);
  }
  return x;
}

// Columns: threads side by side have one each (several, as lanes), those above each other
// (threadIdx.y, and the blocks of a cluster) share it in slices.
__device__ inline i64 first_column() {
  return (i64)cluster_of(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline index column_step() { return (index)cluster_of(gridDim.x) * (index)blockDim.x; }
// Columns rounded up so that the threads of a block leave the loop together.
__device__ inline index column_limit(index columns) {
  return (columns + (index)blockDim.x - 1) / (index)blockDim.x * (index)blockDim.x;
}
__device__ inline index first_slice() { return (index)(threadIdx.y + blockDim.y * cluster_rank()); }
__device__ inline index slice_step() { return (index)(blockDim.y * cluster_size()); }

// The combination of the slices' values, given to each of them. All threads of the block call it:
// up to 256, or 1024 with 8 columns side by side or fewer. Columns side by side are a power of two.
template <class Combine, class T, int kCount>
__device__ void column_reduce(T (&x)[kCount]) {
  const int columns = blockDim.x, slices = blockDim.y, blocks = cluster_size();
  if (slices * blocks == 1) return;
  for (int mask = 16; mask >= columns; mask /= 2)
    UNROLL for (int j = 0; j < kCount; ++j) x[j] = Combine::apply(x[j], shuffle(x[j], mask));
  // Slices of one warp are one now.
  __shared__ T partial[kCount * 256];
  const int together = columns < 32 ? 32 / columns : 1;
  const int parts = slices / together, self = threadIdx.y * columns + threadIdx.x;
  __syncthreads();
  if (threadIdx.y % together == 0)
    UNROLL for (int j = 0; j < kCount; ++j)
        partial[(threadIdx.y / together * kCount + j) * columns + threadIdx.x] = x[j];
  __syncthreads();
  for (int i = self; i < kCount * columns; i += columns * slices) {
    T all = partial[i];
    for (int part = 1; part < parts; ++part)
      all = Combine::apply(all, partial[part * kCount * columns + i]);
    partial[i] = all;
  }
  __syncthreads();
  const T* results = partial;
  if (blocks > 1) {
    __shared__ T totals[kCount * 32];
    cluster_sync();
    for (int i = self; i < kCount * columns; i += columns * slices) {
      T all = *in_block(partial + i, 0);
      for (int block = 1; block < blocks; ++block)
        all = Combine::apply(all, *in_block(partial + i, block));
      totals[i] = all;
    }
    cluster_sync();  // nobody changes or leaves what another still reads
    results = totals;
  }
  UNROLL for (int j = 0; j < kCount; ++j) x[j] = results[j * columns + threadIdx.x];
}
template <class Combine, class T>
__device__ inline void column_reduce(T& x) {
  T one[1] = {x};
  column_reduce<Combine>(one);
  x = one[0];
}

// --- the grid

__device__ inline i64 first_element() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline i64 grid_step() { return (i64)gridDim.x * blockDim.x; }

// Where element `at` of a line lies, of `inner` lines side by side with `extent` elements each.
__device__ inline index line_address(index line, index at, index extent, index inner) {
  const index outer = line / inner;
  return (outer * extent + at) * inner + (line - outer * inner);
}
