// Device memory of a build that found no CUDA headers: there is none.
#include "base/check.h"
#include <onrush/device_memory.h>

namespace onrush {
namespace {

void require_host(Device device) {
  if (device.kind != Device::Kind::cpu) fail(ErrorCode::not_found, "{}", why_no_cuda());
}

}  // namespace

std::string why_no_cuda() {
  return "this build of Onrush has no CUDA backend: it was built without CUDA headers; install "
         "nvidia-cuda-runtime from PyPI (or the CUDA toolkit) and build again";
}

std::string pci_address(Device device) {
  require_host(device);
  return "";
}
int cuda_device_count() { return 0; }

Tensor new_tensor(DType dtype, Shape shape, Device device) {
  require_host(device);
  return Tensor(dtype, std::move(shape));
}

Tensor moved_to(Device device, const Tensor& tensor) {
  require_host(device);
  return tensor;
}

void copy(const Tensor& from, const Tensor& to) { copy_elements(from, to); }
void synchronize(Device device) { require_host(device); }
void synchronize_stream(Device device, void*) { require_host(device); }
bool is_capturing(Device, void*) { return false; }
void stream_follows(Device device, void*, void*) { require_host(device); }
Device device_of(const void*) { return {}; }

}  // namespace onrush
