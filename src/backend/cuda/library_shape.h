// What a library computes at concrete sizes.
#pragma once

#include <variant>

#include "backend/cuda/cublaslt.h"
#include "backend/cuda/cudnn.h"

namespace onrush::cuda {

using LibraryShape = std::variant<ProductShape, ConvolutionShape>;

}  // namespace onrush::cuda
