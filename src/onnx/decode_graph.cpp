#include "onnx/decode_parts.h"
#include "onnx/proto.h"
#include "onnx/sort_nodes.h"
#include "onnx/wire.h"

namespace onrush::onnx {
namespace {

// The attribute's value as a T, empty if the file had none so far.
template <class T>
T& hold(Attribute& attribute, const Place& place) {
  if (std::holds_alternative<std::monostate>(attribute.value)) attribute.value.emplace<T>();
  if (T* value = std::get_if<T>(&attribute.value)) return *value;
  fail_at(place, "the attribute has values of two kinds; export the model again");
}

std::shared_ptr<const Graph> decode_subgraph(std::string_view message, const Place& place,
                                             DecodeContext& context, int depth) {
  return std::make_shared<const Graph>(decode_graph(message, place, context, depth + 1));
}

void read_floats(MessageReader& reader, Attribute& attribute, const Place& place) {
  const std::string_view run = reader.run(WireType::fixed32);
  auto& floats = hold<std::vector<float>>(attribute, place);
  if (run.size() % sizeof(float) != 0)
    fail_at(place, "a list of floats ends within a number; the file is damaged, fetch it again");
  for (size_t at = 0; at < run.size(); at += sizeof(float)) {
    float value;
    run.copy(reinterpret_cast<char*>(&value), sizeof value, at);
    floats.push_back(value);
  }
}

// Reads the field if it is one of those that hold the value.
void read_value(MessageReader& reader, Attribute& attribute, const Place& place,
                DecodeContext& context, int depth) {
  using GraphPtr = std::shared_ptr<const Graph>;
  switch (reader.field()) {
    case proto::attribute_f: hold<float>(attribute, place) = reader.float32(); break;
    case proto::attribute_i: hold<int64_t>(attribute, place) = reader.int64(); break;
    case proto::attribute_s: hold<std::string>(attribute, place) = reader.string(); break;
    case proto::attribute_t:
      hold<Tensor>(attribute, place) = decode_tensor(reader.bytes(), place, -1, context).tensor;
      break;
    case proto::attribute_sparse_tensor:
      hold<Tensor>(attribute, place) =
          decode_sparse_tensor(reader.bytes(), place, -1, context).tensor;
      break;
    case proto::attribute_g:
      hold<GraphPtr>(attribute, place) = decode_subgraph(reader.bytes(), place, context, depth);
      break;
    case proto::attribute_tp:
      hold<Type>(attribute, place) = decode_type(reader.bytes(), place, 0);
      break;
    case proto::attribute_floats: read_floats(reader, attribute, place); break;
    case proto::attribute_ints:
      append_varints(reader.run(WireType::varint), hold<std::vector<int64_t>>(attribute, place),
                     place);
      break;
    case proto::attribute_strings:
      hold<std::vector<std::string>>(attribute, place).push_back(reader.string());
      break;
    case proto::attribute_tensors: {
      auto& tensors = hold<std::vector<Tensor>>(attribute, place);
      const auto index = static_cast<int64_t>(tensors.size());
      tensors.push_back(decode_tensor(reader.bytes(), place, index, context).tensor);
      break;
    }
    case proto::attribute_sparse_tensors: {
      auto& tensors = hold<std::vector<Tensor>>(attribute, place);
      const auto index = static_cast<int64_t>(tensors.size());
      tensors.push_back(decode_sparse_tensor(reader.bytes(), place, index, context).tensor);
      break;
    }
    case proto::attribute_graphs:
      hold<std::vector<GraphPtr>>(attribute, place)
          .push_back(decode_subgraph(reader.bytes(), place, context, depth));
      break;
    case proto::attribute_type_protos:
      hold<std::vector<Type>>(attribute, place).push_back(decode_type(reader.bytes(), place, 0));
      break;
    default: break;
  }
}

// An AttributeType as the index of Attribute::value's alternative.
size_t alternative(int32_t type, const Place& place) {
  if (type == proto::kAttributeSparseTensor) type = 4;
  if (type == proto::kAttributeSparseTensors) type = 9;
  for (size_t i = 0; i < proto::kAttributeTypes.size(); ++i)
    if (proto::kAttributeTypes[i] == type) return i;
  fail_at(ErrorCode::unsupported, place, "attribute type {} is unknown; ONNX has 1 to 14", type);
}

// What a missing value field means: an empty list, or protobuf's default of a number or string.
void set_default(Attribute& attribute, size_t index, const Place& place) {
  auto& value = attribute.value;
  switch (index) {
    case 1: value = 0.0f; break;
    case 2: value = int64_t{0}; break;
    case 3: value = std::string(); break;
    case 7: value = std::vector<float>(); break;
    case 8: value = std::vector<int64_t>(); break;
    case 9: value = std::vector<std::string>(); break;
    case 10: value = std::vector<Tensor>(); break;
    case 11: value = std::vector<std::shared_ptr<const Graph>>(); break;
    case 12: value = std::vector<Type>(); break;
    default: fail_at(place, "the attribute has no value; export the model again");
  }
}

// `type` may be absent (0) in old files; then the value tells.
void check_type(Attribute& attribute, int32_t type, const Place& place) {
  const bool is_reference = !attribute.ref_attr_name.empty();
  if (is_reference && attribute.value.index() != 0)
    fail_at(place, "the attribute has both a value and ref_attr_name {}; export the model again",
            quoted(attribute.ref_attr_name));
  const size_t index = alternative(type, place);
  if (is_reference || index == 0) return;
  if (attribute.value.index() == 0) set_default(attribute, index, place);
  if (attribute.value.index() != index)
    fail_at(place, "the attribute's value is not of its type ({}); export the model again", type);
}

}  // namespace

std::string normal_domain(std::string_view domain) {
  return domain == "ai.onnx" ? std::string() : std::string(domain);
}

std::pair<std::string, std::string> decode_entry(std::string_view message, const Place& place) {
  std::pair<std::string, std::string> entry;
  MessageReader reader(message, place);
  while (reader.next()) {
    if (reader.field() == proto::entry_key) entry.first = reader.bytes();
    if (reader.field() == proto::entry_value) entry.second = reader.bytes();
  }
  return entry;
}

Attribute decode_attribute(std::string_view message, const Place& parent, int64_t index,
                           DecodeContext& context, int depth) {
  Place place{.parent = &parent, .kind = "attribute", .index = index};
  Attribute attribute;
  int32_t type = 0;
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::attribute_name:
        place.name = reader.bytes();
        attribute.name = place.name;
        break;
      case proto::attribute_ref_attr_name: attribute.ref_attr_name = reader.string(); break;
      case proto::attribute_type: type = reader.int32(); break;
      default: read_value(reader, attribute, place, context, depth);
    }
  }
  check_type(attribute, type, place);
  return attribute;
}

