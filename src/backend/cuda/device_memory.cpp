#include "backend/cuda/memory.h"
#include "backend/cuda/stream.h"
#include "base/check.h"
#include <onrush/device_memory.h>

namespace onrush {
namespace {

bool on_gpu(Device device) { return device.kind == Device::Kind::cuda; }

cuda::Stream borrowed(const cuda::ContextPtr& context, void* stream) {
  return cuda::Stream::borrow(context, stream ? static_cast<CUstream>(stream) : CU_STREAM_LEGACY);
}

}  // namespace

std::string why_no_cuda() {
  constexpr const char* kWhere = "`onrush doctor` says where it was looked for";
  if (!cuda::driver_library().search.library)
    return fmt::format(
        "there is no CUDA driver: install NVIDIA's, or, in a container, start it with access to "
        "the GPU (docker run --gpus all); {}",
        kWhere);
  if (!cuda::nvrtc_library().search.library)
    return fmt::format("NVRTC, which compiles kernels, is missing: pip install '{}'; {}",
                       cuda::nvrtc_requirement(cuda::driver_library().version), kWhere);
  try {
    if (cuda::device_count() > 0) return "";
    return "the driver finds no GPU; CUDA_VISIBLE_DEVICES may hide some";
  } catch (const Error& error) {
    return error.what();
  }
}

int cuda_device_count() { return cuda::device_count(); }

std::string pci_address(Device device) {
  CUdevice handle;
  cuda::check(cuda::driver().cuDeviceGet(&handle, device.index), "cuDeviceGet");
  const auto attribute = [&](CUdevice_attribute name) {
    int value = 0;
    cuda::check(cuda::driver().cuDeviceGetAttribute(&value, name, handle), "cuDeviceGetAttribute");
    return value;
  };
  return fmt::format("{:04x}:{:02x}:{:02x}.0", attribute(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID),
                     attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID),
                     attribute(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID));
}

Tensor new_tensor(DType dtype, Shape shape, Device device) {
  if (!on_gpu(device) || dtype == DType::string) return Tensor(dtype, std::move(shape));
  return cuda::MemoryPool::of_device(device.index)->tensor(dtype, std::move(shape));
}

Tensor moved_to(Device device, const Tensor& tensor) {
  if (tensor.device() == device || tensor.dtype() == DType::string) return tensor;
  Tensor moved = new_tensor(tensor.dtype(), tensor.shape(), device);
  copy(tensor, moved);
  return moved;
}

void copy(const Tensor& from, const Tensor& to) {
  const bool from_gpu = on_gpu(from.device()), to_gpu = on_gpu(to.device());
  if (!from_gpu && !to_gpu) return copy_elements(from, to);
  internal_check(from.dtype() == to.dtype() && from.count() == to.count(),
                 "copy of unequal tensors");
  if (!from.count()) return;
  if (from_gpu && to_gpu && from.device() != to.device()) return copy(moved_to({}, from), to);
  const auto pool = cuda::MemoryPool::of_device((to_gpu ? to : from).device().index);
  const cuda::ContextScope scope(*pool->context());
  const cuda::Stream stream = borrowed(pool->context(), nullptr);
  const CUdeviceptr source = cuda::device_address(from.data()),
                    target = cuda::device_address(to.data());
  if (!to_gpu) cuda::copy_to_host(to.data(), source, from.bytes(), stream);
  else if (!from_gpu) cuda::copy_to_device(target, from.data(), from.bytes(), stream);
  else cuda::copy_on_device(target, source, from.bytes(), stream);
  stream.synchronize();
}

void synchronize(Device device) {
  if (!on_gpu(device)) return;
  const auto pool = cuda::MemoryPool::of_device(device.index);
  const cuda::ContextScope scope(*pool->context());
  pool->context()->synchronize();
}

void synchronize_stream(Device device, void* stream) {
  const auto pool = cuda::MemoryPool::of_device(device.index);
  const cuda::ContextScope scope(*pool->context());
  borrowed(pool->context(), stream).synchronize();
}

bool is_capturing(Device device, void* stream) {
  const auto pool = cuda::MemoryPool::of_device(device.index);
  const cuda::ContextScope scope(*pool->context());
  return borrowed(pool->context(), stream).capturing();
}

void stream_follows(Device device, void* stream, void* other) {
  const auto pool = cuda::MemoryPool::of_device(device.index);
  const cuda::ContextScope scope(*pool->context());
  const cuda::Event event(pool->context());
  event.record(borrowed(pool->context(), other));
  borrowed(pool->context(), stream).wait(event);
}

Device device_of(const void* pointer) {
  const cuda::DriverApi& api = cuda::driver();
  unsigned kind = 0;
  int ordinal = 0;
  const CUdeviceptr address = cuda::device_address(pointer);
  if (api.cuPointerGetAttribute(&kind, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, address) != CUDA_SUCCESS ||
      kind != CU_MEMORYTYPE_DEVICE)
    return {};
  cuda::check(api.cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, address),
              "cuPointerGetAttribute");
  return {Device::Kind::cuda, ordinal};
}

}  // namespace onrush
