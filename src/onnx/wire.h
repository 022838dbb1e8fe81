// The protobuf wire format, one message at a time.
//
// protozero supplies the varints. Its own reader is not used because it keeps lengths in 32 bits,
// while a graph with its weights inside may be larger, and checks wire types by assert only.
#pragma once

#include <cstdint>
#include <protozero/types.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/place.h"

namespace onrush::onnx {

using WireType = protozero::pbf_wire_type;

// Walks the fields of one message in file order. A field whose value is not read is skipped, so
// unknown fields need no code. Every value is a view of the message or a copy of a number.
// Malformed bytes and unexpected wire types throw Error{invalid_model} that names `place`.
//
//   while (reader.next()) switch (reader.field()) { case 1: name = reader.bytes(); break; ... }
class MessageReader {
 public:
  MessageReader(std::string_view message, const Place& place) : rest_(message), place_(place) {}

  bool next();
  uint32_t field() const { return field_; }

  // The value of the current field; to be called once.
  int64_t int64();
  int32_t int32();  // enums too; keeps the low 32 bits, as protobuf does
  float float32();
  std::string_view bytes();  // strings and messages too
  std::string string() { return std::string(bytes()); }

  // The encoded elements of a repeated number: many where the file packs them, else one.
  std::string_view run(WireType element);

 private:
  uint64_t varint();
  std::string_view take(uint64_t size);
  void expect(WireType type);
  void skip();

  std::string_view rest_;
  const Place& place_;
  uint32_t field_ = 0;
  WireType wire_type_ = WireType::unknown;
  bool unread_ = false;
};

// Decodes the varints of a run.
void append_varints(std::string_view run, std::vector<int64_t>& values, const Place& place);
// Number of varints in a run: its bytes without continuation bit.
size_t count_varints(std::string_view run);

}  // namespace onrush::onnx
