#include "builders.h"

namespace onrush::onnx {
namespace {

Type type_of(Type::Kind kind) { return {.kind = kind}; }

Value recode_value(const Value& value, Type::Kind kind) {
  const std::string bytes = encode_value(value, "v");
  return decode_value(bytes_of(bytes), type_of(kind), "input_0.pb");
}

Tensor number(float value) { return tensor<float>(DType::f32, {}, {value}); }

TEST(DecodeValue, Tensor) {
  EXPECT_EQ(recode_value(number(3), Type::Kind::tensor).tensor().as<float>()[0], 3);
}

TEST(DecodeValue, SequenceOfTensors) {
  const Value value = recode_value(Sequence{{number(1), number(2)}}, Type::Kind::sequence);
  ASSERT_EQ(value.sequence().elements.size(), 2u);
  EXPECT_EQ(value.sequence().elements[1].tensor().as<float>()[0], 2);
}

TEST(DecodeValue, EmptySequence) {
  EXPECT_TRUE(recode_value(Sequence{}, Type::Kind::sequence).sequence().elements.empty());
}

TEST(DecodeValue, Optional) {
  EXPECT_EQ(recode_value(Optional{}, Type::Kind::optional).optional().value, nullptr);
  const Optional full{std::make_shared<const Value>(Sequence{{number(4)}})};
  const Value value = recode_value(full, Type::Kind::optional);
  EXPECT_EQ(value.optional().value->sequence().elements[0].tensor().as<float>()[0], 4);
}

TEST(DecodeValue, MapByStringAndInteger) {
  const Map by_string{Tensor::of_strings({2}, {"a", "b"}), {number(1), number(2)}};
  const Value strings = recode_value(by_string, Type::Kind::map);
  EXPECT_EQ(strings.map().keys.strings()[1], "b");
  EXPECT_EQ(strings.map().values[1].tensor().as<float>()[0], 2);

  const Map by_integer{tensor<int64_t>(DType::i64, {1}, {-9}), {number(5)}};
  EXPECT_EQ(recode_value(by_integer, Type::Kind::map).map().keys.as<int64_t>()[0], -9);
}

TEST(DecodeValue, MapWithKeysButNoValues) {
  std::string bytes;
  Writer(bytes).add_int64(proto::map_keys, 1);
  expect_error(ErrorCode::invalid_model, "input_0.pb: a map has 1 keys and 0 values",
               [&] { decode_value(bytes_of(bytes), type_of(Type::Kind::map), "input_0.pb"); });
}

TEST(DecodeValue, MapWithKeysOfTwoKinds) {
  std::string bytes;
  Writer(bytes).add_int32(proto::map_key_type, static_cast<int32_t>(DType::string));
  Writer(bytes).add_int64(proto::map_keys, 1);
  expect_error(ErrorCode::invalid_model, "a map with keys of dtype string has keys of another",
               [&] { decode_value(bytes_of(bytes), type_of(Type::Kind::map)); });
}

TEST(DecodeValue, NestedTooDeep) {
  Value value = number(1);
  for (int i = 0; i < 70; ++i) value = Sequence{{value}};
  expect_error(ErrorCode::invalid_model, "values nest more than 64 levels deep",
               [&] { recode_value(value, Type::Kind::sequence); });
}

TEST(DecodeValue, ErrorNamesTheElement) {
  std::string bytes;
  Writer(bytes).add_message(proto::sequence_tensor, encode_tensor(number(1)));
  Writer(bytes).add_message(proto::sequence_tensor, std::string());
  expect_error(ErrorCode::invalid_model, "value in memory: element 1: tensor: data type 0",
               [&] { decode_value(bytes_of(bytes), type_of(Type::Kind::sequence)); });
}

}  // namespace
}  // namespace onrush::onnx
