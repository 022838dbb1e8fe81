#include "backend/cuda/transfer.h"

#include <fmt/format.h>

#include "backend/cuda/cuda_executable.h"

namespace onrush::cuda {

Tensor empty_on_device(int ordinal, DType dtype, Shape shape) {
  const ContextPtr context = Context::open(ordinal);
  const ContextScope scope(*context);
  return device_tensor(context, dtype, std::move(shape));
}

Tensor to_device(int ordinal, const Tensor& host) {
  const ContextPtr context = Context::open(ordinal);
  const ContextScope scope(*context);
  return upload(context, host, Stream(context));
}

Tensor to_host(const Tensor& device) {
  const ContextPtr context = Context::open(device.device().index);
  const ContextScope scope(*context);
  return download(device, Stream(context));
}

std::string pci_address(int ordinal) {
  CUdevice device;
  check(driver().cuDeviceGet(&device, ordinal), "cuDeviceGet");
  const auto attribute = [&](CUdevice_attribute name) {
    int value = 0;
    check(driver().cuDeviceGetAttribute(&value, name, device), "cuDeviceGetAttribute");
    return value;
  };
  return fmt::format("{:04x}:{:02x}:{:02x}.0", attribute(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID),
                     attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID),
                     attribute(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID));
}

}  // namespace onrush::cuda
