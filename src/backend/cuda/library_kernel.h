// A contraction by one of NVIDIA's libraries.
#pragma once

#include <memory>
#include <string>

#include "backend/cuda/stream.h"

namespace onrush::cuda {

constexpr size_t kMostLibraryBytes = 32 << 20;  // of an algorithm's workspace
constexpr size_t kLibraryAlignment = 256;       // of it
constexpr size_t kMostWorkspaceBytes = kMostLibraryBytes + kLibraryAlignment;

// By one algorithm, ready to launch. May be launched by several threads at once.
class LibraryKernel {
 public:
  LibraryKernel() = default;
  LibraryKernel(const LibraryKernel&) = delete;
  LibraryKernel& operator=(const LibraryKernel&) = delete;
  virtual ~LibraryKernel() = default;

  virtual const std::string& library() const = 0;  // its version: "cuBLASLt 13.1.0"
  // What the library makes the same kernel from in another process; one line.
  virtual std::string algorithm() const = 0;

  size_t workspace_bytes() const {
    return algorithm_bytes() ? algorithm_bytes() + kLibraryAlignment : 0;
  }
  // Throws Error{device} with the library's text.
  void launch(CUdeviceptr lhs, CUdeviceptr rhs, CUdeviceptr addend, CUdeviceptr result,
              CUdeviceptr workspace, const Stream& stream) const {
    workspace = (workspace + kLibraryAlignment - 1) / kLibraryAlignment * kLibraryAlignment;
    launch_aligned(lhs, rhs, addend, result, workspace, stream);
  }

 private:
  virtual size_t algorithm_bytes() const = 0;  // of workspace
  virtual void launch_aligned(CUdeviceptr lhs, CUdeviceptr rhs, CUdeviceptr addend,
                              CUdeviceptr result, CUdeviceptr workspace,
                              const Stream& stream) const = 0;
};

// What pointers at this offset, in bytes, from one that a launch is given are certainly aligned to.
inline uint32_t alignment_at(int64_t offset, uint32_t most) {
  while (offset % most) most /= 2;
  return most;
}

}  // namespace onrush::cuda
