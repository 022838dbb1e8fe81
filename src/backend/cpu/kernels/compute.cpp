#include "backend/cpu/kernels/compute.h"

#include <fmt/format.h>

#include "base/check.h"

namespace onrush::cpu {

Compute compute_of(DType dtype) {
  switch (dtype) {
    case DType::f64: return Compute::f64;
    case DType::u32:
    case DType::i64: return Compute::i64;
    case DType::u64: return Compute::u64;
    default: break;
  }
  if (is_float(dtype)) return Compute::f32;
  if (is_integer(dtype) || dtype == DType::boolean) return Compute::i32;
  internal_error(fmt::format("{} has no arithmetic", name(dtype)));
}

}  // namespace onrush::cpu
