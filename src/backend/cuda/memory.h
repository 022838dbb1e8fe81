// Memory of a device, and of the host where a device can read it.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "backend/cuda/driver.h"
#include <onrush/tensor.h>

namespace onrush::cuda {

double mebibytes(size_t bytes);  // for messages

struct MemoryUse {
  size_t free = 0;
  size_t total = 0;
};
MemoryUse memory_use();  // of the current context's device, by all processes

inline CUdeviceptr device_address(const void* pointer) {
  return reinterpret_cast<CUdeviceptr>(pointer);
}
inline void* as_pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

// Memory of the context's device, 256-byte aligned, uninitialised. May be of 0 bytes.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  // Throws Error{out_of_memory}, which says how much there is.
  DeviceBuffer(ContextPtr context, size_t bytes);

  CUdeviceptr pointer() const { return handle_.get(); }
  size_t bytes() const { return bytes_; }

 private:
  Handle<CUdeviceptr, &DriverApi::cuMemFree> handle_;
  size_t bytes_ = 0;
};

// Device memory that is handed out and taken back in the order of the device's default stream, so
// that neither waits: what a result lies in. Memory taken back is kept for the next one until the
// pool goes. Thread safe.
class MemoryPool : public std::enable_shared_from_this<MemoryPool> {
 public:
  // That of a device, which lives as long as somebody uses it.
  static std::shared_ptr<const MemoryPool> of_device(int ordinal);

  // Uninitialised elements. Throws Error{out_of_memory}. The context need not be current.
  Tensor tensor(DType dtype, Shape shape) const;
  const ContextPtr& context() const { return handle_.context(); }

 private:
  explicit MemoryPool(const ContextPtr& context);
  Handle<CUmemoryPool, &DriverApi::cuMemPoolDestroy> handle_;
};

// Host memory that is never paged out, so that copies to and from a device run by themselves.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(ContextPtr context, size_t bytes);

  std::byte* data() const { return static_cast<std::byte*>(handle_.get()); }
  size_t bytes() const { return bytes_; }

 private:
  Handle<void*, &DriverApi::cuMemFreeHost> handle_;
  size_t bytes_ = 0;
};

// Device memory at one address that never moves: addresses for `limit` bytes are reserved at once
// and memory is mapped behind them as it is asked for. Not thread safe.
class VirtualArena {
 public:
  // limit 0: the whole memory of the device. Throws Error{unsupported} where the device cannot.
  explicit VirtualArena(ContextPtr context, size_t limit = 0);
  VirtualArena(const VirtualArena&) = delete;
  VirtualArena& operator=(const VirtualArena&) = delete;
  ~VirtualArena();

  CUdeviceptr pointer() const { return base_; }
  size_t mapped() const { return mapped_; }  // bytes that may be used; a multiple of granularity()
  size_t granularity() const { return granularity_; }
  size_t limit() const { return limit_; }

  // Makes at least `bytes` usable; contents stay. Throws Error{out_of_memory} beyond the limit or
  // what the device has; the arena is then as it was.
  void grow(size_t bytes);
  // Gives back what was mapped by whole calls of grow() beyond `bytes`. REQUIRES that no work in
  // flight uses it.
  void trim(size_t bytes);

 private:
  void map(size_t bytes);

  ContextPtr context_;
  size_t limit_;
  size_t granularity_ = 0;
  size_t reserved_ = 0;
  CUdeviceptr base_ = 0;
  size_t mapped_ = 0;
  std::vector<size_t> chunks_;  // bytes mapped by each grow(), in address order
};

}  // namespace onrush::cuda
