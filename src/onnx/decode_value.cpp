#include "onnx/decode_parts.h"
#include "onnx/proto.h"
#include "onnx/wire.h"

namespace onrush::onnx {
namespace {

// A SequenceProto names the kind of its elements by the field that holds them, so that only the
// outermost kind comes from the caller.
class ValueDecoder {
 public:
  explicit ValueDecoder(DecodeContext& context) : context_(context) {}

  Value decode(Type::Kind kind, std::string_view message, const Place& place, int depth) {
    if (depth > kMaxNesting) fail_at(place, "values nest more than {} levels deep", kMaxNesting);
    switch (kind) {
      case Type::Kind::sparse_tensor:
        return decode_sparse_tensor(message, place, -1, context_).tensor;
      case Type::Kind::sequence: return decode_sequence(message, place, depth);
      case Type::Kind::optional: return decode_optional(message, place, depth);
      case Type::Kind::map: return decode_map(message, place, depth);
      default: return decode_tensor(message, place, -1, context_).tensor;
    }
  }

 private:
  // Kind of the values in a field of SequenceProto or OptionalProto; undefined: another field.
  static Type::Kind kind_of(uint32_t field) {
    switch (field) {
      case proto::sequence_tensor: return Type::Kind::tensor;
      case proto::sequence_sparse_tensor: return Type::Kind::sparse_tensor;
      case proto::sequence_sequence: return Type::Kind::sequence;
      case proto::sequence_map: return Type::Kind::map;
      case proto::sequence_optional: return Type::Kind::optional;
      default: return Type::Kind::undefined;
    }
  }

  Sequence decode_sequence(std::string_view message, const Place& parent, int depth) {
    Sequence sequence;
    Place place{.parent = &parent, .kind = "element", .index = 0};
    MessageReader reader(message, parent);
    while (reader.next()) {
      const Type::Kind kind = kind_of(reader.field());
      if (kind == Type::Kind::undefined) continue;
      place.index = static_cast<int64_t>(sequence.elements.size());
      sequence.elements.push_back(decode(kind, reader.bytes(), place, depth + 1));
    }
    return sequence;
  }

  Optional decode_optional(std::string_view message, const Place& place, int depth) {
    Optional optional;
    MessageReader reader(message, place);
    while (reader.next()) {
      const Type::Kind kind = kind_of(reader.field());
      if (kind == Type::Kind::undefined) continue;
      optional.value =
          std::make_shared<const Value>(decode(kind, reader.bytes(), place, depth + 1));
    }
    return optional;
  }

  Map decode_map(std::string_view message, const Place& place, int depth) {
    std::vector<int64_t> integers;
    std::vector<std::string> strings;
    DType key_type = DType::i64;
    Map map;
    MessageReader reader(message, place);
    while (reader.next()) {
      switch (reader.field()) {
        case proto::map_key_type: key_type = decode_dtype(reader.int32(), place); break;
        case proto::map_keys: append_varints(reader.run(WireType::varint), integers, place); break;
        case proto::map_string_keys: strings.push_back(reader.string()); break;
        case proto::map_values:
          map.values = decode_sequence(reader.bytes(), place, depth + 1).elements;
          break;
        default: break;
      }
    }
    const bool by_string = key_type == DType::string;
    if (by_string ? !integers.empty() : !strings.empty())
      fail_at(place, "a map with keys of dtype {} has keys of another", onnx_name(key_type));
    const auto count = static_cast<int64_t>(strings.size() + integers.size());
    if (count != static_cast<int64_t>(map.values.size()))
      fail_at(place, "a map has {} keys and {} values", count, map.values.size());
    map.keys = by_string ? Tensor::of_strings({count}, std::move(strings))
                         : Tensor::of<int64_t>(DType::i64, {count}, integers);
    return map;
  }

  DecodeContext& context_;
};

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Tensor decode_tensor(std::span<const std::byte> bytes, const std::string& name) {
  const LoadOptions options;
  DecodeContext context(options, nullptr, std::nullopt);
  const Place file{.name = name.empty() ? std::string_view("tensor in memory") : name};
  return decode_tensor(text(bytes), file, -1, context).tensor;
}

Value decode_value(std::span<const std::byte> bytes, const Type& type, const std::string& name) {
  const LoadOptions options;
  DecodeContext context(options, nullptr, std::nullopt);
  const Place file{.name = name.empty() ? std::string_view("value in memory") : name};
  return ValueDecoder(context).decode(type.kind, text(bytes), file, 0);
}

}  // namespace onrush::onnx
