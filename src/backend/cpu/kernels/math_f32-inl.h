// Elementary functions of one vector of f32.
//
// Included once per instruction set, see hwy/foreach_target.h. The functions want fused
// multiply-add: the reductions and most error bounds rest on it. Polynomials are minimax fits in
// single precision, after Norbert Juffa's published ones; bounds were measured on every 211th f32.
#if defined(ONRUSH_MATH_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_MATH_F32_INL_H_
#undef ONRUSH_MATH_F32_INL_H_
#else
#define ONRUSH_MATH_F32_INL_H_
#endif

#include <cmath>
#include <cstdint>

#include "backend/cpu/kernels/min_max-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using I32 = hn::RebindToSigned<F32>;
using VF = hn::Vec<F32>;
using VI = hn::Vec<I32>;
using MF = hn::Mask<F32>;
inline constexpr F32 f32_tag;
inline constexpr I32 i32_tag;

HWY_INLINE VF splat(float value) { return hn::Set(f32_tag, value); }
HWY_INLINE VI splat(int32_t value) { return hn::Set(i32_tag, value); }

// The last coefficient is the constant term.
HWY_INLINE VF horner(VF, VF sum) { return sum; }
template <class... Rest>
HWY_INLINE VF horner(VF x, VF sum, float next, Rest... rest) {
  return horner(x, hn::MulAdd(sum, x, splat(next)), rest...);
}
template <class... Rest>
HWY_INLINE VF polynomial(VF x, float first, Rest... rest) {
  return horner(x, splat(first), rest...);
}

HWY_INLINE VF clamp(VF x, float low, float high) { return clamp(x, splat(low), splat(high)); }

// Calls scalar(x) for each lane: the rare cases.
template <class F>
HWY_NOINLINE VF each_lane(VF x, F scalar) {
  HWY_ALIGN float lanes[hn::MaxLanes(F32())];
  hn::Store(x, f32_tag, lanes);
  for (float& lane : lanes) lane = scalar(lane);
  return hn::Load(f32_tag, lanes);
}

// 2^n for -127 < n < 128.
HWY_INLINE VF power_of_two(VI n) {
  return hn::BitCast(f32_tag, hn::ShiftLeft<23>(hn::Add(n, splat(127))));
}
// p * 2^n with one rounding, also where the result is subnormal or overflows; |n| < 250.
HWY_INLINE VF scale(VF p, VI n) {
  const VI half = hn::ShiftRight<1>(n);
  return hn::Mul(hn::Mul(p, power_of_two(half)), power_of_two(hn::Sub(n, half)));
}

// Nearest integer of x * factor, |.| < 2^22: as f32 and as i32.
struct Rounded {
  VF value;
  VI integer;
};
HWY_INLINE Rounded round_product(VF x, float factor) {
  const VF magic = splat(12582912.0f);  // 1.5 * 2^23: the sum's low mantissa bits are the integer
  const VF sum = hn::MulAdd(x, splat(factor), magic);
  return {hn::Sub(sum, magic), hn::Sub(hn::BitCast(i32_tag, sum), hn::BitCast(i32_tag, magic))};
}

// x = n * ln(2) + rest.
HWY_INLINE Rounded reduce_by_ln2(VF x, VF& rest) {
  const Rounded n = round_product(x, 1.44269504f);
  rest = hn::NegMulAdd(n.value, splat(0.693147182f), x);
  rest = hn::NegMulAdd(n.value, splat(-1.90465421e-9f), rest);
  return n;
}

// e^r for |r| <= ln(2) / 2.
HWY_INLINE VF exp_polynomial(VF r) {
  return polynomial(r, 1.37805939e-3f, 8.37312452e-3f, 4.16695364e-2f, 1.66664720e-1f,
                    4.99999851e-1f, 1.0f, 1.0f);
}
// e^x * 2^exponent; 1 ULP.
HWY_INLINE VF exp_scaled(VF x, int32_t exponent) {
  VF r;
  const Rounded n = reduce_by_ln2(clamp(x, -105.0f, 90.0f), r);
  return scale(exp_polynomial(r), hn::Add(n.integer, splat(exponent)));
}
HWY_INLINE VF exp(VF x) { return exp_scaled(x, 0); }

