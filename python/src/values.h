// Python objects and the values that models take and give.
#pragma once

#include <nanobind/nanobind.h>
#include <string>

#include "onnx/model.h"
#include <onrush/session.h>

namespace onrush::python {

namespace nb = nanobind;

// The value that `object` stands for where a model declares `type` for its input `input`:
//   tensor    a numpy array, an OrtValue, an object with DLPack or __cuda_array_interface__ (each
//             shared where its elements are dense), a number, a list or tuple of them, or whatever
//             else numpy.asarray() takes
//   sequence  a list or tuple of such objects
//   map       a dict from int or str
//   optional  None, or one such object
// Dtype and shape of a tensor are for the session to check; elements of a sequence, an optional or
// a map must have the declared dtype. Throws Error{invalid_argument}, nb::python_error, or
// std::runtime_error for an object that cannot be converted.
Value value_from_object(nb::handle object, const onnx::Type& type, const std::string& input);

// tensor: a numpy array that shares the elements, unless they are on a GPU; sequence: a list; map:
// a dict, where values of rank 0 become Python numbers; optional: None or its value.
nb::object object_from_value(const Value& value);

// Replaces memory that the value shares with `inputs` by copies.
void detach(Value& value, const NamedValues& inputs);

// "tensor(float)", "seq(tensor(int64))" ...
std::string type_text(const Value& value);

}  // namespace onrush::python
