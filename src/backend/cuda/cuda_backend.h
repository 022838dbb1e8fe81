// The CUDA backend: every kernel of a plan generated, compiled for the device at hand, and launched
// on a stream.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "backend/backend.h"
#include "base/disk_cache.h"
#include <onrush/session.h>

namespace onrush {

struct CudaOptions {
  int device = 0;        // ordinal
  bool optimize = true;  // run the optimisation passes
  Precision precision = Precision::standard;
  size_t memory_limit = 0;        // bytes of device memory for weights and scratch; 0: none
  std::string cache_folder = {};  // of compiled kernels; empty: the default, see base/disk_cache.h
  bool tune = false;              // see SessionOptions
  std::function<void(std::string_view)> progress = {};
};

// The kernels of a graph and how they are launched, for the GPU at hand, or an H100 where there is
// none. Throws Error{unsupported} in a build without CUDA.
std::string cuda_kernels_text(Graph graph, const CudaOptions& options);

// What tuning measured of each contraction in the cache, a line each.
std::vector<std::string> tuning_lines(const DiskCache& cache);

// Throws Error{not_found} where the driver, the device or NVRTC is missing, with what was looked
// for and what to install.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options);

// Wheels of NVIDIA's libraries are looked for in these folders, too. Before anything else of CUDA.
void add_wheel_folders(const std::vector<std::string>& folders);

}  // namespace onrush
