// The number formats that tiles are computed in. A tile is a dense array of one of them.
#pragma once

#include <cstddef>
#include <cstdint>

#include <onrush/dtype.h>

namespace onrush::cpu {

enum class Compute : uint8_t { f32, f64, i32, i64, u64 };
inline constexpr int kComputeCount = 5;

// f64, i64 and u64 compute in themselves, u32 in i64, every other integer and boolean (as 0 or 1)
// in i32, every other float in f32. Strings and complex numbers have none: an internal error.
Compute compute_of(DType dtype);

constexpr size_t size_of(Compute type) {
  return type == Compute::f32 || type == Compute::i32 ? 4 : 8;
}

}  // namespace onrush::cpu
