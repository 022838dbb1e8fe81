// The functions of activation.h on a vector.
#if defined(ONRUSH_ACTIVATION_F32_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_ACTIVATION_F32_INL_H_
#undef ONRUSH_ACTIVATION_F32_INL_H_
#else
#define ONRUSH_ACTIVATION_F32_INL_H_
#endif

#include "backend/cpu/kernels/activation.h"
#include "backend/cpu/kernels/math_f32-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// x / (1 + e^-x); 4 ULP where the result is no subnormal number.
HWY_INLINE VF silu(VF x) {
  if (HWY_TARGET == HWY_SCALAR) return hn::Mul(x, sigmoid(x));
  VF r;
  const Rounded n = reduce_by_ln2(clamp(hn::Neg(x), -87.0f, 88.0f), r);
  const VF p = exp_polynomial(r);
  // The exponent stays in range.
  const VF e = hn::BitCast(f32_tag, hn::Add(hn::BitCast(i32_tag, p), hn::ShiftLeft<23>(n.integer)));
  const VF d = hn::Add(splat(1.0f), e);
  const VF first = hn::ApproximateReciprocal(d);
  return hn::Mul(x, hn::MulAdd(first, hn::NegMulAdd(d, first, splat(1.0f)), first));
}

template <Activation activation>
HWY_INLINE VF activate(VF x) {
  if constexpr (activation == Activation::silu) {
    return silu(x);
  } else if constexpr (activation == Activation::hard_swish) {
    const VF gate = hn::MulAdd(x, splat(1.0f / 6), splat(0.5f));
    return hn::Mul(x, clamp(gate, 0.0f, 1.0f));
  } else if constexpr (activation == Activation::gelu) {
    const VF gate = hn::Add(erf(hn::Mul(x, splat(0.707106781f))), splat(1.0f));
    return hn::Mul(hn::Mul(x, splat(0.5f)), gate);
  } else if constexpr (activation == Activation::gelu_tanh) {
    const VF cube = hn::Mul(hn::Mul(x, x), x);
    const VF inner = hn::Mul(hn::MulAdd(cube, splat(0.044715f), x), splat(0.797884561f));
    return hn::Mul(hn::Mul(x, splat(0.5f)), hn::Add(tanh(inner), splat(1.0f)));
  } else {
    return x;
  }
}

// f.template operator()<activation>().
template <class F>
auto visit(Activation activation, F f) {
  switch (activation) {
    case Activation::none: break;
    case Activation::silu: return f.template operator()<Activation::silu>();
    case Activation::hard_swish: return f.template operator()<Activation::hard_swish>();
    case Activation::gelu: return f.template operator()<Activation::gelu>();
    case Activation::gelu_tanh: return f.template operator()<Activation::gelu_tanh>();
  }
  return f.template operator()<Activation::none>();
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
