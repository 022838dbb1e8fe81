// The f32 functions of two vectors that need care: powers and remainders.
#if defined(ONRUSH_POWER_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_POWER_F32_INL_H_
#undef ONRUSH_POWER_F32_INL_H_
#else
#define ONRUSH_POWER_F32_INL_H_
#endif

#include <cmath>

#include "backend/cpu/kernels/math_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <class F>
HWY_NOINLINE VF each_lane(VF a, VF b, F scalar) {
  HWY_ALIGN float lanes[2][hn::MaxLanes(F32())];
  hn::Store(a, f32_tag, lanes[0]);
  hn::Store(b, f32_tag, lanes[1]);
  for (size_t i = 0; i < hn::Lanes(f32_tag); ++i) lanes[0][i] = scalar(lanes[0][i], lanes[1][i]);
  return hn::Load(f32_tag, lanes[0]);
}

// Half a vector's lanes, in f64.
using F64 = hn::Repartition<double, F32>;
using VD = hn::Vec<F64>;
inline constexpr F64 f64_tag;

template <class... Rest>
HWY_INLINE VD horner_f64(VD, VD sum) {
  return sum;
}
template <class... Rest>
HWY_INLINE VD horner_f64(VD x, VD sum, double next, Rest... rest) {
  return horner_f64(x, hn::MulAdd(sum, x, hn::Set(f64_tag, next)), rest...);
}

// log2(m * 2^e) for m in [2/3, 4/3), to 1e-12: the series of 2 * atanh((m - 1) / (m + 1)).
HWY_INLINE VD log2_f64(VD m, VD e) {
  const VD one = hn::Set(f64_tag, 1.0);
  const VD z = hn::Div(hn::Sub(m, one), hn::Add(m, one));
  const VD p = horner_f64(hn::Mul(z, z), hn::Set(f64_tag, 1.0 / 17), 1.0 / 15, 1.0 / 13, 1.0 / 11,
                          1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0);
  return hn::MulAdd(hn::Mul(z, p), hn::Set(f64_tag, 2 / 0.69314718055994531), e);
}

// 2^t to 1e-9 for |t| < 1000.
HWY_INLINE VD exp2_f64(VD t) {
  const VD magic = hn::Set(f64_tag, 6755399441055744.0);  // 1.5 * 2^52
  const VD sum = hn::Add(t, magic);
  const VD r = hn::Mul(hn::Sub(t, hn::Sub(sum, magic)), hn::Set(f64_tag, 0.69314718055994531));
  const VD p = horner_f64(r, hn::Set(f64_tag, 1.0 / 40320), 1.0 / 5040, 1.0 / 720, 1.0 / 120,
                          1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0);
  const hn::RebindToSigned<F64> bits;
  const auto exponent = hn::ShiftLeft<52>(hn::BitCast(bits, sum));
  return hn::BitCast(f64_tag, hn::Add(hn::BitCast(bits, p), exponent));
}

// x^y for positive finite x and finite y, each of half a vector: in f64, so that the exponent's
// error does not grow the result's.
template <class H>
HWY_INLINE H pow_half(H m, H e, H y) {
  const VD t = hn::Mul(hn::PromoteTo(f64_tag, y),
                       log2_f64(hn::PromoteTo(f64_tag, m), hn::PromoteTo(f64_tag, e)));
  const VD bounded = hn::Min(hn::Max(t, hn::Set(f64_tag, -300.0)), hn::Set(f64_tag, 300.0));
  return hn::DemoteTo(hn::Rebind<float, F64>(), exp2_f64(bounded));
}

// 1 ULP. Vectors with an infinity or NaN go to the C library.
HWY_INLINE VF pow(VF x, VF y) {
  const VF a = hn::Abs(x), infinity = hn::Inf(f32_tag), zero = hn::Zero(f32_tag);
  const MF common = hn::And(hn::Lt(a, infinity), hn::Lt(hn::Abs(y), infinity));
  if (HWY_UNLIKELY(!hn::AllTrue(f32_tag, common)))
    return each_lane(x, y, [](float v, float w) { return std::pow(v, w); });
  VF e;
  const VF m = split_exponent(a, e);
  const auto low = pow_half(hn::LowerHalf(m), hn::LowerHalf(e), hn::LowerHalf(y));
  const auto high = pow_half(hn::UpperHalf(hn::Half<F32>(), m), hn::UpperHalf(hn::Half<F32>(), e),
                             hn::UpperHalf(hn::Half<F32>(), y));
  const VF of_zero =
      hn::IfThenElse(hn::Gt(y, zero), zero, hn::IfThenElse(hn::Lt(y, zero), infinity, splat(1.0f)));
  const VF magnitude = hn::IfThenElse(hn::Eq(a, zero), of_zero, hn::Combine(f32_tag, high, low));
  // A negative base: an odd exponent keeps its sign, a fractional one has no real result.
  const VF half = hn::Mul(y, splat(0.5f));
  const MF integral = hn::Eq(y, hn::Round(y)), even = hn::Eq(half, hn::Round(half));
  const MF odd = hn::AndNot(even, integral);
  const VF sign = hn::And(x, hn::SignBit(f32_tag));
  const VF with_sign = hn::IfThenElse(odd, hn::Or(magnitude, sign), magnitude);
  return hn::IfThenElse(hn::AndNot(integral, hn::Lt(x, zero)), hn::NaN(f32_tag), with_sign);
}

// C's fmod. The quotient of what is in common range is right or one too large, and the remainder
// then exact.
HWY_INLINE VF rem(VF a, VF b) {
  const VF quotient = hn::Trunc(hn::Div(a, b));
  const VF magnitude = hn::Abs(b);
  const MF common =
      hn::And(hn::Lt(hn::Abs(quotient), splat(4194304.0f)),
              hn::And(hn::Lt(magnitude, hn::Inf(f32_tag)), hn::Gt(magnitude, splat(1e-30f))));
  if (HWY_UNLIKELY(!hn::AllTrue(f32_tag, common)))
    return each_lane(a, b, [](float v, float w) { return std::fmod(v, w); });
  const VF r = hn::NegMulAdd(quotient, b, a);
  const MF too_far = hn::Lt(hn::Mul(hn::CopySign(splat(1.0f), a), r), hn::Zero(f32_tag));
  return hn::CopySign(hn::IfThenElse(too_far, hn::Add(r, hn::CopySign(b, a)), r), a);
}

// Python's %: the remainder with the sign of the divisor.
HWY_INLINE VF mod(VF a, VF b) {
  const VF r = rem(a, b), zero = hn::Zero(f32_tag);
  const MF differ = hn::Xor(hn::Lt(r, zero), hn::Lt(b, zero));
  const VF moved = hn::IfThenElse(differ, hn::Add(r, b), r);
  return hn::IfThenElse(hn::Eq(r, zero), hn::CopySign(zero, b), moved);
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
