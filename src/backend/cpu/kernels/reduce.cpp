#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/reduce.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>

#include "base/check.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/access-inl.h"
#include "backend/cpu/kernels/reduce-inl.h"
#include "backend/cpu/kernels/reduce.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

template <class Fold, class T>
void reduce(void* accumulator, const void* x, size_t n) {
  T& result = *static_cast<T*>(accumulator);
  result = Fold::combine(result, fold<Fold>(static_cast<const T*>(x), n));
}

template <class Fold, class T>
void accumulate(void* accumulators, const void* x_v, size_t n) {
  auto* sums = static_cast<T*>(accumulators);
  auto* x = static_cast<const T*>(x_v);
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i) sums[i] = Fold::combine(sums[i], x[i]);
}

// kVectors at i, which may be the first `n` elements of one.
template <class Fold, class Element, int kVectors, class Access>
HWY_INLINE void accumulate_rows_at(float* accumulators, const void* const* rows, size_t count,
                                   size_t i, Access access) {
  const size_t lanes = hn::Lanes(f32_tag);
  VF sum[kVectors];
  for (int v = 0; v < kVectors; ++v) sum[v] = access.load(accumulators + i + v * lanes);
  for (size_t r = 0; r < count; ++r) {
    const Element* row = static_cast<const Element*>(rows[r]) + i;
    for (int v = 0; v < kVectors; ++v)
      sum[v] = Fold::combine(f32_tag, sum[v], access.load(row + v * lanes));
  }
  for (int v = 0; v < kVectors; ++v) access.store(sum[v], accumulators + i + v * lanes);
}

template <class Fold, class Element>
void accumulate_rows(float* accumulators, const void* const* rows, size_t count, size_t n) {
  const size_t lanes = hn::Lanes(f32_tag);
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes)
    accumulate_rows_at<Fold, Element, 4>(accumulators, rows, count, i, WholeVector());
  for (; i + lanes <= n; i += lanes)
    accumulate_rows_at<Fold, Element, 1>(accumulators, rows, count, i, WholeVector());
  if (i < n)
    accumulate_rows_at<Fold, Element, 1>(accumulators, rows, count, i,
                                         PartOfVector(static_cast<int64_t>(n - i)));
}

template <class Fold>
AccumulateRowsKernel accumulate_rows_of_fold(DType dtype) {
  return dtype == DType::f32 ? accumulate_rows<Fold, float> : accumulate_rows<Fold, uint16_t>;
}

AccumulateRowsKernel accumulate_rows_of(ReduceKind kind, DType dtype) {
  switch (kind) {
    case ReduceKind::sum: return accumulate_rows_of_fold<Sum>(dtype);
    case ReduceKind::product: return accumulate_rows_of_fold<Product>(dtype);
    case ReduceKind::max: return accumulate_rows_of_fold<Max>(dtype);
    case ReduceKind::min: return accumulate_rows_of_fold<Min>(dtype);
    default: internal_error("argmax and argmin are not folds of one value");
  }
}

template <class Fold, class T>
void fill(void* accumulators, size_t n) {
  std::fill_n(static_cast<T*>(accumulators), n, Fold::template identity<T>());
}

struct Kernels {
  ReduceKernel reduce;
  AccumulateKernel accumulate;
};

template <class Fold>
Kernels of_fold(Compute type) {
  switch (type) {
    case Compute::f32: return {reduce<Fold, float>, accumulate<Fold, float>};
    case Compute::f64: return {reduce<Fold, double>, accumulate<Fold, double>};
    case Compute::i32: return {reduce<Fold, int32_t>, accumulate<Fold, int32_t>};
    case Compute::i64: return {reduce<Fold, int64_t>, accumulate<Fold, int64_t>};
    case Compute::u64: return {reduce<Fold, uint64_t>, accumulate<Fold, uint64_t>};
  }
  return {};
}

Kernels kernels_of(ReduceKind kind, Compute type) {
  switch (kind) {
    case ReduceKind::sum: return of_fold<Sum>(type);
    case ReduceKind::product: return of_fold<Product>(type);
    case ReduceKind::max: return of_fold<Max>(type);
    case ReduceKind::min: return of_fold<Min>(type);
    default: internal_error("argmax and argmin are not folds of one value");
  }
}

ReduceKernel reduce_of(ReduceKind kind, Compute type) { return kernels_of(kind, type).reduce; }
AccumulateKernel accumulate_of(ReduceKind kind, Compute type) {
  return kernels_of(kind, type).accumulate;
}

template <class Fold>
void fill_of_fold(Compute type, void* accumulators, size_t n) {
  switch (type) {
    case Compute::f32: return fill<Fold, float>(accumulators, n);
    case Compute::f64: return fill<Fold, double>(accumulators, n);
    case Compute::i32: return fill<Fold, int32_t>(accumulators, n);
    case Compute::i64: return fill<Fold, int64_t>(accumulators, n);
    case Compute::u64: return fill<Fold, uint64_t>(accumulators, n);
  }
}

void fill_of(ReduceKind kind, Compute type, void* accumulators, size_t n) {
  switch (kind) {
    case ReduceKind::sum: return fill_of_fold<Sum>(type, accumulators, n);
    case ReduceKind::product: return fill_of_fold<Product>(type, accumulators, n);
    case ReduceKind::max: return fill_of_fold<Max>(type, accumulators, n);
    case ReduceKind::min: return fill_of_fold<Min>(type, accumulators, n);
    default: internal_error("argmax and argmin have no identity");
  }
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(reduce_of);
HWY_EXPORT(accumulate_of);
HWY_EXPORT(accumulate_rows_of);
HWY_EXPORT(fill_of);

ReduceKernel reduce_kernel(ReduceKind kind, Compute type) {
  return HWY_DYNAMIC_DISPATCH(reduce_of)(kind, type);
}
AccumulateKernel accumulate_kernel(ReduceKind kind, Compute type) {
  return HWY_DYNAMIC_DISPATCH(accumulate_of)(kind, type);
}
AccumulateRowsKernel accumulate_rows_kernel(ReduceKind kind, DType dtype) {
  return HWY_DYNAMIC_DISPATCH(accumulate_rows_of)(kind, dtype);
}
void fill_identity(ReduceKind kind, Compute type, void* accumulators, size_t n) {
  HWY_DYNAMIC_DISPATCH(fill_of)(kind, type, accumulators, n);
}

}  // namespace onrush::cpu
#endif
