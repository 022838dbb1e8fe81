#include "npy/npy.h"
#include "support.h"

namespace onrush::cli {
namespace {

using onnx::expect_error;

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

// numpy.savez_compressed(file, x=numpy.arange(6, dtype=numpy.float32).reshape(2, 3))
const std::string kCompressed = from_hex(
    "504b03042d0000000800000021004fe9002affffffffffffffff05001400782e6e7079010010009800000000"
    "00000055000000000000009bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a06e9366a2aea3a09e965f5452"
    "9498179f5f94920a12774bcc294e058a17672416a402f91a463a0ac69a3a0ab50a64032e063068b007120e40"
    "04c40d40bcc00100504b01022d032d0000000800000021004fe9002a55000000980000000500000000000000"
    "00000000800100000000782e6e7079504b05060000000001000100330000008c0000000000");

void expect_same(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.dtype(), b.dtype());
  EXPECT_EQ(a.shape(), b.shape());
  EXPECT_EQ(encode_npy(a), encode_npy(b));
}

TEST(Npz, arrays_survive_under_their_names) {
  const Folder folder;
  const std::string path = folder.path("a.npz");
  const Tensor x = onnx::tensor<float>(DType::f32, {2, 2}, {1, 2, 3, 4});
  const Tensor text = Tensor::of_strings({2}, {"a", "bc"});
  write_npz(path, std::vector<std::pair<std::string, Tensor>>{{"x", x}, {"block/0", text}});
  const NpzFile file(path);
  EXPECT_EQ(file.names(), (std::vector<std::string>{"x", "block/0"}));
  expect_same(file.read("x"), x);
  expect_same(file.read("block/0"), text);
  expect_error(ErrorCode::not_found, "there is no array 'z'; it has 'x', 'block/0'",
               [&] { file.read("z"); });
}

TEST(Npz, an_archive_may_be_empty) {
  const Folder folder;
  write_npz(folder.path("a.npz"), {});
  EXPECT_TRUE(NpzFile(folder.path("a.npz")).names().empty());
}

TEST(Npz, compressed_archives_are_read) {
  const Folder folder;
  const NpzFile file(folder.write("a.npz", kCompressed));
  expect_same(file.read("x"), onnx::tensor<float>(DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5}));
}

// Nothing but an Error may come of it, and no wrong numbers.
void read_damaged(std::string_view bytes) {
  try {
    for (const ZipEntry& entry : read_zip(std::as_bytes(std::span(bytes)), "a.npz"))
      expect_same(decode_npy(extract(entry, "a.npz"), "a.npz"),
                  onnx::tensor<float>(DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5}));
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::internal) << error.what();
  }
}

TEST(Npz, damage_is_noticed) {
  const Folder folder;
  write_npz(folder.path("stored.npz"),
            std::vector<std::pair<std::string, Tensor>>{
                {"x", onnx::tensor<float>(DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5})}});
  for (const std::string& good : {kCompressed, read_file(folder.path("stored.npz"))}) {
    for (size_t length = 0; length < good.size(); ++length)
      read_damaged(std::string_view(good).substr(0, length));
    for (size_t at = 0; at < good.size(); ++at)
      for (const int flip : {0x01, 0x80, 0xff}) {
        std::string bytes = good;
        bytes[at] = static_cast<char>(bytes[at] ^ flip);
        read_damaged(bytes);
      }
  }
}

TEST(Npz, absent_files_and_folders_are_errors) {
  const Folder folder;
  expect_error(ErrorCode::not_found, "none.npz", [&] { NpzFile(folder.path("none.npz")); });
  expect_error(ErrorCode::invalid_argument, "no/a.npz",
               [&] { write_npz(folder.path("no/a.npz"), {}); });
}

}  // namespace
}  // namespace onrush::cli
