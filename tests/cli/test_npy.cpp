#include <fmt/format.h>

#include "base/numeric.h"
#include "npy/npy.h"
#include "npy/unicode.h"
#include "support.h"

namespace onrush::cli {
namespace {

using onnx::expect_error;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

Tensor decode(std::string_view text, DType expected = DType::undefined) {
  return decode_npy(bytes_of(text), "a.npy", expected);
}

// A version 1 file as NumPy writes it.
std::string file(const std::string& dictionary, std::string_view data) {
  const std::string header = dictionary + "\n";
  std::string text("\x93NUMPY\1\0", 8);
  text += static_cast<char>(header.size());
  text += '\0';
  return text + header + std::string(data);
}

void expect_bad(std::string_view text, const std::string& message) {
  expect_error(ErrorCode::invalid_argument, message, [&] { decode(text); });
}

void expect_round_trip(const Tensor& tensor) {
  SCOPED_TRACE(onnx_name(tensor.dtype()));
  const Tensor back = decode(encode_npy(tensor), tensor.dtype());
  ASSERT_EQ(back.dtype(), tensor.dtype());
  ASSERT_EQ(back.shape(), tensor.shape());
  if (tensor.dtype() == DType::string) {
    EXPECT_TRUE(std::ranges::equal(back.strings(), tensor.strings()));
  } else if (tensor.count() > 0) {
    EXPECT_EQ(std::memcmp(back.data(), tensor.data(), tensor.bytes()), 0);
  }
}

TEST(Npy, every_element_type_survives) {
  for (int i = 1; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (dtype == DType::string) continue;
    Tensor tensor(dtype, {2, 4});
    auto* bytes = static_cast<uint8_t*>(tensor.data());
    for (size_t at = 0; at < tensor.bytes(); ++at) bytes[at] = static_cast<uint8_t>(at * 37 + 11);
    if (dtype == DType::boolean)
      for (uint8_t& value : tensor.as<uint8_t>()) value &= 1;
    expect_round_trip(tensor);
  }
}

TEST(Npy, scalars_and_empty_arrays_survive) {
  expect_round_trip(onnx::tensor<float>(DType::f32, {}, {3.5f}));
  expect_round_trip(Tensor(DType::i64, {0, 7}));
  expect_round_trip(Tensor::of_strings({0}, {}));
  expect_round_trip(Tensor::of_strings({}, {"one"}));
}

TEST(Npy, strings_survive) {
  expect_round_trip(
      Tensor::of_strings({2, 2}, {"", "h\u00e9\u00e9", "\u20ac \U0001f600", "plain"}));
  expect_round_trip(Tensor::of_strings({2}, {"\xff\xfe raw", "x"}));  // not UTF-8: as bytes
}

TEST(Npy, data_starts_at_a_multiple_of_64) {
  const std::string text = encode_npy(onnx::tensor<uint8_t>(DType::u8, {1}, {9}));
  EXPECT_EQ(text.size() % 64, 1u);
  expect_text(text, "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }");
  expect_text(encode_npy(Tensor(DType::f16, {2, 3})),
              "'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }");
  expect_text(encode_npy(onnx::tensor<double>(DType::f64, {}, {1})), "'shape': (), }");
}

TEST(Npy, fortran_order_and_big_endian_are_undone) {
  const Tensor tensor = decode(file("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }",
                                    std::string_view("\0\0\0\3\0\1\0\4\0\2\0\5", 12)));
  EXPECT_EQ(tensor.dtype(), DType::i16);
  EXPECT_TRUE(std::ranges::equal(tensor.as<int16_t>(), std::vector<int16_t>{0, 1, 2, 3, 4, 5}));
}

TEST(Npy, newer_versions_have_longer_headers) {
  std::string text = file("{'descr': '<u2', 'fortran_order': False, 'shape': (1,)}", "\7\1");
  text[6] = 2;
  text.insert(10, 2, '\0');
  EXPECT_EQ(decode(text).as<uint16_t>()[0], 0x107);
  text[6] = 4;
  expect_bad(text, "its version is unknown");
}

TEST(Npy, byte_strings_and_code_points_are_read) {
  EXPECT_EQ(decode(file("{'descr': '|S4', 'fortran_order': False, 'shape': (), }",
                        std::string_view("ab\0\0", 4)))
                .strings()[0],
            "ab");
  EXPECT_EQ(decode(file("{'descr': '>U2', 'fortran_order': False, 'shape': (1,), }",
                        std::string_view("\0\0\0h\0\0\0\xe9", 8)))
                .strings()[0],
            "h\u00e9");
}

TEST(Npy, booleans_become_zero_or_one) {
  const Tensor tensor = decode(file("{'descr': '|b1', 'fortran_order': False, 'shape': (2,), }",
                                    std::string_view("\0\7", 2)));
  EXPECT_EQ(tensor.as<uint8_t>()[1], 1);
}

TEST(Npy, small_integers_are_checked) {
  const std::string text =
      file("{'descr': '|i1', 'fortran_order': False, 'shape': (2,), }", "\7\xf8");
  EXPECT_EQ(decode(text).dtype(), DType::i8);
  const Tensor tensor = decode(text, DType::i4);
  EXPECT_EQ(load_i64(DType::i4, tensor.data(), 0), 7);
  EXPECT_EQ(load_i64(DType::i4, tensor.data(), 1), -8);
  expect_error(ErrorCode::invalid_argument, "7 does not fit into int2",
               [&] { decode(text, DType::i2); });
}

TEST(Npy, broken_files_are_refused) {
  const std::string good =
      file("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", "12345678");
  EXPECT_EQ(decode(good).count(), 2);
  expect_bad("", "a.npy: not an .npy file");
  expect_bad("PK\3\4", "not an .npy file");
  for (size_t length = 0; length < good.size(); ++length)
    expect_error(ErrorCode::invalid_argument,
                 "a.npy: ", [&] { decode(std::string_view(good).substr(0, length)); });
  expect_bad(file("{'descr': '<f4', 'shape': (2,), }", ""), "header cannot be read");
  expect_bad(file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", ""),
             "header cannot be read");
  expect_bad(file("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3", ""),
             "header cannot be read");
  expect_bad(file("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }", ""),
             "cut short");
  expect_bad(file("{'descr': '<U0', 'fortran_order': False, 'shape': (1099511627776,), }", ""),
             "cut short");
}

TEST(Npy, overflowing_shapes_are_refused) {
  EXPECT_THROW(
      decode(file("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
                  "")),
      Error);
}

TEST(Npy, other_types_are_refused_with_a_remedy) {
  expect_bad(file("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", ""),
             "array.astype(str)");
  expect_bad(file("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", ""),
             "structured");
  expect_bad(file("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,), }", ""), "'M8[ns]'");
  expect_bad(file("{'descr': '<V2', 'fortran_order': False, 'shape': (1,), }", "12"), "'<V2'");
}

TEST(Utf8, accepts_only_valid_sequences) {
  EXPECT_EQ(from_utf8("a\u00e9\u20ac\U0001f600"), U"a\u00e9\u20ac\U0001f600");
  for (const std::string text : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80",
                                 "\xf4\x90\x80\x80", "\xff", "\xe2\x82"})
    EXPECT_FALSE(from_utf8(text)) << text;
  EXPECT_EQ(to_utf8(std::u32string{0xd800, 0x110000}), "\ufffd\ufffd");
}

}  // namespace
}  // namespace onrush::cli
