// How a contraction is cut into tiles: a choice by a model of the device, not by measurement.
#pragma once

#include <vector>

#include "codegen/cuda_source.h"

namespace onrush {

struct ContractionSize {
  int64_t batch, m, n, k;
  int factor_bytes;
  ContractionMath math;
  bool groups;  // warpgroups can multiply its operands
};

// All tiles that the products can be cut into.
std::vector<ContractionTile> tiles_for(ContractionMath math);

ContractionTile choose_tile(const ContractionSize& size, const CudaTarget& target);

// Whether the kernel's tile is not much worse than the best for these sizes.
bool tile_fits(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target);

CudaLaunch launch_tiles(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target);

}  // namespace onrush
