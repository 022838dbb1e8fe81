#include "ort_value.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "base/check.h"
#include "dlpack.h"
#include "values.h"
#include <onrush/device_memory.h>

namespace onrush::python {
namespace {

DType checked_dtype(int number) {
  if (number <= 0 || number >= kDTypeCount)
    throw std::runtime_error(fmt::format("{} is no element type of ONNX", number));
  return static_cast<DType>(number);
}

OrtValue from_numpy(nb::handle array, nb::handle device) {
  if (!is_array(array))
    throw std::runtime_error("OrtValues can be made of numpy arrays; for others see from_dlpack");
  return OrtValue(moved_to(device_from(device), tensor_from_array(array, DType::undefined)));
}

OrtValue from_numpy_with_onnx_type(nb::handle array, int number) {
  if (!is_array(array)) throw std::runtime_error("OrtValues can be made of numpy arrays");
  const Tensor raw = tensor_from_array(array, DType::undefined);
  const DType dtype = checked_dtype(number);
  if (raw.dtype() == dtype) return OrtValue(raw);
  const Tensor meant = tensor_from_array(array, dtype);
  if (meant.dtype() == dtype) return OrtValue(meant);
  if (is_sub_byte(dtype) || bits(dtype) != bits(raw.dtype()))
    throw std::runtime_error(fmt::format("elements of {} bits cannot be read as {}",
                                         bits(raw.dtype()), onnx_name(dtype)));
  return OrtValue(Tensor(dtype, raw.shape(), raw.data(), keep_alive(nb::borrow(array))));
}

OrtValue from_shape_and_onnx_type(const Shape& shape, int number, nb::handle device) {
  return OrtValue(new_tensor(checked_dtype(number), shape, device_from(device)));
}

OrtValue from_shape_and_type(const Shape& shape, nb::handle dtype, nb::handle device) {
  return OrtValue(new_tensor(dtype_from_numpy(dtype), shape, device_from(device)));
}

OrtValue from_pointer(uintptr_t address, const Shape& shape, int number, nb::handle device) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Python passes addresses as numbers
  auto* data = reinterpret_cast<void*>(address);
  return OrtValue(Tensor(checked_dtype(number), shape, data, {}, device_from(device)));
}

// "Cpu" or "Cuda"; of a value that is no tensor, "Cpu".
const char* device_name(const OrtValue& self) {
  const Value& value = self.value();
  const bool on_gpu = value.is_tensor() && value.tensor().device().kind == Device::Kind::cuda;
  return on_gpu ? "Cuda" : "Cpu";
}

bool has_value(const OrtValue& self) {
  return !self.value().is_optional() || self.value().optional().value != nullptr;
}

bool is_tensor_sequence(const OrtValue& self) {
  if (!self.value().is_sequence()) return false;
  const auto& elements = self.value().sequence().elements;
  return elements.empty() || elements[0].is_tensor();
}

int element_type(const OrtValue& self) {
  const Value& value = self.value();
  if (is_tensor_sequence(self) && !value.sequence().elements.empty())
    return static_cast<int>(value.sequence().elements[0].tensor().dtype());
  return static_cast<int>(self.tensor("element_type").dtype());
}

void update_inplace(const OrtValue& self, nb::handle source) {
  const Tensor& to = self.tensor("update_inplace");
  const OrtValue* other = find_ort_value(source);
  const Tensor from =
      other ? other->tensor("update_inplace") : tensor_from_array(source, to.dtype());
  if (from.dtype() != to.dtype() || from.count() != to.count())
    throw std::runtime_error(fmt::format("an OrtValue of {}{} cannot be updated with {}{}",
                                         onnx_name(to.dtype()), to_string(to.shape()),
                                         onnx_name(from.dtype()), to_string(from.shape())));
  copy(from, to);
}

}  // namespace

Device device_from(nb::handle device) {
  if (device.is_none() || nb::cast<int>(device[0]) != static_cast<int>(Device::Kind::cuda))
    return {};
  return {Device::Kind::cuda, nb::cast<int>(device[3])};
}

const Tensor& OrtValue::tensor(const char* what) const {
  if (!value_.is_tensor())
    throw std::runtime_error(
        fmt::format("{} needs a tensor, this OrtValue is a {}", what, type_text(value_)));
  return value_.tensor();
}

const OrtValue* find_ort_value(nb::handle object) {
  if (is_array(object)) return nullptr;
  if (const OrtValue* value = nullptr; nb::try_cast(object, value)) return value;
  const nb::object inner = nb::getattr(object, "_ortvalue", nb::none());
  const OrtValue* value = nullptr;
  return !inner.is_none() && nb::try_cast(inner, value) ? value : nullptr;
}

void bind_ort_value(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<OrtValue>(module, "OrtValue")
      .def_static("ortvalue_from_numpy", &from_numpy, "array"_a, "device"_a = nb::none())
      .def_static("ortvalue_from_numpy_with_onnx_type", &from_numpy_with_onnx_type, "array"_a,
                  "onnx_type"_a)
      .def_static("ortvalue_from_shape_and_type", &from_shape_and_type, "shape"_a, "type"_a,
                  "device"_a = nb::none())
      .def_static("ortvalue_from_shape_and_onnx_type", &from_shape_and_onnx_type, "shape"_a,
                  "onnx_type"_a, "device"_a = nb::none())
      .def_static("from_pointer", &from_pointer, "address"_a, "shape"_a, "onnx_type"_a,
                  "device"_a = nb::none())
      .def_static("from_dlpack",
                  [](nb::handle object) { return OrtValue(tensor_from_dlpack(object)); })
      .def("numpy", [](const OrtValue& self) { return array_from_tensor(self.tensor("numpy")); })
      .def("object", [](const OrtValue& self) { return object_from_value(self.value()); })
      .def("shape", [](const OrtValue& self) { return self.tensor("shape").shape(); })
      .def("data_type", [](const OrtValue& self) { return type_text(self.value()); })
      .def("element_type", &element_type)
      .def("data_ptr",
           [](const OrtValue& self) {
             return reinterpret_cast<uintptr_t>(self.tensor("data_ptr").data());
           })
      .def("tensor_size_in_bytes",
           [](const OrtValue& self) { return self.tensor("tensor_size_in_bytes").bytes(); })
      .def("device_name", &device_name)
      .def("has_value", &has_value)
      .def("is_tensor", [](const OrtValue& self) { return self.value().is_tensor(); })
      .def("is_tensor_sequence", &is_tensor_sequence)
      .def("is_sparse_tensor", [](const OrtValue&) { return false; })
      .def("update_inplace", &update_inplace)
      .def(
          "__dlpack__",
          [](const OrtValue& self, std::optional<intptr_t> stream) {
            return dlpack_from_tensor(self.tensor("__dlpack__"), stream.value_or(0));
          },
          "stream"_a = nb::none())
      .def("to_dlpack",
           [](const OrtValue& self) { return dlpack_from_tensor(self.tensor("to_dlpack"), 0); })
      .def("__dlpack_device__",
           [](const OrtValue& self) { return dlpack_device_of(self.tensor("__dlpack_device__")); })
      .def_prop_ro("__cuda_array_interface__", [](const OrtValue& self) {
        return cuda_array_interface(self.tensor("__cuda_array_interface__"));
      });
}

}  // namespace onrush::python
