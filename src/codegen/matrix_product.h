// Contractions as what libraries of matrix products compute.
#pragma once

#include <optional>

#include "codegen/cuda_source.h"

namespace onrush {

// result = activation(scale * lhs rhs^T + addend + bias), for each element of the batch: lhs has m
// rows, rhs has n, both of k columns; result and addend are [m, n], bias is [n].
struct MatrixProduct {
  struct Matrix {
    NodeId node;  // not valid(): the packed copy of the right operand
    DType dtype;  // in memory
    // In elements. Neighbours in memory are neighbours in a row, or if `across` in a column; a step
    // in the other direction is `leading`.
    Dim offset, leading, batch_stride;
    bool across;
  };
  struct Vector {
    NodeId node;
    DType dtype;
    Dim offset;
  };
  ContractionMath math;
  Extent batch, m, n, k;
  Matrix lhs, rhs, result;
  std::optional<Matrix> addend;
  std::optional<Vector> bias;
  double scale = 1;
  bool relu = false;
};

// Nothing where operands are windows or computed, or the epilogue is more than that. Makes no new
// Dims.
std::optional<MatrixProduct> as_matrix_product(const CudaContraction& contraction);

}  // namespace onrush
