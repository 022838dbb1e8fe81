#include "onnx/encode.h"

#include <limits>
#include <protozero/pbf_writer.hpp>

#include "base/check.h"
#include "onnx/place.h"
#include "onnx/proto.h"

namespace onrush::onnx {
namespace {

using Writer = protozero::pbf_writer;

void check_size(size_t size, std::string_view what) {
  if (size > std::numeric_limits<int32_t>::max())
    fail(ErrorCode::unsupported,
         "{} takes {} bytes, more than the 2 GiB that protobuf allows; keep weights as external "
         "data",
         what, size);
}

// Adds what `fill` writes as a nested message. A nested Writer would drop it when it is empty, but
// an empty shape is a scalar's, and an empty dimension an unknown one.
template <class Fill>
void add_message(Writer& writer, uint32_t field, Fill fill) {
  std::string body;
  Writer message(body);
  fill(message);
  writer.add_message(field, body);
}

// Optional strings are left out when empty, as protobuf does for unset ones.
void add_text(Writer& writer, uint32_t field, const std::string& text) {
  if (!text.empty()) writer.add_string(field, text);
}

void add_entries(Writer& writer, uint32_t field,
                 const std::vector<std::pair<std::string, std::string>>& entries) {
  for (const auto& [key, value] : entries) {
    Writer entry(writer, field);
    entry.add_string(proto::entry_key, key);
    entry.add_string(proto::entry_value, value);
  }
}

void add_imports(Writer& writer, uint32_t field,
                 const std::vector<std::pair<std::string, int64_t>>& imports) {
  for (const auto& [domain, version] : imports) {
    Writer import(writer, field);
    import.add_string(proto::opset_domain, domain);
    import.add_int64(proto::opset_version, version);
  }
}

void write_tensor(Writer& writer, const Tensor& tensor, const std::string& name) {
  if (tensor.device().kind != Device::Kind::cpu)
    fail(ErrorCode::invalid_argument, "tensor {} is not in host memory; copy it there first",
         quoted(name));
  if (!tensor.data() && (tensor.count() > 0 || tensor.dtype() == DType::undefined))
    fail(ErrorCode::invalid_argument, "tensor {} has no data to write", quoted(name));
  for (const int64_t dim : tensor.shape()) writer.add_int64(proto::tensor_dims, dim);
  writer.add_int32(proto::tensor_data_type, static_cast<int32_t>(tensor.dtype()));
  if (tensor.dtype() == DType::string) {
    for (const std::string& text : tensor.strings())
      writer.add_bytes(proto::tensor_string_data, text);
    add_text(writer, proto::tensor_name, name);
    return;
  }
  add_text(writer, proto::tensor_name, name);
  check_size(tensor.bytes(), quoted(name));
  writer.add_bytes(proto::tensor_raw_data, static_cast<const char*>(tensor.data()), tensor.bytes());
}

void write_shape(Writer& writer, const std::vector<Dimension>& shape) {
  for (const Dimension& dimension : shape)
    add_message(writer, proto::shape_dim, [&](Writer& dim) {
      if (dimension.value) dim.add_int64(proto::dimension_value, *dimension.value);
      add_text(dim, proto::dimension_param, dimension.param);
    });
}

void write_type(Writer& writer, const Type& type);

void add_nested_type(Writer& writer, uint32_t field, const Type& type) {
  if (type.nested)
    add_message(writer, field, [&](Writer& nested) { write_type(nested, *type.nested); });
}

void write_tensor_type(Writer& writer, uint32_t field, const Type& type) {
  Writer tensor(writer, field);
  tensor.add_int32(proto::tensor_type_element, static_cast<int32_t>(type.element));
  if (type.shape)
    add_message(tensor, proto::tensor_type_shape,
                [&](Writer& shape) { write_shape(shape, *type.shape); });
}

void write_wrapper_type(Writer& writer, uint32_t field, const Type& type) {
  add_message(writer, field, [&](Writer& wrapper) {
    add_nested_type(wrapper, proto::sequence_type_element, type);
  });
}

void write_map_type(Writer& writer, const Type& type) {
  Writer map(writer, proto::type_map);
  map.add_int32(proto::map_type_key, static_cast<int32_t>(type.element));
  add_nested_type(map, proto::map_type_value, type);
}

void write_type(Writer& writer, const Type& type) {
  switch (type.kind) {
    case Type::Kind::undefined: return;
    case Type::Kind::tensor: return write_tensor_type(writer, proto::type_tensor, type);
    case Type::Kind::sparse_tensor:
      return write_tensor_type(writer, proto::type_sparse_tensor, type);
    case Type::Kind::sequence: return write_wrapper_type(writer, proto::type_sequence, type);
    case Type::Kind::optional: return write_wrapper_type(writer, proto::type_optional, type);
    case Type::Kind::map: return write_map_type(writer, type);
  }
}

void write_value_info(Writer& writer, uint32_t field, const ValueInfo& info) {
  Writer message(writer, field);
  message.add_string(proto::value_info_name, info.name);
  if (info.type.kind != Type::Kind::undefined) {
    Writer type(message, proto::value_info_type);
    write_type(type, info.type);
  }
  add_text(message, proto::value_info_doc_string, info.doc_string);
  add_entries(message, proto::value_info_metadata, info.metadata);
}

void write_graph(Writer& writer, const Graph& graph);

// Writes one value of an attribute into the field that belongs to its type, alone or in a list.
class AttributeWriter {
 public:
  explicit AttributeWriter(Writer& writer) : writer_(writer) {}

