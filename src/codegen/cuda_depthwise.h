// Depthwise convolutions by the tensor cores, see device/depthwise.cuh.
#pragma once

#include <optional>
#include <vector>

#include "codegen/cuda_source.h"

namespace onrush {

// How a block's share of one is cut: tiles of rows x 8 results side by side, above each other and
// of several images, at most 16, in so many channels.
struct DepthwiseTiles {
  int rows, x, y, images, channels;
};

// All that are worth a thought for these sizes, best first by a model of the device; none where
// the contraction is no such convolution, or too small to gain.
std::vector<DepthwiseTiles> depthwise_tiles(const CudaContraction& contraction,
                                            const PrintSizes& sizes, const CudaTarget& target);

// REQUIRES one of the above.
CudaKernel print_depthwise(const CudaContraction& contraction, const PrintSizes& sizes,
                           const DepthwiseTiles& tiles);

}  // namespace onrush
