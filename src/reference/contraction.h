// What dot and conv share: sums of products, and the matrix product they come down to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "reference/element.h"

namespace onrush::reference {

// Calls f.operator()<A>() with the type in which products of `dtype` are summed.
template <class F>
void visit_products(DType dtype, F&& f) {
  if (is_float(dtype)) f.template operator()<double>();
  else f.template operator()<uint64_t>();
}

// Sums of integers are signed when they become a float or a wider integer.
inline Tensor store_sums(DType dtype, Shape shape, const std::vector<double>& sums) {
  return make_tensor(dtype, std::move(shape), sums);
}
inline Tensor store_sums(DType dtype, Shape shape, const std::vector<uint64_t>& sums) {
  return make_tensor(dtype, std::move(shape), std::vector<int64_t>(sums.begin(), sums.end()));
}

// out[rows, columns] += lhs[rows, depth] * rhs[depth, columns], all dense and row-major; each
// element adds its products in ascending order of depth. A: double, or uint64_t for integers
// (modulo 2^64, which every narrower width agrees with).
template <class A>
void multiply_add(int64_t rows, int64_t depth, int64_t columns, const A* lhs, const A* rhs,
                  A* out) {
  constexpr int64_t kDepth = 64, kColumns = 256;  // a block of rhs stays in the L2 cache
  for (int64_t j0 = 0; j0 < columns; j0 += kColumns) {
    const int64_t width = std::min(kColumns, columns - j0);
    for (int64_t k0 = 0; k0 < depth; k0 += kDepth) {
      const int64_t k1 = std::min(k0 + kDepth, depth);
      for (int64_t i = 0; i < rows; ++i) {
        A* to = out + i * columns + j0;
        for (int64_t k = k0; k < k1; ++k) {
          const A a = lhs[i * depth + k];
          const A* b = rhs + k * columns + j0;
          for (int64_t j = 0; j < width; ++j) to[j] += a * b[j];
        }
      }
    }
  }
}

}  // namespace onrush::reference