// e^r - 1 for |r| <= ln(2) / 2.
HWY_INLINE VF expm1_polynomial(VF r) {
  const VF q = polynomial(r, 1.98412698e-4f, 1.38888892e-3f, 8.33333377e-3f, 4.16666679e-2f,
                          1.66666672e-1f, 0.5f);
  return hn::MulAdd(hn::Mul(r, r), q, r);
}
// e^x - 1; 2 ULP.
HWY_INLINE VF expm1(VF x) {
  VF r;
  const Rounded n = reduce_by_ln2(clamp(x, -30.0f, 88.8f), r);
  const VF p = expm1_polynomial(r);
  // With half the power of two, which exists for all n here, and doubled at the end.
  const VF half = power_of_two(hn::Sub(n.integer, splat(1)));
  const VF y = hn::MulAdd(half, p, hn::Sub(half, splat(0.5f)));
  const VF result = hn::IfThenElse(hn::Eq(n.value, hn::Zero(f32_tag)), p, hn::Add(y, y));
  return hn::CopySign(result, x);
}

// x = m * 2^e with m in [2/3, 4/3), for positive finite x.
HWY_INLINE VF split_exponent(VF x, VF& e) {
  const MF tiny = hn::Lt(x, splat(1.17549435e-38f));
  const VF normal = hn::IfThenElse(tiny, hn::Mul(x, splat(8388608.0f)), x);
  const VI bits = hn::BitCast(i32_tag, normal);
  const VI exponent = hn::And(hn::Sub(bits, splat(0x3f2aaaab)), splat(int32_t(0xff800000)));
  e = hn::MulAdd(hn::ConvertTo(f32_tag, exponent), splat(1.1920929e-7f),
                 hn::IfThenElseZero(tiny, splat(-23.0f)));
  return hn::BitCast(f32_tag, hn::Sub(bits, exponent));
}

// log(1 + f) for f in [-1/3, 1/3].
HWY_INLINE VF log1p_polynomial(VF f) {
  const VF s = hn::Mul(f, f);
  const VF odd = polynomial(s, 0.140869141f, 0.139814854f, 0.200120345f);
  const VF even = polynomial(s, -0.130310059f, -0.121483512f, -0.166846126f, -0.249996200f);
  const VF r = horner(f, hn::MulAdd(odd, f, even), 0.333331972f, -0.5f);
  return hn::MulAdd(r, s, f);
}

// What a logarithm is for arguments at or beyond its pole, infinity and NaN.
HWY_INLINE VF log_special(VF result, VF x, VF pole) {
  const VF infinity = hn::Inf(f32_tag);
  result = hn::IfThenElse(hn::Lt(x, infinity), result, x);  // infinity, NaN
  result = hn::IfThenElse(hn::Eq(x, pole), hn::Neg(infinity), result);
  return hn::IfThenElse(hn::Lt(x, pole), hn::NaN(f32_tag), result);
}

// 1 ULP.
HWY_INLINE VF log(VF x) {
  VF e;
  const VF f = hn::Sub(split_exponent(x, e), splat(1.0f));
  return log_special(hn::MulAdd(e, splat(0.693147182f), log1p_polynomial(f)), x, hn::Zero(f32_tag));
}

// log(1 + x); 2 ULP. The sum's rounding error, divided by the sum, corrects its logarithm.
HWY_INLINE VF log1p(VF x) {
  const VF one = splat(1.0f);
  const VF u = hn::Add(x, one);
  const VF error =
      hn::IfThenElse(hn::Gt(x, one), hn::Sub(one, hn::Sub(u, x)), hn::Sub(x, hn::Sub(u, one)));
  VF e;
  const VF f = hn::Sub(split_exponent(u, e), one);
  const VF r = hn::Add(log1p_polynomial(f), hn::Div(error, u));
  const VF result = hn::MulAdd(e, splat(0.693147182f), r);
  return log_special(hn::IfThenElse(hn::Lt(hn::Abs(x), splat(1e-8f)), x, result), x, splat(-1.0f));
}

