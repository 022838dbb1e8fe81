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

// x / (1 + 2^t), where t = -x / ln(2) = n + f. 6 ULP from -15 on, 22 below, where it is next to 0;
// the last factor's subnormal numbers count as zero.
HWY_INLINE VF silu(VF x) {
  if (HWY_TARGET == HWY_SCALAR) return hn::Mul(x, sigmoid(x));
  const VF factor = splat(-1.44269504f);
  // 1.5 * 2^23, and the bias of exponents: the sum's low bits are the exponent of 2^n.
  const VF magic = splat(12582912.0f + 127.0f);
  const VF limited = clamp(x, -88.0f, 87.0f);
  const VF sum = hn::MulAdd(limited, factor, magic);
  const VF f = hn::MulSub(limited, factor, hn::Sub(sum, magic));
  const VF p = polynomial(f, 1.32708973e-3f, 9.67136119e-3f, 5.55070788e-2f, 2.40222454e-1f,
                          6.93147004e-1f, 1.0f);
  const VF power = hn::BitCast(f32_tag, hn::ShiftLeft<23>(hn::BitCast(i32_tag, sum)));
  const VF d = hn::MulAdd(p, power, splat(1.0f));
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

// x / (1 + 2^t), within 2^-12 of it; t is anything.
HWY_INLINE VF rough_gated(VF x, VF t) {
  const VF magic = splat(12582912.0f + 127.0f);  // as in silu
  const VF limited = clamp(t, -126.0f, 126.0f);
  const VF sum = hn::Add(limited, magic);
  const VF f = hn::Sub(limited, hn::Sub(sum, magic));
  const VF p = polynomial(f, 5.51716e-2f, 2.4261112e-1f, 6.93261e-1f, 9.9992807e-1f);
  const VF power = hn::BitCast(f32_tag, hn::ShiftLeft<23>(hn::BitCast(i32_tag, sum)));
  return hn::Mul(x, hn::ApproximateReciprocal(hn::MulAdd(p, power, splat(1.0f))));
}

// For results that are rounded to bf16: within 1.4e-3 where they are not next to 0.
template <Activation activation>
HWY_INLINE VF roughly_activate(VF x) {
  const VF square = hn::Mul(x, x);
  if constexpr (activation == Activation::silu) {
    return rough_gated(x, hn::Mul(x, splat(-1.44269504f)));
  } else if constexpr (activation == Activation::gelu) {
    // The logarithm of the odds that a normal variable is above x.
    const VF q = polynomial(square, -1.30308372e-5f, 1.423528e-3f, -1.09396584e-1f, -2.2976469f);
    return rough_gated(x, hn::Mul(x, q));
  } else if constexpr (activation == Activation::gelu_tanh) {
    // (1 + tanh(y)) / 2 = 1 / (1 + e^-2y)
    const VF q = hn::MulAdd(square, splat(-1.02943240e-1f), splat(-2.30220818f));
    return rough_gated(x, hn::Mul(x, q));
  } else {
    return activate<activation>(x);
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
