// Contractions as what libraries of convolutions compute.
#pragma once

#include <optional>
#include <vector>

#include "codegen/cuda_source.h"

namespace onrush {

// result = activation(scale * (image convolved with filter) + addend + bias), at concrete sizes.
// Everything counts in elements.
struct Convolution {
  // Along images (of the filter: channels of the result), channels, and one to three axes of space,
  // the slowest in memory first; there are at least two, so that some may have an extent of 1.
  struct Tensor {
    NodeId node;  // not valid(): the packed copy of the filter
    DType dtype;  // in memory
    int64_t offset;
    std::vector<int64_t> extents, strides;
  };
  struct Vector {
    NodeId node;
    DType dtype;
    int64_t offset;
  };
  // Along an axis of space: element i of the result is made of elements i * step + j * dilation -
  // before of the image, which is 0 outside, where it has `before` and `after` more elements.
  struct Window {
    int64_t step, dilation, before, after;
  };
  ContractionMath math;
  Tensor image, filter, result;  // channels of the image / those of the filter: groups
  std::optional<Tensor> addend;
  std::optional<Vector> bias;   // by channel of the result
  std::vector<Window> windows;  // by axis of space
  double scale = 1;
  bool relu = false;
};

// Nothing where the image is computed, the epilogue is more than that, or channels are convolved by
// themselves by a kernel for that. A convolution may be one in several ways (rows of images may as
// well be images); then it is one of them.
std::optional<Convolution> as_convolution(const CudaContraction& contraction,
                                          const SizeTable& sizes);

}  // namespace onrush
