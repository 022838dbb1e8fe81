#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/unary_f32.cpp"
#include "hwy/foreach_target.h"
//
#include "hwy/contrib/math/math-inl.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/activation_f32-inl.h"
#include "backend/cpu/kernels/look_up.h"
#include "backend/cpu/kernels/math_f32-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <auto function>
void map_f32(void* out_v, const void* a_v, size_t n) {
  auto* out = static_cast<float*>(out_v);
  auto* a = static_cast<const float*>(a_v);
  const size_t lanes = hn::Lanes(f32_tag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    hn::StoreU(function(hn::LoadU(f32_tag, a + i)), f32_tag, out + i);
  if (i == n) return;
  const MF rest = hn::FirstN(f32_tag, n - i);
  hn::BlendedStore(function(hn::MaskedLoad(rest, f32_tag, a + i)), rest, f32_tag, out + i);
}

HWY_INLINE VF sign(VF x) {
  const VF zero = hn::Zero(f32_tag);
  const VF unit = hn::CopySign(splat(1.0f), x);
  return hn::IfThenElse(hn::Or(hn::Lt(x, zero), hn::Gt(x, zero)), unit, hn::Add(x, zero));
}

UnaryKernel simple_unary(Op op) {
  switch (op) {
    case Op::neg: return map_f32<[](VF x) { return hn::Neg(x); }>;
    case Op::abs: return map_f32<[](VF x) { return hn::Abs(x); }>;
    case Op::sign: return map_f32<sign>;
    case Op::ceil: return map_f32<[](VF x) { return hn::Ceil(x); }>;
    case Op::floor: return map_f32<[](VF x) { return hn::Floor(x); }>;
    case Op::round: return map_f32<[](VF x) { return hn::Round(x); }>;
    case Op::trunc: return map_f32<[](VF x) { return hn::Trunc(x); }>;
    case Op::sqrt: return map_f32<[](VF x) { return hn::Sqrt(x); }>;
    default: return nullptr;
  }
}

UnaryKernel transcendental(Op op) {
  switch (op) {
    case Op::exp: return map_f32<exp>;
    case Op::expm1: return map_f32<expm1>;
    case Op::log: return map_f32<log>;
    case Op::log1p: return map_f32<log1p>;
    case Op::sin: return map_f32<sin>;
    case Op::cos: return map_f32<cos>;
    case Op::tan: return map_f32<tan>;
    case Op::asin: return map_f32<[](VF x) { return hn::Asin(f32_tag, x); }>;
    case Op::acos: return map_f32<[](VF x) { return hn::Acos(f32_tag, x); }>;
    case Op::atan: return map_f32<[](VF x) { return hn::Atan(f32_tag, x); }>;
    case Op::sinh: return map_f32<sinh>;
    case Op::cosh: return map_f32<cosh>;
    case Op::tanh: return map_f32<tanh>;
    case Op::asinh: return map_f32<asinh>;
    case Op::acosh: return map_f32<acosh>;
    case Op::atanh: return map_f32<atanh>;
    case Op::erf: return map_f32<erf>;
    case Op::sigmoid: return map_f32<sigmoid>;
    default: return nullptr;
  }
}

// Null on the baseline, which the plain loops and the C library serve better.
UnaryKernel unary_f32(Op op) {
  if (HWY_TARGET == HWY_SCALAR) return nullptr;
  if (UnaryKernel kernel = simple_unary(op)) return kernel;
  return transcendental(op);
}

UnaryKernel activation_f32(Activation activation) {
  return visit(activation,
               []<Activation kind>() -> UnaryKernel { return map_f32<activate<kind>>; });
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(unary_f32);
HWY_EXPORT(activation_f32);
UnaryKernel vector_unary_f32(Op op) { return HWY_DYNAMIC_DISPATCH(unary_f32)(op); }
UnaryKernel activation_kernel(Activation activation) {
  if (activation == Activation::none) return nullptr;
  return HWY_DYNAMIC_DISPATCH(activation_f32)(activation);
}
}  // namespace onrush::cpu
#endif
