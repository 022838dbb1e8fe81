// How a contraction is cut into tiles: a choice by a model of the device, not by measurement.
#pragma once

#include <string>
#include <vector>

#include "codegen/cuda_source.h"

namespace onrush {

struct ContractionSize {
  int64_t batch, m, n, k;
  int factor_bytes;
  ContractionMath math;
  Grouping grouping;
  double after_us = 0;  // see CudaKernel
};

// All tiles that the products can be cut into. A persistent one is of two blocks, which share the
// columns and have half of the rows each.
std::vector<ContractionTile> tiles_for(ContractionMath math);

ContractionTile choose_tile(const ContractionSize& size, const CudaTarget& target);

// The choices that the model of the device finds best, best first: at most `count` of at most
// `tiles` tiles, none that it finds far worse than the best. What is worth measuring.
std::vector<TileChoice> best_choices(const CudaKernel& kernel, const SizeTable& sizes,
                                     const CudaTarget& target, size_t count, size_t tiles);
// What the kernel is launched with.
TileChoice choice_of(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target);

// "tiles of 64 x 128 in clusters of 4"
std::string tile_text(const TileChoice& choice);

// Whether the kernel's tile is not much worse than the best for these sizes.
bool tile_fits(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target);

CudaLaunch launch_tiles(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target);

}  // namespace onrush
