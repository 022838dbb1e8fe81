#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/reduce_arg.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>

#include "base/check.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/reduce-inl.h"
#include "backend/cpu/kernels/reduce.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// Whether a comes before b; NaN beats every number and ties with NaN. Without branches.
template <class Fold, class T>
bool beats(T a, T b) {
  const bool ahead = std::is_same_v<Fold, Max> ? a > b : a < b;
  return ahead | ((a != a) & (b == b));
}

template <class T>
bool matches(T x, T best) {
  return (x == best) | ((x != x) & (best != best));
}

// The first or last place of `best`, which occurs.
template <bool kLast, class T>
size_t find(const T* x, size_t n, T best) {
  constexpr size_t kChunk = 64;  // looked through by vectors before single elements are
  for (size_t done = 0; done < n; done += kChunk) {
    const size_t count = std::min(kChunk, n - done);
    const size_t begin = kLast ? n - done - count : done;
    bool found = false;
    for (size_t i = begin; i < begin + count; ++i) found |= matches(x[i], best);
    if (!found) continue;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = kLast ? begin + count - 1 - i : begin + i;
      if (matches(x[at], best)) return at;
    }
  }
  return 0;
}

template <class Fold, bool kLast, class T>
void reduce(void* value_v, int64_t* index, const void* x_v, int64_t first, size_t n) {
  if (n == 0) return;
  auto* x = static_cast<const T*>(x_v);
  T& value = *static_cast<T*>(value_v);
  const T best = fold<Fold>(x, n);
  const bool wins = *index < 0 || (kLast ? !beats<Fold>(value, best) : beats<Fold>(best, value));
  if (!wins) return;
  value = best;
  *index = first + static_cast<int64_t>(find<kLast>(x, n, best));
}

template <class Fold, bool kLast, class T>
void accumulate(void* values_v, int64_t* indices, const void* x_v, int64_t index, size_t n) {
  auto* values = static_cast<T*>(values_v);
  auto* x = static_cast<const T*>(x_v);
#pragma GCC ivdep
  for (size_t i = 0; i < n; ++i) {
    const T value = values[i], candidate = x[i];
    const int64_t held = indices[i];
    const bool wins =
        (held < 0) | (kLast ? !beats<Fold>(value, candidate) : beats<Fold>(candidate, value));
    values[i] = wins ? candidate : value;
    indices[i] = wins ? index : held;
  }
}

// Calls f.operator()<Fold, kLast, T>().
template <class F>
auto visit(ReduceKind kind, Compute type, bool last, F f) {
  const auto typed = [&]<class Fold, bool kLast>() {
    switch (type) {
      case Compute::f32: return f.template operator()<Fold, kLast, float>();
      case Compute::f64: return f.template operator()<Fold, kLast, double>();
      case Compute::i32: return f.template operator()<Fold, kLast, int32_t>();
      case Compute::i64: return f.template operator()<Fold, kLast, int64_t>();
      case Compute::u64: return f.template operator()<Fold, kLast, uint64_t>();
    }
    internal_error("no such compute type");
  };
  if (kind == ReduceKind::argmax)
    return last ? typed.template operator()<Max, true>() : typed.template operator()<Max, false>();
  return last ? typed.template operator()<Min, true>() : typed.template operator()<Min, false>();
}

ArgReduceKernel arg_reduce_of(ReduceKind kind, Compute type, bool last) {
  return visit(kind, type, last, []<class Fold, bool kLast, class T>() -> ArgReduceKernel {
    return reduce<Fold, kLast, T>;
  });
}
ArgAccumulateKernel arg_accumulate_of(ReduceKind kind, Compute type, bool last) {
  return visit(kind, type, last, []<class Fold, bool kLast, class T>() -> ArgAccumulateKernel {
    return accumulate<Fold, kLast, T>;
  });
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(arg_reduce_of);
HWY_EXPORT(arg_accumulate_of);

ArgReduceKernel arg_reduce_kernel(ReduceKind kind, Compute type, bool last) {
  return HWY_DYNAMIC_DISPATCH(arg_reduce_of)(kind, type, last);
}
ArgAccumulateKernel arg_accumulate_kernel(ReduceKind kind, Compute type, bool last) {
  return HWY_DYNAMIC_DISPATCH(arg_accumulate_of)(kind, type, last);
}

}  // namespace onrush::cpu
#endif
