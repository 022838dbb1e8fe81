// numpy arrays and tensors. arrays.cpp is the one file that uses numpy's C API.
#pragma once

#include <nanobind/nanobind.h>

#include <onrush/tensor.h>

namespace onrush::python {

namespace nb = nanobind;

// Loads numpy's C API; once, when the module is imported.
void import_numpy();

bool is_array(nb::handle object);

// The array as a tensor. It is a view that keeps the array alive where the elements are dense, in C
// order, aligned and of native byte order, and a copy otherwise. ml_dtypes' dtypes are known by
// name. `expected` (undefined: nothing is expected) gives a meaning to what numpy cannot tell:
// unsigned arrays of the element's width are raw bits of a bfloat16 or float8, and arrays of 8-bit
// integers hold one 2- or 4-bit element each. Strings are copied as UTF-8; other objects in
// an array of objects are converted by str().
// Throws std::runtime_error for a dtype that ONNX does not have.
Tensor tensor_from_array(nb::handle array, DType expected);

// A new array with the tensor's elements, which it shares and keeps alive; those on a GPU are
// copied, strings become objects, 2- and 4-bit elements are unpacked to a byte each. Dtypes that
// numpy lacks come from ml_dtypes, and are raw bits (uint8, uint16, int8) if that is not installed.
nb::object array_from_tensor(const Tensor& tensor);

// The dtype of array_from_tensor's result, and back: anything numpy.dtype() takes.
nb::object numpy_dtype(DType dtype);
DType dtype_from_numpy(nb::handle dtype);

// Of what an array interface calls typestr: "<f4".
std::string typestr(DType dtype);

// Keeps a Python object alive; may be released on any thread.
std::shared_ptr<const void> keep_alive(nb::object object);

}  // namespace onrush::python
