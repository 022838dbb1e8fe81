#include "values.h"

#include <nanobind/stl/string.h>

#include "arrays.h"
#include "base/check.h"
#include "dlpack.h"
#include "ort_value.h"
#include <onrush/device_memory.h>

namespace onrush::python {
namespace {

std::string class_name(nb::handle object) { return nb::cast<std::string>(nb::repr(object.type())); }

// Lists, tuples, numbers and other objects, by way of numpy.
Tensor tensor_from_array_like(nb::handle object, DType expected, const std::string& input) {
  nb::object array;
  try {
    const nb::object dtype = expected == DType::undefined ? nb::none() : numpy_dtype(expected);
    array = nb::module_::import_("numpy").attr("asarray")(object, dtype);
  } catch (const nb::python_error& error) {
    throw std::runtime_error(fmt::format("input '{}': no tensor can be made of a {}: {}", input,
                                         class_name(object), error.what()));
  }
  return tensor_from_array(array, expected);
}

Tensor tensor_from_object(nb::handle object, DType expected, const std::string& input) {
  if (is_array(object)) return tensor_from_array(object, expected);
  if (object.is_none())
    fail(ErrorCode::invalid_argument, "input '{}' is None; it must be a tensor", input);
  if (nb::hasattr(object, "__dlpack__")) try {
      return tensor_from_dlpack(object);
    } catch (const Error& error) {
      fail(error.code(), "input '{}': {}", input, error.what());
    }
  if (nb::hasattr(object, "__cuda_array_interface__"))
    return tensor_from_cuda_array_interface(object);
  return tensor_from_array_like(object, expected, input);
}

Tensor element_from_object(nb::handle object, DType expected, const std::string& input) {
  Tensor tensor = tensor_from_object(object, expected, input);
  if (expected != DType::undefined && tensor.dtype() != expected)
    throw std::runtime_error(fmt::format("input '{}' must hold tensors of element type {}, not {}",
                                         input, onnx_name(expected), onnx_name(tensor.dtype())));
  return tensor;
}

Value nested_value(nb::handle object, const onnx::Type& type, const std::string& input) {
  if (const OrtValue* value = find_ort_value(object)) return value->value();
  if (type.kind == onnx::Type::Kind::tensor)
    return element_from_object(object, type.element, input);
  return value_from_object(object, type, input);
}

Sequence sequence_from_object(nb::handle object, const onnx::Type& type, const std::string& input) {
  if (!PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr()))
    fail(ErrorCode::invalid_argument, "input '{}' must be a list of tensors, not a {}", input,
         class_name(object));
  Sequence sequence;
  for (nb::handle element : nb::borrow<nb::sequence>(object))
    sequence.elements.push_back(nested_value(element, *type.nested, input));
  return sequence;
}

Map map_from_object(nb::handle object, const onnx::Type& type, const std::string& input) {
  if (!PyDict_Check(object.ptr()))
    fail(ErrorCode::invalid_argument, "input '{}' must be a dict, not a {}", input,
         class_name(object));
  std::vector<std::string> names;
  std::vector<int64_t> numbers;
  Map map;
  const bool by_name = type.element == DType::string;
  for (auto [key, value] : nb::borrow<nb::dict>(object)) {
    if (by_name ? !PyUnicode_Check(key.ptr()) : !PyLong_Check(key.ptr()))
      fail(ErrorCode::invalid_argument, "input '{}' must be a dict with keys of type {}", input,
           by_name ? "str" : "int");
    if (by_name) names.push_back(nb::cast<std::string>(key));
    else numbers.push_back(nb::cast<int64_t>(key));
    map.values.push_back(nested_value(value, *type.nested, input));
  }
  const auto count = static_cast<int64_t>(map.values.size());
  map.keys = by_name ? Tensor::of_strings({count}, std::move(names))
                     : Tensor::of<int64_t>(DType::i64, {count}, numbers);
  return map;
}

nb::object object_from_map(const Map& map) {
  const nb::object keys = array_from_tensor(map.keys).attr("tolist")();
  nb::dict result;
  for (size_t i = 0; i < map.values.size(); ++i) {
    nb::object value = object_from_value(map.values[i]);
    if (map.values[i].is_tensor() && map.values[i].tensor().rank() == 0)
      value = value.attr("item")();
    result[keys[i]] = value;
  }
  return result;
}

bool overlaps(const Tensor& a, const Value& value) {
  if (value.is_sequence()) {
    for (const Value& element : value.sequence().elements)
      if (overlaps(a, element)) return true;
    return false;
  }
  if (value.is_optional()) return value.optional().value && overlaps(a, *value.optional().value);
  if (value.is_map()) return false;  // maps are copied in
  const Tensor& b = value.tensor();
  const auto *a_data = static_cast<const char*>(a.data()),
             *b_data = static_cast<const char*>(b.data());
  return a_data < b_data + b.bytes() && b_data < a_data + a.bytes();
}

}  // namespace

Value value_from_object(nb::handle object, const onnx::Type& type, const std::string& input) {
  using Kind = onnx::Type::Kind;
  if (const OrtValue* value = find_ort_value(object)) return value->value();
  switch (type.kind) {
    case Kind::sequence: return sequence_from_object(object, type, input);
    case Kind::map: return map_from_object(object, type, input);
    case Kind::optional:
      if (object.is_none()) return Optional{};
      return Optional{std::make_shared<Value>(nested_value(object, *type.nested, input))};
    case Kind::tensor: return tensor_from_object(object, type.element, input);
    case Kind::sparse_tensor:
    case Kind::undefined: return tensor_from_object(object, DType::undefined, input);
  }
  internal_error("unknown type kind");
}

nb::object object_from_value(const Value& value) {
  if (value.is_tensor()) return array_from_tensor(value.tensor());
  if (value.is_map()) return object_from_map(value.map());
  if (value.is_optional())
    return value.optional().value ? object_from_value(*value.optional().value) : nb::none();
  nb::list list;
  for (const Value& element : value.sequence().elements) list.append(object_from_value(element));
  return list;
}

void detach(Value& value, const NamedValues& inputs) {
  if (value.is_sequence()) {
    Sequence copy = value.sequence();
    for (Value& element : copy.elements) detach(element, inputs);
    value = std::move(copy);
  } else if (value.is_optional() && value.optional().value) {
    Value inner = *value.optional().value;
    detach(inner, inputs);
    value = Optional{std::make_shared<Value>(std::move(inner))};
  }
  if (!value.is_tensor()) return;
  const Tensor& tensor = value.tensor();
  for (const auto& [name, input] : inputs) {
    if (!overlaps(tensor, input)) continue;
    Tensor own = new_tensor(tensor.dtype(), tensor.shape(), tensor.device());
    copy(tensor, own);
    value = std::move(own);
    return;
  }
}

std::string type_text(const Value& value) {
  if (value.is_tensor()) return fmt::format("tensor({})", onnx_name(value.tensor().dtype()));
  if (value.is_sequence()) {
    const auto& elements = value.sequence().elements;
    return fmt::format("seq({})", elements.empty() ? "?" : type_text(elements[0]));
  }
  if (value.is_optional())
    return fmt::format("optional({})",
                       value.optional().value ? type_text(*value.optional().value) : "?");
  const Map& map = value.map();
  return fmt::format("map({},{})", onnx_name(map.keys.dtype()),
                     map.values.empty() ? "?" : type_text(map.values[0]));
}

}  // namespace onrush::python
