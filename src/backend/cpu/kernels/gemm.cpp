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

// Element: of C.
template <Activation activation, class Element>
void finish_rows(const GemmTile& tile, const float* product, int64_t stride) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  const int64_t whole = tile.cols / lanes * lanes;
  const WholeVector access;
  const PartOfVector rest(tile.cols - whole);
  constexpr bool kRough = sizeof(Element) == 2;
  for (int64_t r = 0; r < tile.rows; ++r) {
    Element* c = static_cast<Element*>(tile.c) + r * tile.c_stride;
    const float* row = product + r * stride;
    for (int64_t j = 0; j < whole; j += lanes)
      access.store(
          finish_vector<activation, WholeVector, kRough>(access.load(row + j), tile, r, j, access),
          c + j);
    if (whole < tile.cols)
      rest.store(finish_vector<activation, PartOfVector, kRough>(rest.load(row + whole), tile, r,
                                                                 whole, rest),
                 c + whole);
  }
}

void finish(const GemmTile& tile, const void* product_v, int64_t stride) {
  const auto* product = static_cast<const float*>(product_v);
  const Activation activation = tile.epilogue ? tile.epilogue->activation : Activation::none;
  visit(activation, [&]<Activation kind>() {
    if (tile.c_dtype == DType::f32) finish_rows<kind, float>(tile, product, stride);
    else finish_rows<kind, uint16_t>(tile, product, stride);
  });
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(finish);
void finish_tile(const GemmTile& tile, const void* product, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(finish)(tile, product, stride);
}
}  // namespace onrush::cpu
#endif