Node decode_node(std::string_view message, const Place& parent, int64_t index,
                 DecodeContext& context, int depth) {
  Place place{.parent = &parent, .kind = "node", .index = index};
  Node node;
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::node_input: node.inputs.push_back(reader.string()); break;
      case proto::node_output: node.outputs.push_back(reader.string()); break;
      case proto::node_name:
        place.name = reader.bytes();
        node.name = place.name;
        break;
      case proto::node_op_type:
        place.op_type = reader.bytes();
        node.op_type = place.op_type;
        break;
      case proto::node_domain: node.domain = normal_domain(reader.bytes()); break;
      case proto::node_overload: node.overload = reader.string(); break;
      case proto::node_attribute: {
        const auto position = static_cast<int64_t>(node.attributes.size());
        node.attributes.push_back(
            decode_attribute(reader.bytes(), place, position, context, depth));
        break;
      }
      case proto::node_doc_string: node.doc_string = reader.string(); break;
      case proto::node_metadata:
        node.metadata.push_back(decode_entry(reader.bytes(), place));
        break;
      default: break;
    }
  }
  return node;
}

Graph decode_graph(std::string_view message, const Place& place, DecodeContext& context,
                   int depth) {
  if (depth > kMaxNesting) fail_at(place, "graphs nest more than {} levels deep", kMaxNesting);
  Graph graph;
  const auto size = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::graph_node:
        graph.nodes.push_back(
            decode_node(reader.bytes(), place, size(graph.nodes), context, depth));
        break;
      case proto::graph_name: graph.name = reader.string(); break;
      case proto::graph_doc_string: graph.doc_string = reader.string(); break;
      case proto::graph_initializer:
        graph.initializers.push_back(
            decode_tensor(reader.bytes(), place, size(graph.initializers), context));
        break;
      case proto::graph_sparse_initializer:
        graph.initializers.push_back(
            decode_sparse_tensor(reader.bytes(), place, size(graph.initializers), context));
        break;
      case proto::graph_input:
        graph.inputs.push_back(
            decode_value_info(reader.bytes(), place, "graph input", size(graph.inputs)));
        break;
      case proto::graph_output:
        graph.outputs.push_back(
            decode_value_info(reader.bytes(), place, "graph output", size(graph.outputs)));
        break;
      case proto::graph_value_info:
        graph.value_info.push_back(
            decode_value_info(reader.bytes(), place, "value info", size(graph.value_info)));
        break;
      case proto::graph_metadata:
        graph.metadata.push_back(decode_entry(reader.bytes(), place));
        break;
      default: break;
    }
  }
  sort_nodes(graph.nodes, place);
  return graph;
}

}  // namespace onrush::onnx
