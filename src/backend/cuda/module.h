// Compiled kernels on a device, and how they are launched.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "backend/cuda/stream.h"

namespace onrush::cuda {

struct Dim3 {
  uint32_t x = 1;
  uint32_t y = 1;
  uint32_t z = 1;
  bool operator==(const Dim3&) const = default;
};

struct LaunchShape {
  Dim3 grid;
  Dim3 block;
  Dim3 cluster;  // blocks; the grid is a multiple. Needs compute capability 9.0 where not 1
  uint32_t shared_bytes = 0;  // dynamic shared memory of a block
  // Programmatic dependent launch: may start before the work ahead of it on the stream is done, as
  // soon as that triggers it; the kernel itself waits for its inputs (griddepcontrol.wait).
  bool programmatic = false;
  bool operator==(const LaunchShape&) const = default;
};

// A kernel of a Module, valid for as long as that lives; or none.
class Function {
 public:
  Function() = default;
  CUfunction handle() const { return handle_; }

  int registers() const;       // of a thread
  size_t local_bytes() const;  // of a thread: spilled registers and indexed arrays
  size_t static_shared_bytes() const;
  // Blocks that run on one multiprocessor at once; 0 if not even one fits.
  int blocks_per_multiprocessor(uint32_t threads, uint32_t shared_bytes) const;

  // REQUIRED once before launches with more than 48 KiB of dynamic shared memory.
  void allow_shared_bytes(uint32_t bytes) const;
  // REQUIRED once before launches in clusters of more than 8 blocks.
  void allow_large_clusters() const;

 private:
  friend class Module;
  explicit Function(CUfunction handle) : handle_(handle) {}
  int attribute(CUfunction_attribute which) const;

  CUfunction handle_ = nullptr;
};

class Module {
 public:
  // Throws Error{device} for a cubin that is broken or made for another architecture.
  Module(ContextPtr context, std::span<const std::byte> cubin);
  // Throws Error{internal} if the cubin has no kernel of this name.
  Function function(const char* name) const;

 private:
  Handle<CUmodule, &DriverApi::cuModuleUnload> handle_;
};

// `arguments` are the addresses of the kernel's parameters in their order; they are copied. A grid
// with a 0 in it launches nothing.
void launch(Function function, const LaunchShape& shape, const Stream& stream,
            std::span<void* const> arguments);

// The same for parameters given as values; each must have exactly the type the kernel declares.
template <class... Parameters>
void launch_with(Function function, const LaunchShape& shape, const Stream& stream,
                 Parameters... parameters) {
  const std::array<void*, sizeof...(parameters)> arguments = {&parameters...};
  launch(function, shape, stream, arguments);
}

}  // namespace onrush::cuda
