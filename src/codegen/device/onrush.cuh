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

// The sizes a kernel is launched with.
template <int kCount>
struct Sizes {
  i64 v[kCount];
};

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
__device__ inline float to_float(bf16 x) { return as_float((u32)x.bits << 16); }
__device__ inline bf16 to_bf16(float x) {
  const u32 bits = as_bits(x);
  bf16 r;
  r.bits = (bits & 0x7fffffff) > 0x7f800000 ? (u16)((bits >> 16) | 0x40)
                                            : (u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
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
  const int code = load_packed<4, false>(p, at);
  const int exponent = code >> 1 & 3;
  const float value = exponent ? ldexpf(1.0f + 0.5f * (code & 1), exponent - 1) : 0.5f * (code & 1);
  return code & 8 ? -value : value;
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

template <class T>
__device__ inline T shuffle_down(T x, int offset) {
  return __shfl_down_sync(0xffffffffu, x, offset);
}

// The combination of every thread's value, given to all threads of the block; all must call. A
// block has whole warps.
template <class Combine, class T>
__device__ T block_reduce(T x) {
  __shared__ T partial[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int offset = 16; offset; offset /= 2) x = Combine::apply(x, shuffle_down(x, offset));
  __syncthreads();
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  T result = partial[0];
  for (int i = 1; i < warps; ++i) result = Combine::apply(result, partial[i]);
  return result;
}

// A candidate of argmax or argmin: NaN beats every number, the smaller index wins ties, or the
// larger one if kLast. Index -1: none.
template <class T>
struct Candidate {
  T value;
  i64 index;
};
template <bool kMax, bool kLast, class T>
__device__ inline Candidate<T> better(Candidate<T> a, Candidate<T> b) {
  if (a.index < 0) return b;
  if (b.index < 0) return a;
  const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
  if (a_nan != b_nan) return a_nan ? a : b;
  if (!a_nan && a.value != b.value) return (a.value > b.value) == kMax ? a : b;
  return (a.index < b.index) != kLast ? a : b;
}
template <bool kMax, bool kLast, class T>
__device__ Candidate<T> block_best(Candidate<T> x) {
  __shared__ Candidate<T> partial[32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int offset = 16; offset; offset /= 2)
    x = better<kMax, kLast>(
        x, Candidate<T>{shuffle_down(x.value, offset), shuffle_down(x.index, offset)});
  __syncthreads();
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  Candidate<T> result = partial[0];
  for (int i = 1; i < warps; ++i) result = better<kMax, kLast>(result, partial[i]);
  return result;
}

// --- the grid

__device__ inline i64 first_element() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline i64 grid_step() { return (i64)gridDim.x * blockDim.x; }
