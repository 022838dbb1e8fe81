#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/binary_f32.cpp"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/look_up.h"
#include "backend/cpu/kernels/math_f32-inl.h"
#if HWY_TARGET != HWY_SCALAR
#include "backend/cpu/kernels/power_f32-inl.h"
#endif

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

struct Array {
  const float* at;
  HWY_INLINE VF load(size_t i) const { return hn::LoadU(f32_tag, at + i); }
  HWY_INLINE VF load(size_t i, MF mask) const { return hn::MaskedLoad(mask, f32_tag, at + i); }
};
struct One {
  explicit One(const float* at) : value(splat(*at)) {}
  VF value;
  HWY_INLINE VF load(size_t) const { return value; }
  HWY_INLINE VF load(size_t, MF) const { return value; }
};

HWY_INLINE void store(VF v, float* out) { hn::StoreU(v, f32_tag, out); }
HWY_INLINE void store(VF v, MF mask, float* out) { hn::BlendedStore(v, mask, f32_tag, out); }
// Of a comparison: 0 or 1.
HWY_INLINE VI truth(MF m) {
  return hn::IfThenElseZero(hn::RebindMask(i32_tag, m), splat(int32_t{1}));
}
HWY_INLINE void store(MF m, int32_t* out) { hn::StoreU(truth(m), i32_tag, out); }
HWY_INLINE void store(MF m, MF mask, int32_t* out) {
  hn::BlendedStore(truth(m), hn::RebindMask(i32_tag, mask), i32_tag, out);
}

template <class Out, class A, class B, auto f>
void zip_f32(void* out_v, const void* a_v, const void* b_v, size_t n) {
  auto* out = static_cast<Out*>(out_v);
  const A a{static_cast<const float*>(a_v)};
  const B b{static_cast<const float*>(b_v)};
  const size_t lanes = hn::Lanes(f32_tag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) store(f(a.load(i), b.load(i)), out + i);
  if (i == n) return;
  const MF rest = hn::FirstN(f32_tag, n - i);
  store(f(a.load(i, rest), b.load(i, rest)), rest, out + i);
}

template <class A, class B>
BinaryKernel simple_binary(Op op) {
  switch (op) {
    case Op::add: return zip_f32<float, A, B, [](VF a, VF b) { return hn::Add(a, b); }>;
    case Op::sub: return zip_f32<float, A, B, [](VF a, VF b) { return hn::Sub(a, b); }>;
    case Op::mul: return zip_f32<float, A, B, [](VF a, VF b) { return hn::Mul(a, b); }>;
    case Op::div: return zip_f32<float, A, B, [](VF a, VF b) { return hn::Div(a, b); }>;
    case Op::min: return zip_f32<float, A, B, nan_or_min<VF>>;
    case Op::max: return zip_f32<float, A, B, nan_or_max<VF>>;
    case Op::equal: return zip_f32<int32_t, A, B, [](VF a, VF b) { return hn::Eq(a, b); }>;
    case Op::less: return zip_f32<int32_t, A, B, [](VF a, VF b) { return hn::Lt(a, b); }>;
    case Op::less_equal: return zip_f32<int32_t, A, B, [](VF a, VF b) { return hn::Le(a, b); }>;
    default: return nullptr;
  }
}

#if HWY_TARGET == HWY_SCALAR
// The C library serves better than vectors of one lane.
template <class A, class B>
BinaryKernel involved_binary(Op) {
  return nullptr;
}
#else
// The exponents of models, without a logarithm. Infinity and zero follow from the arithmetic but
// for a root of -infinity and the sign of a root of -0.
template <auto f>
HWY_INLINE void map_power(float* out, const float* a, float exponent, size_t n) {
  zip_f32<float, Array, One, f>(out, a, &exponent, n);
}
HWY_INLINE VF root(VF x) {
  const VF positive = hn::Sqrt(hn::Add(x, hn::Zero(f32_tag)));
  return hn::IfThenElse(hn::Eq(x, hn::Neg(hn::Inf(f32_tag))), hn::Inf(f32_tag), positive);
}

void pow_splat_exponent(void* out_v, const void* a_v, const void* b_v, size_t n) {
  auto* out = static_cast<float*>(out_v);
  auto* a = static_cast<const float*>(a_v);
  const float y = *static_cast<const float*>(b_v);
  if (y == 2) return map_power<[](VF x, VF) { return hn::Mul(x, x); }>(out, a, y, n);
  if (y == 3) return map_power<[](VF x, VF) { return hn::Mul(hn::Mul(x, x), x); }>(out, a, y, n);
  if (y == 1) return map_power<[](VF x, VF) { return x; }>(out, a, y, n);
  if (y == 0) return map_power<[](VF, VF) { return splat(1.0f); }>(out, a, y, n);
  if (y == -1) return map_power<[](VF x, VF) { return hn::Div(splat(1.0f), x); }>(out, a, y, n);
  if (y == 0.5f) return map_power<[](VF x, VF) { return root(x); }>(out, a, y, n);
  if (y == -0.5f)
    return map_power<[](VF x, VF) { return hn::Div(splat(1.0f), root(x)); }>(out, a, y, n);
  map_power<pow>(out, a, y, n);
}

template <class A, class B>
BinaryKernel involved_binary(Op op) {
  switch (op) {
    case Op::rem: return zip_f32<float, A, B, rem>;
    case Op::mod: return zip_f32<float, A, B, mod>;
    case Op::pow: return std::is_same_v<B, One> ? pow_splat_exponent : zip_f32<float, A, B, pow>;
    default: return nullptr;
  }
}
#endif

template <class A, class B>
BinaryKernel of_operands(Op op) {
  if (BinaryKernel kernel = simple_binary<A, B>(op)) return kernel;
  return involved_binary<A, B>(op);
}

BinaryKernel binary_f32(Op op, Splat splat) {
  switch (splat) {
    case Splat::none: return of_operands<Array, Array>(op);
    case Splat::a: return of_operands<One, Array>(op);
    case Splat::b: return of_operands<Array, One>(op);
  }
  return nullptr;
}

void multiply_add(float* out, const float* a, const float* b, const float* c, size_t n) {
  const size_t lanes = hn::Lanes(f32_tag);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    store(
        hn::MulAdd(hn::LoadU(f32_tag, a + i), hn::LoadU(f32_tag, b + i), hn::LoadU(f32_tag, c + i)),
        out + i);
  if (i == n) return;
  const MF rest = hn::FirstN(f32_tag, n - i);
  store(hn::MulAdd(hn::MaskedLoad(rest, f32_tag, a + i), hn::MaskedLoad(rest, f32_tag, b + i),
                   hn::MaskedLoad(rest, f32_tag, c + i)),
        rest, out + i);
}

MultiplyAddKernel multiply_add_f32() { return multiply_add; }

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(binary_f32);
HWY_EXPORT(multiply_add_f32);

BinaryKernel vector_binary_f32(Op op, Splat splat) {
  return HWY_DYNAMIC_DISPATCH(binary_f32)(op, splat);
}
MultiplyAddKernel multiply_add_kernel() { return HWY_DYNAMIC_DISPATCH(multiply_add_f32)(); }

}  // namespace onrush::cpu
#endif
