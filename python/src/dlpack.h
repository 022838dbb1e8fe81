// Exchange of tensors with other array libraries, without copies.
#pragma once

#include <nanobind/nanobind.h>

#include <onrush/tensor.h>

namespace onrush::python {

namespace nb = nanobind;

// A tensor in the memory of `object` (it has __dlpack__, or is a DLPack capsule), which it keeps
// alive; a copy if the elements are not dense and in C order.
// Throws Error{invalid_argument} for memory of a device, and for a dtype that ONNX does not have.
Tensor tensor_from_dlpack(nb::handle object);

// An object with __dlpack__ and __dlpack_device__ that shares the tensor.
// Throws Error{invalid_argument} for strings and 2- or 4-bit elements.
nb::object dlpack_from_tensor(const Tensor& tensor);

}  // namespace onrush::python
