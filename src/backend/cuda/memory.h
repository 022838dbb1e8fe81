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

}  // namespace onrush::cuda
