// What a GemmEpilogue does to a vector of the product.
#if defined(ONRUSH_FINISH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ONRUSH_FINISH_INL_H_
#undef ONRUSH_FINISH_INL_H_
#else
#define ONRUSH_FINISH_INL_H_
#endif

#include "backend/cpu/kernels/activation_f32-inl.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/kernels/min_max-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// One vector of one row; `load` reads the vector at an address.
template <Activation activation, class Load>
HWY_INLINE VF finish_vector(VF v, const GemmTile& tile, int64_t row, int64_t column, Load load) {
  if (tile.accumulate) v = hn::Add(v, load(tile.c + row * tile.c_stride + column));
  if (!tile.epilogue) return v;
  const GemmEpilogue& epilogue = *tile.epilogue;
  if (epilogue.bias) v = hn::Add(v, load(epilogue.bias + column));
  if (epilogue.residual)
    v = hn::Add(v, load(epilogue.residual + row * epilogue.residual_stride + column));
  if constexpr (activation == Activation::none) return clamp(v, epilogue.low, epilogue.high);
  else return activate<activation>(v);
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