  void operator()(std::monostate) const {}
  void operator()(float value) const { writer_.add_float(proto::attribute_f, value); }
  void operator()(int64_t value) const { writer_.add_int64(proto::attribute_i, value); }
  void operator()(const std::string& value) const { writer_.add_bytes(proto::attribute_s, value); }
  void operator()(const Tensor& value) const { add(proto::attribute_t, value); }
  void operator()(const std::shared_ptr<const Graph>& value) const {
    add(proto::attribute_g, value);
  }
  void operator()(const Type& value) const { add(proto::attribute_tp, value); }
  void operator()(const std::vector<float>& values) const {
    for (const float value : values) writer_.add_float(proto::attribute_floats, value);
  }
  void operator()(const std::vector<int64_t>& values) const {
    for (const int64_t value : values) writer_.add_int64(proto::attribute_ints, value);
  }
  void operator()(const std::vector<std::string>& values) const {
    for (const std::string& value : values) writer_.add_bytes(proto::attribute_strings, value);
  }
  void operator()(const std::vector<Tensor>& values) const {
    for (const Tensor& value : values) add(proto::attribute_tensors, value);
  }
  void operator()(const std::vector<std::shared_ptr<const Graph>>& values) const {
    for (const auto& value : values) add(proto::attribute_graphs, value);
  }
  void operator()(const std::vector<Type>& values) const {
    for (const Type& value : values) add(proto::attribute_type_protos, value);
  }

 private:
  void add(uint32_t field, const Tensor& value) const {
    Writer message(writer_, field);
    write_tensor(message, value, {});
  }
  void add(uint32_t field, const std::shared_ptr<const Graph>& value) const {
    Writer message(writer_, field);
    write_graph(message, *value);
  }
  void add(uint32_t field, const Type& value) const {
    add_message(writer_, field, [&](Writer& message) { write_type(message, value); });
  }

