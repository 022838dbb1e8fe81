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

template <Activation activation>
HWY_INLINE VF activate(VF x) {
  if constexpr (activation == Activation::silu) {
    return hn::Mul(x, sigmoid(x));
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
