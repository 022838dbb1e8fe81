// onnxruntime's OrtValue: a value that lives outside of runs.
#pragma once

#include <nanobind/nanobind.h>

#include <onrush/value.h>

namespace onrush::python {

namespace nb = nanobind;

// Immutable, but for the elements of its tensor.
class OrtValue {
 public:
  explicit OrtValue(Value value) : value_(std::move(value)) {}
  const Value& value() const { return value_; }
  // Throws std::runtime_error with `what` it was needed for, if the value is no tensor.
  const Tensor& tensor(const char* what) const;

 private:
  Value value_;
};

// Of an OrtDevice: (type, memory, vendor, number); None is the host.
Device device_from(nb::handle device);

// The OrtValue that `object` is, or wraps in an attribute _ortvalue; null if neither.
const OrtValue* find_ort_value(nb::handle object);

void bind_ort_value(nb::module_& module);

}  // namespace onrush::python
