#include "onnx/decode_parts.h"
#include "onnx/proto.h"
#include "onnx/wire.h"

namespace onrush::onnx {
namespace {

Dimension decode_dimension(std::string_view message, const Place& place) {
  Dimension dimension;
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::dimension_value: dimension.value = reader.int64(); break;
      case proto::dimension_param: dimension.param = reader.string(); break;
      default: break;
    }
  }
  if (dimension.value && *dimension.value < 0) dimension.value.reset();
  return dimension;
}

std::vector<Dimension> decode_shape(std::string_view message, const Place& place) {
  std::vector<Dimension> shape;
  MessageReader reader(message, place);
  while (reader.next())
    if (reader.field() == proto::shape_dim)
      shape.push_back(decode_dimension(reader.bytes(), place));
  return shape;
}

// A declared type may leave its element open.
DType decode_element(int32_t number, const Place& place) {
  return number == 0 ? DType::undefined : decode_dtype(number, place);
}

void decode_tensor_type(std::string_view message, Type& type, const Place& place) {
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::tensor_type_element: type.element = decode_element(reader.int32(), place); break;
      case proto::tensor_type_shape: type.shape = decode_shape(reader.bytes(), place); break;
      default: break;
    }
  }
}

std::shared_ptr<const Type> decode_nested(std::string_view message, const Place& place, int depth) {
  return std::make_shared<const Type>(decode_type(message, place, depth + 1));
}

// Sequences and optionals.
void decode_wrapper_type(std::string_view message, Type& type, const Place& place, int depth) {
  MessageReader reader(message, place);
  while (reader.next())
    if (reader.field() == proto::sequence_type_element)
      type.nested = decode_nested(reader.bytes(), place, depth);
}

void decode_map_type(std::string_view message, Type& type, const Place& place, int depth) {
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::map_type_key: type.element = decode_element(reader.int32(), place); break;
      case proto::map_type_value: type.nested = decode_nested(reader.bytes(), place, depth); break;
      default: break;
    }
  }
}

Type::Kind kind_of(uint32_t field) {
  switch (field) {
    case proto::type_tensor: return Type::Kind::tensor;
    case proto::type_sparse_tensor: return Type::Kind::sparse_tensor;
    case proto::type_sequence: return Type::Kind::sequence;
    case proto::type_optional: return Type::Kind::optional;
    case proto::type_map: return Type::Kind::map;
    default: return Type::Kind::undefined;
  }
}

}  // namespace

Type decode_type(std::string_view message, const Place& place, int depth) {
  if (depth > kMaxNesting) fail_at(place, "types nest more than {} levels deep", kMaxNesting);
  Type type;
  MessageReader reader(message, place);
  while (reader.next()) {
    const Type::Kind kind = kind_of(reader.field());
    if (kind == Type::Kind::undefined) continue;
    type = {};
    type.kind = kind;
    const std::string_view body = reader.bytes();
    if (kind == Type::Kind::tensor || kind == Type::Kind::sparse_tensor)
      decode_tensor_type(body, type, place);
    else if (kind == Type::Kind::map) decode_map_type(body, type, place, depth);
    else decode_wrapper_type(body, type, place, depth);
  }
  return type;
}

ValueInfo decode_value_info(std::string_view message, const Place& parent, std::string_view kind,
                            int64_t index) {
  Place place{.parent = &parent, .kind = kind, .index = index};
  ValueInfo info;
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::value_info_name:
        place.name = reader.bytes();
        info.name = place.name;
        break;
      case proto::value_info_type: info.type = decode_type(reader.bytes(), place, 0); break;
      case proto::value_info_doc_string: info.doc_string = reader.string(); break;
      case proto::value_info_metadata:
        info.metadata.push_back(decode_entry(reader.bytes(), place));
        break;
      default: break;
    }
  }
  return info;
}

}  // namespace onrush::onnx
