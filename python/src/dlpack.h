// Exchange of tensors with other array libraries, without copies, in host memory and on GPUs.
//
// A run comes after what a GPU's default stream was given before it. So a producer is asked to let
// that stream wait for its own, and memory that a consumer read on a stream of its own goes back
// after that stream's work.
#pragma once

#include <nanobind/nanobind.h>

#include <onrush/tensor.h>

namespace onrush::python {

namespace nb = nanobind;

// A tensor in the memory of `object` (it has __dlpack__, or is a DLPack capsule), which it keeps
// alive; a copy if the elements are not dense and in C order.
// Throws Error{invalid_argument} for a dtype that ONNX does not have.
Tensor tensor_from_dlpack(nb::handle object);

// The same of an object that has __cuda_array_interface__; its elements must be dense.
Tensor tensor_from_cuda_array_interface(nb::handle object);

// A capsule that shares the tensor, for a consumer on `stream`: DLPack's number of it.
// Throws Error{invalid_argument} for strings and 2- or 4-bit elements.
nb::object dlpack_from_tensor(const Tensor& tensor, intptr_t stream);
nb::tuple dlpack_device_of(const Tensor& tensor);

// AttributeError where the tensor lies on the host.
nb::dict cuda_array_interface(const Tensor& tensor);

}  // namespace onrush::python