  Writer& writer_;
};

void write_attribute(Writer& writer, uint32_t field, const Attribute& attribute) {
  Writer message(writer, field);
  message.add_string(proto::attribute_name, attribute.name);
  std::visit(AttributeWriter(message), attribute.value);
  message.add_int32(proto::attribute_type, proto::kAttributeTypes[attribute.value.index()]);
  add_text(message, proto::attribute_ref_attr_name, attribute.ref_attr_name);
}

void write_node(Writer& writer, uint32_t field, const Node& node) {
  Writer message(writer, field);
  for (const std::string& input : node.inputs) message.add_string(proto::node_input, input);
  for (const std::string& output : node.outputs) message.add_string(proto::node_output, output);
  add_text(message, proto::node_name, node.name);
  message.add_string(proto::node_op_type, node.op_type);
  for (const Attribute& attribute : node.attributes)
    write_attribute(message, proto::node_attribute, attribute);
  add_text(message, proto::node_doc_string, node.doc_string);
  add_text(message, proto::node_domain, node.domain);
  add_text(message, proto::node_overload, node.overload);
  add_entries(message, proto::node_metadata, node.metadata);
}

void write_graph(Writer& writer, const Graph& graph) {
  for (const Node& node : graph.nodes) write_node(writer, proto::graph_node, node);
  writer.add_string(proto::graph_name, graph.name);
  for (const Initializer& initializer : graph.initializers) {
    Writer message(writer, proto::graph_initializer);
    write_tensor(message, initializer.tensor, initializer.name);
  }
  add_text(writer, proto::graph_doc_string, graph.doc_string);
  for (const ValueInfo& input : graph.inputs) write_value_info(writer, proto::graph_input, input);
  for (const ValueInfo& output : graph.outputs)
    write_value_info(writer, proto::graph_output, output);
  for (const ValueInfo& info : graph.value_info)
    write_value_info(writer, proto::graph_value_info, info);
  add_entries(writer, proto::graph_metadata, graph.metadata);
}

void write_function(Writer& writer, const Function& function) {
  Writer message(writer, proto::model_functions);
  message.add_string(proto::function_name, function.name);
  for (const std::string& input : function.inputs) message.add_string(proto::function_input, input);
  for (const std::string& output : function.outputs)
    message.add_string(proto::function_output, output);
  for (const std::string& attribute : function.attributes)
    message.add_string(proto::function_attribute, attribute);
  for (const Node& node : function.nodes) write_node(message, proto::function_node, node);
  add_text(message, proto::function_doc_string, function.doc_string);
  add_imports(message, proto::function_opset_import, function.opset_import);
  add_text(message, proto::function_domain, function.domain);
  for (const Attribute& attribute : function.attribute_defaults)
    write_attribute(message, proto::function_attribute_proto, attribute);
  add_text(message, proto::function_overload, function.overload);
}

// Lets encode() refuse a model before it fills the memory with it.
size_t weight_bytes(const Graph& graph) {
  size_t total = 0;
  for (const Initializer& initializer : graph.initializers) total += initializer.tensor.bytes();
  return total;
}

// SequenceProto.DataType and OptionalProto.DataType, and the field that holds such values.
struct ElementKind {
  int32_t type;
  uint32_t field;
};
ElementKind element_kind(const Value& value) {
  if (value.is_sequence()) return {3, proto::sequence_sequence};
  if (value.is_map()) return {4, proto::sequence_map};
  if (value.is_optional()) return {5, proto::sequence_optional};
  return {1, proto::sequence_tensor};
}

void write_value(Writer& writer, const Value& value, const std::string& name);

void write_sequence(Writer& writer, std::span<const Value> elements, const std::string& name) {
  add_text(writer, proto::sequence_name, name);
  if (!elements.empty())
    writer.add_int32(proto::sequence_element_type, element_kind(elements.front()).type);
  for (const Value& element : elements)
    add_message(writer, element_kind(element).field,
                [&](Writer& message) { write_value(message, element, {}); });
}

void write_map(Writer& writer, const Map& map, const std::string& name) {
  add_text(writer, proto::map_name, name);
  writer.add_int32(proto::map_key_type, static_cast<int32_t>(map.keys.dtype()));
  if (map.keys.dtype() == DType::string)
    for (const std::string& key : map.keys.strings()) writer.add_bytes(proto::map_string_keys, key);
  else
    for (const int64_t key : map.keys.as<const int64_t>()) writer.add_int64(proto::map_keys, key);
  add_message(writer, proto::map_values,
              [&](Writer& values) { write_sequence(values, map.values, {}); });
}

void write_value(Writer& writer, const Value& value, const std::string& name) {
  if (value.is_tensor()) return write_tensor(writer, value.tensor(), name);
  if (value.is_sequence()) return write_sequence(writer, value.sequence().elements, name);
  if (value.is_map()) return write_map(writer, value.map(), name);
  const Value* held = value.optional().value.get();
  write_sequence(writer, held ? std::span(held, 1) : std::span<const Value>(), name);
}

}  // namespace

std::string encode(const Model& model) {
  check_size(weight_bytes(model.graph), "the model");
  std::string bytes;
  Writer writer(bytes);
  writer.add_int64(proto::model_ir_version, model.ir_version);
  add_text(writer, proto::model_producer_name, model.producer_name);
  add_text(writer, proto::model_producer_version, model.producer_version);
  add_text(writer, proto::model_domain, model.domain);
  if (model.model_version != 0) writer.add_int64(proto::model_model_version, model.model_version);
  add_text(writer, proto::model_doc_string, model.doc_string);
  {
    Writer graph(writer, proto::model_graph);
    write_graph(graph, model.graph);
  }
  add_imports(writer, proto::model_opset_import, model.opset_import);
  add_entries(writer, proto::model_metadata, model.metadata);
  for (const Function& function : model.functions) write_function(writer, function);
  check_size(bytes.size(), "the model");
  return bytes;
}

std::string encode_tensor(const Tensor& tensor, const std::string& name) {
  std::string bytes;
  Writer writer(bytes);
  write_tensor(writer, tensor, name);
  check_size(bytes.size(), quoted(name));
  return bytes;
}

std::string encode_value(const Value& value, const std::string& name) {
  std::string bytes;
  Writer writer(bytes);
  write_value(writer, value, name);
  check_size(bytes.size(), quoted(name));
  return bytes;
}

}  // namespace onrush::onnx
