// What is launched: a compiled kernel, or a library's, with all that the driver wants.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/library_kernel.h"
#include "backend/cuda/module.h"
#include "codegen/cuda_source.h"

namespace onrush::cuda {

constexpr size_t kVectorBytes = 16;  // kernels read and write pieces of that

// A tensor map at concrete sizes.
struct BoundMap {
  int buffer;
  cuuint32_t rank;
  std::array<cuuint64_t, 5> extents;  // columns, rows, batches; or see CudaTensorMap::by_lanes
  std::array<cuuint64_t, 4> strides;  // of all but the first, in bytes
  std::array<cuuint32_t, 5> box;
  CUtensorMapDataType dtype;
};
BoundMap bind_map(const CudaTensorMap& map, const LoopBuffer& buffer, const SizeTable& sizes);

LaunchShape launch_shape(const CudaLaunch& launch);

// What all kernels of a run are given: `error` becomes 1 if an index was out of range; a model that
// gives no seeds takes them from `seed` on.
struct RunWords {
  uint32_t error = 0, unused = 0;
  uint64_t seed = 0;
};

struct KernelLaunch {
  Function function;
  LaunchShape shape;
  std::vector<CUdeviceptr> pointers;
  std::span<const int64_t> sizes;
  std::span<const BoundMap> maps = {};
  const LibraryKernel* library = nullptr;  // instead of the function; the last pointer is to its
                                           // workspace
};

// A kernel's arguments as the driver wants them: addresses of values that it copies.
class KernelArguments {
 public:
  // words: the address of the run's RunWords.
  KernelArguments(const KernelLaunch& launch, CUdeviceptr words);
  KernelArguments(const KernelArguments&) = delete;
  KernelArguments& operator=(const KernelArguments&) = delete;
  std::span<void* const> addresses() const { return addresses_; }

 private:
  std::vector<CUdeviceptr> pointers_;
  CUdeviceptr words_;
  std::vector<CUtensorMap> maps_;
  std::vector<void*> addresses_;
};

// programmatic: it may start while the kernel ahead of it ends, and waits by itself for what that
// writes. A library's kernel does not, so it never may.
void put_on_stream(const KernelLaunch& launch, bool programmatic, CUdeviceptr words,
                   const Stream& stream);

}  // namespace onrush::cuda
