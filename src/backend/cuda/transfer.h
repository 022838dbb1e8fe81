// Tensors in a GPU's memory, for those who keep inputs and outputs there between runs.
#pragma once

#include <string>

#include <onrush/tensor.h>

namespace onrush::cuda {

// On the device of that number. Each throws what opening it throws, or Error{out_of_memory}.
Tensor empty_on_device(int ordinal, DType dtype, Shape shape);
Tensor to_device(int ordinal, const Tensor& host);
Tensor to_host(const Tensor& device);  // waits for the copy

// "0000:1a:00.0", by which NVML knows the device too.
std::string pci_address(int ordinal);

}  // namespace onrush::cuda
