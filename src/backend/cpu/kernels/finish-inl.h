// What a GemmEpilogue does to a vector of the product.
#if defined(ONRUSH_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_FINISH_INL_H_
#undef ONRUSH_FINISH_INL_H_
#else
#define ONRUSH_FINISH_INL_H_
#endif

#include "backend/cpu/kernels/access-inl.h"
#include "backend/cpu/kernels/activation_f32-inl.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/kernels/min_max-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// One vector of one row. kRough: for a result of bf16.
template <Activation activation, class Access, bool kRough = false>
HWY_INLINE VF finish_vector(VF v, const GemmTile& tile, int64_t row, int64_t column,
                            Access access) {
  if (tile.accumulate)
    v = hn::Add(v, access.load(static_cast<const float*>(tile.c) + row * tile.c_stride + column));
  if (!tile.epilogue) return v;
  const GemmEpilogue& epilogue = *tile.epilogue;
  if (epilogue.bias) v = hn::Add(v, access.load(epilogue.bias + column));
  if (epilogue.residual) {
    const int64_t at = row * epilogue.residual_stride + column;
    if (epilogue.residual_dtype == DType::f32)
      v = hn::Add(v, access.load(static_cast<const float*>(epilogue.residual) + at));
    else v = hn::Add(v, access.load(static_cast<const uint16_t*>(epilogue.residual) + at));
  }
  if constexpr (activation == Activation::none) return clamp(v, epilogue.low, epilogue.high);
  else return kRough ? roughly_activate<activation>(v) : activate<activation>(v);
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
