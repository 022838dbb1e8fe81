#include "onnx/wire.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <protozero/varint.hpp>

namespace onrush::onnx {
namespace {

static_assert(std::endian::native == std::endian::little, "ONNX files hold little-endian numbers");

uint64_t decode_varint(std::string_view& rest, uint32_t field, const Place& place) {
  const char* position = rest.data();
  const char* end = rest.data() + rest.size();
  try {
    const uint64_t value = protozero::decode_varint(&position, end);
    rest.remove_prefix(static_cast<size_t>(position - rest.data()));
    return value;
  } catch (const protozero::exception&) {
    fail_at(place,
            "malformed number after protobuf field {}; the file is damaged or is no ONNX model, "
            "fetch or export it again",
            field);
  }
}

}  // namespace

bool MessageReader::next() {
  if (unread_) skip();
  if (rest_.empty()) return false;
  const uint64_t key = varint();
  field_ = static_cast<uint32_t>(key >> 3);
  wire_type_ = static_cast<WireType>(key & 7);
  if (field_ == 0 || key >> 32 != 0)
    fail_at(place_,
            "malformed protobuf field number; the file is damaged or is no ONNX model, fetch or "
            "export it again");
  unread_ = true;
  return true;
}

int64_t MessageReader::int64() {
  expect(WireType::varint);
  return static_cast<int64_t>(varint());
}

int32_t MessageReader::int32() { return static_cast<int32_t>(int64()); }

float MessageReader::float32() {
  expect(WireType::fixed32);
  float value;
  std::memcpy(&value, take(sizeof value).data(), sizeof value);
  return value;
}

std::string_view MessageReader::bytes() {
  expect(WireType::length_delimited);
  return take(varint());
}

std::string_view MessageReader::run(WireType element) {
  if (wire_type_ == WireType::length_delimited) return bytes();
  expect(element);
  if (element == WireType::fixed32) return take(4);
  if (element == WireType::fixed64) return take(8);
  const std::string_view before = rest_;
  varint();
  return before.substr(0, before.size() - rest_.size());
}

uint64_t MessageReader::varint() { return decode_varint(rest_, field_, place_); }

std::string_view MessageReader::take(uint64_t size) {
  if (size > rest_.size())
    fail_at(place_,
            "protobuf field {} needs {} bytes but {} are left; the file is cut short or damaged, "
            "fetch or export it again",
            field_, size, rest_.size());
  const std::string_view taken = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return taken;
}

void MessageReader::expect(WireType type) {
  if (wire_type_ != type)
    fail_at(place_,
            "protobuf field {} has wire type {} where {} is due; the file is damaged or is no "
            "ONNX model, fetch or export it again",
            field_, static_cast<uint32_t>(wire_type_), static_cast<uint32_t>(type));
  unread_ = false;
}

void MessageReader::skip() {
  unread_ = false;
  switch (wire_type_) {
    case WireType::varint: varint(); return;
    case WireType::fixed32: take(4); return;
    case WireType::fixed64: take(8); return;
    case WireType::length_delimited: take(varint()); return;
    default:
      fail_at(place_,
              "protobuf field {} has unknown wire type {}; the file is damaged or is no ONNX "
              "model, fetch or export it again",
              field_, static_cast<uint32_t>(wire_type_));
  }
}

void append_varints(std::string_view run, std::vector<int64_t>& values, const Place& place) {
  while (!run.empty()) values.push_back(static_cast<int64_t>(decode_varint(run, 0, place)));
}

size_t count_varints(std::string_view run) {
  return static_cast<size_t>(
      std::count_if(run.begin(), run.end(), [](char c) { return (c & 0x80) == 0; }));
}

}  // namespace onrush::onnx
