#include <algorithm>
#include <complex>
#include <cstring>

#include "base/numeric.h"
#include "builders.h"

namespace onrush::onnx {
namespace {

// The head of a TensorProto: dims and dtype.
std::string head(const Shape& shape, DType dtype) {
  std::string bytes;
  Writer writer(bytes);
  for (const int64_t dim : shape) writer.add_int64(proto::tensor_dims, dim);
  writer.add_int32(proto::tensor_data_type, static_cast<int32_t>(dtype));
  return bytes;
}

void expect_bad(const std::string& bytes, const std::string& text) {
  expect_error(ErrorCode::invalid_model, text, [&] { decode_tensor(bytes_of(bytes), "x.pb"); });
}

class EveryDType : public testing::TestWithParam<int> {
 protected:
  DType dtype() const { return static_cast<DType>(GetParam()); }
};

// Elements 0, 1, 2 ... as far as the dtype can hold them.
Tensor counting(DType dtype, int64_t count) {
  Tensor tensor(dtype, {count});
  if (dtype == DType::string) {
    for (int64_t i = 0; i < count; ++i)
      tensor.strings()[static_cast<size_t>(i)] = std::to_string(i);
    return tensor;
  }
  std::memset(tensor.data(), 0, tensor.bytes());
  if (is_complex(dtype)) {
    const DType part = dtype == DType::c64 ? DType::f32 : DType::f64;
    for (int64_t i = 0; i < 2 * count; ++i)
      store_f64(part, tensor.data(), i, static_cast<double>(i));
    return tensor;
  }
  const int64_t limit = bits(dtype) == 2 ? 2 : dtype == DType::boolean ? 2 : 4;
  for (int64_t i = 0; i < count; ++i)
    store_f64(dtype, tensor.data(), i, static_cast<double>(i % limit));
  return tensor;
}

void expect_same(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.dtype(), b.dtype());
  ASSERT_EQ(a.shape(), b.shape());
  if (a.dtype() == DType::string) EXPECT_TRUE(std::ranges::equal(a.strings(), b.strings()));
  else EXPECT_EQ(std::memcmp(a.data(), b.data(), a.bytes()), 0);
}

TEST_P(EveryDType, RoundTripsRaw) {
  const Tensor original = counting(dtype(), 7);
  expect_same(decode_tensor(bytes_of(encode_tensor(original, "t"))), original);
}

// The same elements through the typed field that the specification assigns to the dtype.
TEST_P(EveryDType, DecodesTypedData) {
  const Tensor original = counting(dtype(), 7);
  std::string bytes = head({7}, dtype());
  Writer writer(bytes);
  const auto numbers = [&]<class T>(T) {
    return std::span(static_cast<const T*>(original.data()),
                     dtype() == DType::string ? 0 : original.bytes() / sizeof(T));
  };
  const auto add_as_int32 = [&](auto sample) {
    const auto values = numbers(sample);
    writer.add_packed_int32(proto::tensor_int32_data, values.begin(), values.end());
  };
  switch (dtype()) {
    case DType::f32:
    case DType::c64: {
      const auto values = numbers(float{});
      writer.add_packed_float(proto::tensor_float_data, values.begin(), values.end());
      break;
    }
    case DType::f64:
    case DType::c128: {
      const auto values = numbers(double{});
      writer.add_packed_double(proto::tensor_double_data, values.begin(), values.end());
      break;
    }
    case DType::i64: {
      const auto values = numbers(int64_t{});
      writer.add_packed_int64(proto::tensor_int64_data, values.begin(), values.end());
      break;
    }
    case DType::u32: {
      const auto values = numbers(uint32_t{});
      writer.add_packed_uint64(proto::tensor_uint64_data, values.begin(), values.end());
      break;
    }
    case DType::u64: {
      const auto values = numbers(uint64_t{});
      writer.add_packed_uint64(proto::tensor_uint64_data, values.begin(), values.end());
      break;
    }
    case DType::string:
      for (const std::string& text : original.strings())
        writer.add_bytes(proto::tensor_string_data, text);
      break;
    default:
      if (bits(dtype()) == 32) add_as_int32(int32_t{});
      if (bits(dtype()) == 16) add_as_int32(uint16_t{});
      if (bits(dtype()) <= 8) add_as_int32(uint8_t{});
  }
  expect_same(decode_tensor(bytes_of(bytes)), original);
}

INSTANTIATE_TEST_SUITE_P(, EveryDType, testing::Range(1, kDTypeCount), [](const auto& info) {
  return std::string(name(static_cast<DType>(info.param)));
});

TEST(DecodeTensor, NegativeIntegersInInt32Data) {
  std::string bytes = head({2}, DType::i8);
  Writer(bytes).add_int32(proto::tensor_int32_data, -5);  // unpacked, one field per element
  Writer(bytes).add_int32(proto::tensor_int32_data, 7);
  const Tensor tensor = decode_tensor(bytes_of(bytes));
  EXPECT_EQ(tensor.as<int8_t>()[0], -5);
  EXPECT_EQ(tensor.as<int8_t>()[1], 7);
}

TEST(DecodeTensor, BooleanBytesBecomeZeroOrOne) {
  std::string bytes = head({3}, DType::boolean);
  Writer(bytes).add_bytes(proto::tensor_raw_data, std::string("\0\1\7", 3));
  const Tensor tensor = decode_tensor(bytes_of(bytes));
  EXPECT_EQ(tensor.as<uint8_t>()[0], 0);
  EXPECT_EQ(tensor.as<uint8_t>()[2], 1);
}

TEST(DecodeTensor, EmptyAndScalar) {
  EXPECT_EQ(decode_tensor(bytes_of(head({0, 3}, DType::f32))).count(), 0);
  const Tensor scalar = tensor<float>(DType::f32, {}, {2.5f});
  expect_same(decode_tensor(bytes_of(encode_tensor(scalar))), scalar);
}

TEST(DecodeTensor, AlignedRawDataIsAViewAndMisalignedACopy) {
  for (size_t shift = 0; shift < 4; ++shift) {
    Model m = model(graph({}, {}, {}));
    m.doc_string = std::string(shift + 1, ' ');
    m.graph.initializers.push_back({"w", tensor<float>(DType::f32, {2}, {1.5f, -2.0f})});
    const auto file = std::make_shared<std::string>(encode(m));
    const Tensor weight = decode({bytes_of(*file), file}).graph.initializers[0].tensor;
    const auto* data = static_cast<const char*>(weight.data());
    const size_t offset = file->find(std::string("\0\0\xc0\x3f", 4));
    const bool aligned = reinterpret_cast<uintptr_t>(file->data() + offset) % 4 == 0;
    const bool is_view = data >= file->data() && data < file->data() + file->size();
    EXPECT_EQ(is_view, aligned);
    EXPECT_EQ(weight.as<float>()[0], 1.5f);
  }
}

TEST(DecodeTensor, WithoutOwnerTensorsAreCopies) {
  Tensor tensor;
  {
    std::string bytes = encode_tensor(counting(DType::u8, 7));
    tensor = decode_tensor(bytes_of(bytes));
    std::ranges::fill(bytes, '\xff');
  }
  EXPECT_EQ(tensor.as<uint8_t>()[3], 3);
}

TEST(DecodeTensor, UnknownDType) {
  std::string bytes;
  Writer(bytes).add_int32(proto::tensor_data_type, 27);
  expect_bad(bytes, "x.pb: tensor: data type 27 is unknown; ONNX has 1 to 26");
  expect_bad(head({1}, DType::undefined), "data type 0 is unknown");
}

TEST(DecodeTensor, DataOfAnotherSizeThanTheShape) {
  std::string bytes = head({2, 3}, DType::f32);
  Writer(bytes).add_string(proto::tensor_name, "w");
  Writer(bytes).add_bytes(proto::tensor_raw_data, "12345678");
  expect_bad(bytes, "x.pb: tensor 'w': raw_data has 8 bytes where shape [2,3] of float needs 24");
  bytes = head({3}, DType::i4);
  Writer(bytes).add_int32(proto::tensor_int32_data, 1);
  expect_bad(bytes, "int32_data holds 1 numbers where shape [3] of int4 needs 2");
  bytes = head({2}, DType::string);
  Writer(bytes).add_bytes(proto::tensor_string_data, "a");
  expect_bad(bytes, "string_data holds 1 strings where shape [2] needs 2");
  expect_bad(head({2}, DType::f32), "the tensor of shape [2] has no data");
}

TEST(DecodeTensor, HugeShapesWithoutData) {
  expect_bad(head({int64_t{1} << 41}, DType::f32), "has no data");
  expect_bad(head({int64_t{1} << 41}, DType::string), "string_data holds 0 strings");
  expect_bad(head({int64_t{1} << 62}, DType::f32), "larger than any memory");
  expect_bad(head({int64_t{1} << 40, int64_t{1} << 40}, DType::u8), "more elements than 64 bits");
  expect_bad(head({-1}, DType::f32), "shape [-1] has a negative dimension");
}

TEST(DecodeTensor, DataInTheWrongField) {
  std::string bytes = head({1}, DType::f32);
  Writer(bytes).add_int32(proto::tensor_int32_data, 1);
  expect_bad(bytes, "dtype float has its data in int32_data instead of float_data");
  bytes = head({1}, DType::f32);
  Writer(bytes).add_bytes(proto::tensor_string_data, "a");
  expect_bad(bytes, "dtype float has its data in string_data");
  bytes = head({1}, DType::string);
  Writer(bytes).add_bytes(proto::tensor_raw_data, "a");
  expect_bad(bytes, "strings has its data outside string_data");
}

TEST(DecodeTensor, DataTwice) {
  std::string bytes = head({1}, DType::i32);
  Writer(bytes).add_bytes(proto::tensor_raw_data, "1234");
  Writer(bytes).add_int32(proto::tensor_int32_data, 1);
  expect_bad(bytes, "data both in raw_data and in int32_data");
}

TEST(DecodeTensor, PackedFloatsEndWithinANumber) {
  std::string bytes = head({1}, DType::f32);
  Writer(bytes).add_bytes(proto::tensor_float_data, "12345");
  expect_bad(bytes, "float_data ends within a number");
}

TEST(DecodeTensor, Segments) {
  std::string bytes = head({1}, DType::f32);
  Writer(bytes).add_message(proto::tensor_segment, std::string());
  expect_error(ErrorCode::unsupported, "stored in segments",
               [&] { decode_tensor(bytes_of(bytes)); });
}

TEST(DecodeTensor, ExternalDataIsRefused) {
  std::string bytes = head({1}, DType::f32);
  Writer(bytes).add_int32(proto::tensor_data_location, proto::kDataLocationExternal);
  {
    Writer tensor_writer(bytes);
    Writer entry(tensor_writer, proto::tensor_external_data);
    entry.add_string(proto::entry_key, "location");
    entry.add_string(proto::entry_value, "w.bin");
  }
  expect_error(ErrorCode::not_found, "'w.bin' is not there",
               [&] { decode_tensor(bytes_of(bytes)); });
}

}  // namespace
}  // namespace onrush::onnx