// The sine and cosine of r in [-pi/4, pi/4]; 1 ULP.
HWY_INLINE VF sin_polynomial(VF r) {
  const VF s = hn::Mul(r, r);
  const VF p = polynomial(s, 2.86567956e-6f, -1.98559923e-4f, 8.33338592e-3f, -1.66666672e-1f);
  return hn::MulAdd(p, hn::MulAdd(r, s, hn::Zero(f32_tag)), r);  // the 0 keeps sin(-0) = -0
}
HWY_INLINE VF cos_polynomial(VF r) {
  return polynomial(hn::Mul(r, r), 2.44677067e-5f, -1.38877297e-3f, 4.16666567e-2f, -0.5f, 1.0f);
}

// x = quadrant * pi/2 + rest (Cody and Waite), right for |x| up to kLargestAngle.
inline constexpr float kLargestAngle = 1e5f;
HWY_INLINE VI reduce_angle(VF x, VF& rest) {
  const Rounded n = round_product(x, 0.636619747f);
  rest = hn::NegMulAdd(n.value, splat(1.57079601f), x);
  rest = hn::NegMulAdd(n.value, splat(3.13916473e-7f), rest);
  rest = hn::NegMulAdd(n.value, splat(5.39030253e-15f), rest);
  return n.integer;
}
HWY_INLINE bool all_reducible(VF x) {
  return hn::AllTrue(f32_tag, hn::Le(hn::Abs(x), splat(kLargestAngle)));
}
HWY_INLINE MF has_bit(VI x, int32_t bit) {
  return hn::RebindMask(f32_tag, hn::TestBit(x, splat(bit)));
}
// sin(rest + quadrant * pi/2)
HWY_INLINE VF sin_in_quadrant(VI quadrant, VF rest) {
  const VF y = hn::IfThenElse(has_bit(quadrant, 1), cos_polynomial(rest), sin_polynomial(rest));
  const VI sign = hn::ShiftLeft<30>(hn::And(quadrant, splat(2)));
  return hn::Xor(y, hn::BitCast(f32_tag, sign));
}

// 2 ULP each.
HWY_INLINE VF sin(VF x) {
  if (HWY_UNLIKELY(!all_reducible(x))) return each_lane(x, [](float v) { return std::sin(v); });
  VF rest;
  const VI quadrant = reduce_angle(x, rest);
  return sin_in_quadrant(quadrant, rest);
}
HWY_INLINE VF cos(VF x) {
  if (HWY_UNLIKELY(!all_reducible(x))) return each_lane(x, [](float v) { return std::cos(v); });
  VF rest;
  const VI quadrant = reduce_angle(x, rest);
  return sin_in_quadrant(hn::Add(quadrant, splat(1)), rest);
}
// 3 ULP.
HWY_INLINE VF tan(VF x) {
  if (HWY_UNLIKELY(!all_reducible(x))) return each_lane(x, [](float v) { return std::tan(v); });
  VF rest;
  const VI quadrant = reduce_angle(x, rest);
  const VF s = sin_polynomial(rest), c = cos_polynomial(rest);
  const MF odd = has_bit(quadrant, 1);
  return hn::Div(hn::IfThenElse(odd, hn::Neg(c), s), hn::IfThenElse(odd, s, c));
}

// From e^|x| / 2, which does not overflow before the result does; 2 and 3 ULP.
HWY_INLINE VF cosh(VF x) {
  const VF half = exp_scaled(hn::Abs(x), -1);
  return hn::Add(half, hn::Div(splat(0.25f), half));
}
HWY_INLINE VF sinh(VF x) {
  const VF a = hn::Abs(x);
  const VF half = exp_scaled(a, -1);
  const VF large = hn::Sub(half, hn::Div(splat(0.25f), half));
  const VF t = expm1(a);
  const VF small = hn::Mul(splat(0.5f), hn::Add(t, hn::Div(t, hn::Add(t, splat(1.0f)))));
  return hn::CopySign(hn::IfThenElse(hn::Lt(a, splat(1.0f)), small, large), x);
}

