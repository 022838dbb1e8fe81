#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/integer_epilogue.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/access-inl.h"
#include "backend/cpu/kernels/activation_f32-inl.h"
#include "backend/cpu/kernels/integer_epilogue.h"
#include "backend/cpu/kernels/min_max-inl.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using VI = hn::Vec<decltype(i32_tag)>;

template <class Access>
HWY_INLINE VF load_any(const void* base, int64_t at, DType dtype, Access access) {
  switch (dtype) {
    case DType::u8: return access.load(static_cast<const uint8_t*>(base) + at);
    case DType::i8: return access.load(static_cast<const int8_t*>(base) + at);
    case DType::bf16: return access.load(static_cast<const uint16_t*>(base) + at);
    default: return access.load(static_cast<const float*>(base) + at);
  }
}
template <class Access>
HWY_INLINE void store_any(VF v, void* base, int64_t at, DType dtype, Access access) {
  switch (dtype) {
    case DType::u8: return access.store(v, static_cast<uint8_t*>(base) + at);
    case DType::i8: return access.store(v, static_cast<int8_t*>(base) + at);
    default: return access.store(v, static_cast<float*>(base) + at);  // i32: its bits
  }
}

// x / scale as division rounds it, from its rounded reciprocal.
HWY_INLINE VF divide(VF x, VF scale, VF reciprocal) {
  if constexpr (HWY_NATIVE_FMA) {
    const VF q = hn::Mul(x, reciprocal);
    return hn::MulAdd(hn::NegMulAdd(q, scale, x), reciprocal, q);
  } else {
    return hn::Div(x, scale);
  }
}

HWY_INLINE VF as_f32(VI v) { return hn::BitCast(f32_tag, v); }
HWY_INLINE VI as_i32(VF v) { return hn::BitCast(i32_tag, v); }

// kRows rows of kVectors vectors from column `c` on, of which the last may be a part.
template <int kRows, int kVectors, class Access>
HWY_INLINE void finish_block(const IntegerRows& t, int64_t row, int64_t c, Access access) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  VF x[kRows][kVectors];
  const auto each = [&](auto f) HWY_ATTR {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) x[r][v] = f(x[r][v], r, v);
  };
  each([&](VF, int r, int v) HWY_ATTR {
    return as_f32(hn::LoadU(i32_tag, t.product + (row + r) * t.product_stride + c + v * lanes));
  });
  for (const IntegerStage& s : t.stages) {
    const auto column = [&](int v) HWY_ATTR {
      return hn::LoadU(f32_tag, static_cast<const float*>(s.columns) + c + v * lanes);
    };
    const auto row_at = [&](int r) { return (t.first_row + row + r) * s.row_stride; };
    switch (s.kind) {
      case IntegerStage::Kind::add_columns_i32:
        each([&](VF a, int, int v)
                 HWY_ATTR { return as_f32(hn::Add(as_i32(a), as_i32(column(v)))); });
        break;
      case IntegerStage::Kind::subtract_outer_i32:
        each([&](VF a, int r, int v) HWY_ATTR {
          const VI factor = hn::Set(i32_tag, static_cast<const int32_t*>(s.rows)[row_at(r)]);
          return as_f32(hn::Sub(as_i32(a), hn::Mul(as_i32(column(v)), factor)));
        });
        break;
      case IntegerStage::Kind::to_f32:
        each([&](VF a, int, int) HWY_ATTR { return hn::ConvertTo(f32_tag, as_i32(a)); });
        break;
      case IntegerStage::Kind::add_columns:
        each([&](VF a, int, int v) HWY_ATTR { return hn::Add(a, column(v)); });
        break;
      case IntegerStage::Kind::subtract_columns:
        each([&](VF a, int, int v) HWY_ATTR { return hn::Sub(a, column(v)); });
        break;
      case IntegerStage::Kind::multiply_columns:
        each([&](VF a, int, int v) HWY_ATTR { return hn::Mul(a, column(v)); });
        break;
      case IntegerStage::Kind::multiply_rows:
        each([&](VF a, int r, int) HWY_ATTR {
          return hn::Mul(a, splat(static_cast<const float*>(s.rows)[row_at(r)]));
        });
        break;
      case IntegerStage::Kind::minimum:
        each([&](VF a, int, int) HWY_ATTR { return min_or_second(splat(s.high), a); });
        break;
      case IntegerStage::Kind::maximum:
        each([&](VF a, int, int) HWY_ATTR { return max_or_second(splat(s.low), a); });
        break;
      case IntegerStage::Kind::quantise: {
        const VF scale = splat(s.scale), reciprocal = splat(s.reciprocal), zero = splat(s.zero);
        const VF low = splat(s.low), high = splat(s.high);
        each([&](VF a, int, int) HWY_ATTR {
          const VF limited = min_or_second(high, max_or_second(low, a));
          return hn::Add(hn::Round(divide(limited, scale, reciprocal)), zero);
        });
        break;
      }
      case IntegerStage::Kind::dequantise:
        each([&](VF a, int, int)
                 HWY_ATTR { return hn::Mul(hn::Sub(a, splat(s.zero)), splat(s.scale)); });
        break;
      case IntegerStage::Kind::add_all:
        each([&](VF a, int r, int v) HWY_ATTR {
          const VF all = load_any(s.all, row_at(r) + c + v * lanes, s.dtype, access);
          return hn::Add(a, hn::Mul(hn::Sub(all, splat(s.zero)), splat(s.scale)));
        });
        break;
      case IntegerStage::Kind::look_up:
        each([&](VF a, int, int) HWY_ATTR {
          // What lies beyond the columns is anything.
          const VI index =
              hn::And(hn::ConvertTo(i32_tag, hn::Sub(a, splat(s.zero))), hn::Set(i32_tag, 255));
          return hn::GatherIndex(f32_tag, static_cast<const float*>(s.columns), index);
        });
        break;
      case IntegerStage::Kind::activate:
        visit(s.activation, [&]<Activation kind>() HWY_ATTR {
          each([&](VF a, int, int) HWY_ATTR { return activate<kind>(a); });
        });
        break;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v)
      store_any(x[r][v], t.out, (row + r) * t.out_stride + c + v * lanes, t.dtype, access);
}

template <int kVectors, class Access>
HWY_INLINE void finish_columns(const IntegerRows& t, int64_t c, Access access) {
  int64_t row = 0;
  for (; row + 4 <= t.rows; row += 4) finish_block<4, kVectors>(t, row, c, access);
  for (; row < t.rows; ++row) finish_block<1, kVectors>(t, row, c, access);
}

void finish(const IntegerRows& t) {
  const auto lanes = int64_t(hn::Lanes(f32_tag));
  int64_t c = 0;
  for (; c + 2 * lanes <= t.columns; c += 2 * lanes) finish_columns<2>(t, c, WholeVector());
  for (; c + lanes <= t.columns; c += lanes) finish_columns<1>(t, c, WholeVector());
  if (c < t.columns) finish_columns<1>(t, c, PartOfVector(t.columns - c));
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(finish);
void finish_integers(const IntegerRows& rows) { HWY_DYNAMIC_DISPATCH(finish)(rows); }
}  // namespace onrush::cpu
#endif
