#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/gemm.cpp"
#include "hwy/foreach_target.h"
//
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/finish-inl.h"
#include "backend/cpu/kernels/gemm_parts.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <Activation activation>
void finish_rows(const GemmTile& tile, const float* product, int64_t stride) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  const int64_t whole = tile.cols / lanes * lanes;
  const MF rest = hn::FirstN(f32_tag, size_t(tile.cols - whole));
  const auto load = [](const float* at) HWY_ATTR { return hn::LoadU(f32_tag, at); };
  const auto load_rest = [rest](const float* at)
                             HWY_ATTR { return hn::MaskedLoad(rest, f32_tag, at); };
  for (int64_t r = 0; r < tile.rows; ++r) {
    float* c = tile.c + r * tile.c_stride;
    const float* row = product + r * stride;
    for (int64_t j = 0; j < whole; j += lanes)
      hn::StoreU(finish_vector<activation>(load(row + j), tile, r, j, load), f32_tag, c + j);
    if (whole < tile.cols)
      hn::BlendedStore(finish_vector<activation>(load_rest(row + whole), tile, r, whole, load_rest),
                       rest, f32_tag, c + whole);
  }
}

void finish(const GemmTile& tile, const float* product, int64_t stride) {
  const Activation activation = tile.epilogue ? tile.epilogue->activation : Activation::none;
  visit(activation, [&]<Activation kind>() { finish_rows<kind>(tile, product, stride); });
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(finish);
void finish_tile(const GemmTile& tile, const float* product, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(finish)(tile, product, stride);
}
}  // namespace onrush::cpu
#endif