// t / (t + 2) with t = e^(2|x|) - 1; 3 ULP.
HWY_INLINE VF tanh(VF x) {
  const VF a = min_or_second(splat(20.0f), hn::Add(hn::Abs(x), hn::Abs(x)));
  VF r;
  const Rounded n = reduce_by_ln2(a, r);
  const VF p = expm1_polynomial(r);
  const VF power = power_of_two(n.integer);
  const VF t = hn::MulAdd(power, p, hn::Sub(power, splat(1.0f)));
  return hn::CopySign(hn::Div(t, hn::Add(t, splat(2.0f))), x);
}

// a / b for b in [1, 2]; 2 ULP. Dividing units take several times as long.
HWY_INLINE VF divide_by_one_to_two(VF a, VF b) {
  if (hn::MaxLanes(F32()) == 1) return hn::Div(a, b);
  VF r = hn::ApproximateReciprocal(b);  // 14 bits with AVX-512, else 12
  r = hn::MulAdd(r, hn::NegMulAdd(b, r, splat(1.0f)), r);
  const VF q = hn::Mul(a, r);
  return hn::MulAdd(r, hn::NegMulAdd(b, q, a), q);
}

// 1 / (1 + e^-x) without overflow on either side; 3 ULP.
HWY_INLINE VF sigmoid(VF x) {
  const VF one = splat(1.0f);
  const VF e = exp(hn::Neg(hn::Abs(x)));
  const VF numerator = hn::IfThenElse(hn::Lt(x, hn::Zero(f32_tag)), e, one);
  return divide_by_one_to_two(numerator, hn::Add(one, e));
}

// 2 ULP.
HWY_INLINE VF asinh(VF x) {
  const VF a = hn::Abs(x), one = splat(1.0f);
  const VF root = hn::Sqrt(hn::MulAdd(a, a, one));
  const VF small = log1p(hn::Add(a, hn::Div(hn::Mul(a, a), hn::Add(one, root))));
  const VF large = hn::Add(log(a), splat(0.693147182f));
  return hn::CopySign(hn::IfThenElse(hn::Lt(a, splat(1e6f)), small, large), x);
}
// 2 ULP.
HWY_INLINE VF acosh(VF x) {
  const VF t = hn::Sub(x, splat(1.0f));
  const VF small = log1p(hn::Add(t, hn::Sqrt(hn::MulAdd(t, t, hn::Add(t, t)))));
  const VF large = hn::Add(log(x), splat(0.693147182f));
  const VF result = hn::IfThenElse(hn::Lt(x, splat(1e6f)), small, large);
  return hn::IfThenElse(hn::Lt(x, splat(1.0f)), hn::NaN(f32_tag), result);
}
// 3 ULP.
HWY_INLINE VF atanh(VF x) {
  const VF a = hn::Abs(x);
  const VF y = log1p(hn::Div(hn::Add(a, a), hn::Sub(splat(1.0f), a)));
  return hn::CopySign(hn::Mul(splat(0.5f), y), x);
}

// 1 ULP.
HWY_INLINE VF erf(VF x) {
  const VF t = min_or_second(splat(8.0f), hn::Abs(x));
  const VF s = hn::Mul(x, x);
  const VF small = hn::MulAdd(polynomial(s, -5.96761703e-4f, 4.99119423e-3f, -2.67681349e-2f,
                                         1.12819925e-1f, -3.76125336e-1f, 1.28379166e-1f),
                              x, x);
  const VF log_of_rest =
      polynomial(t, -1.72853470e-5f, 3.83197126e-4f, -3.88396438e-3f, 2.42546219e-2f,
                 -1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f);
  const VF rest = exp(hn::MulSub(log_of_rest, t, t));  // 1 - erf(t)
  const VF large = hn::CopySign(hn::Sub(splat(1.0f), rest), x);
  return hn::IfThenElse(hn::Gt(t, splat(0.927734375f)), large, small);
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
