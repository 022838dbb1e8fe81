#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sys/stat.h>

#include "builders.h"
#include "onnx/external_data.h"
#include "onnx/sha1.h"

namespace onrush::onnx {
namespace {

namespace fs = std::filesystem;

using Entries = std::vector<std::pair<std::string, std::string>>;

const std::string kData = "0123456789abcdef";

// model/m.onnx with model/w.bin beside it, and outside/secret.bin that no model may reach.
class ExternalDataTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(testing::TempDir()) / (std::string("onrush_external_") + info->name());
    fs::remove_all(root_);
    fs::create_directories(root_ / "model/sub");
    fs::create_directories(root_ / "outside");
    write(root_ / "model/w.bin", kData);
    write(root_ / "model/sub/v.bin", kData);
    write(root_ / "outside/secret.bin", kData);
  }
  void TearDown() override { fs::remove_all(root_); }

  static void write(const fs::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }

  // A model with one u8 tensor "w" of `count` elements stored externally.
  std::string model_bytes(const Entries& entries, int64_t count = 4) const {
    std::string tensor_bytes;
    Writer tensor_writer(tensor_bytes);
    tensor_writer.add_int64(proto::tensor_dims, count);
    tensor_writer.add_int32(proto::tensor_data_type, static_cast<int32_t>(DType::u8));
    tensor_writer.add_string(proto::tensor_name, "w");
    tensor_writer.add_int32(proto::tensor_data_location, proto::kDataLocationExternal);
    for (const auto& [key, value] : entries) {
      Writer entry(tensor_writer, proto::tensor_external_data);
      entry.add_string(proto::entry_key, key);
      entry.add_string(proto::entry_value, value);
    }
    std::string bytes = encode(model(graph({}, {}, {})));
    Writer writer(bytes);
    Writer graph_writer(writer, proto::model_graph);
    graph_writer.add_message(proto::graph_initializer, tensor_bytes);
    return bytes;
  }

  Tensor load_weight(const Entries& entries, const LoadOptions& options = {}, int64_t count = 4) {
    write(root_ / "model/m.onnx", model_bytes(entries, count));
    return load((root_ / "model/m.onnx").string(), options).graph.initializers[0].tensor;
  }

  void expect_refused(const Entries& entries, const std::string& text, int64_t count = 4) {
    expect_error(ErrorCode::invalid_model, text, [&] { load_weight(entries, {}, count); });
  }

  // Both ways of opening must refuse the location alike.
  void expect_unreachable(const std::string& location, const std::string& text) {
    const Place file{.name = "m.onnx"};
    const std::string directory = (root_ / "model").string();
    for (const OpenMethod method : {OpenMethod::automatic, OpenMethod::by_component})
      expect_error(ErrorCode::invalid_model, text,
                   [&] { open_beneath(directory, location, file, method); });
    expect_refused({{"location", location}}, text);
  }

  fs::path root_;
};

std::string text_of(const void* data, size_t bytes) {
  return {static_cast<const char*>(data), bytes};
}
std::string text_of(const Tensor& tensor) { return text_of(tensor.data(), tensor.bytes()); }

TEST_F(ExternalDataTest, ReadsTheRange) {
  EXPECT_EQ(text_of(load_weight({{"location", "w.bin"}})), "0123");
  EXPECT_EQ(text_of(load_weight({{"location", "w.bin"}, {"offset", "12"}, {"length", "4"}})),
            "cdef");
  EXPECT_EQ(text_of(load_weight({{"location", "./sub//v.bin"}, {"offset", "1"}})), "1234");
}

// The file is sparse: it takes no room.
TEST_F(ExternalDataTest, ReadsWeightsOfMoreThanFourGigabytes) {
  const int64_t bytes = int64_t{5} << 30;
  fs::resize_file(root_ / "model/w.bin", static_cast<uintmax_t>(bytes));
  std::fstream file(root_ / "model/w.bin", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(bytes - 4) << "last";
  file.close();
  const Tensor whole = load_weight({{"location", "w.bin"}}, {}, bytes);
  EXPECT_EQ(whole.bytes(), static_cast<size_t>(bytes));
  EXPECT_EQ(text_of(whole.data(), 4), "0123");
  EXPECT_EQ(text_of(static_cast<const char*>(whole.data()) + bytes - 4, 4), "last");
  const std::string offset = std::to_string(bytes - 4);
  EXPECT_EQ(text_of(load_weight({{"location", "w.bin"}, {"offset", offset}})), "last");
}

TEST_F(ExternalDataTest, OpensByComponentToo) {
  const Place file{.name = "m.onnx"};
  for (const std::string location : {"w.bin", "sub/v.bin", "./sub//v.bin"})
    EXPECT_TRUE(open_beneath((root_ / "model").string(), location, file, OpenMethod::by_component));
  EXPECT_FALSE(
      open_beneath((root_ / "model").string(), "no/w.bin", file, OpenMethod::by_component));
}

TEST_F(ExternalDataTest, DirectoryMayBeReachedThroughALink) {
  write(root_ / "model/m.onnx", model_bytes({{"location", "w.bin"}}));
  fs::create_directory_symlink(root_ / "model", root_ / "link");
  const Model m = load((root_ / "link/m.onnx").string());
  EXPECT_EQ(text_of(m.graph.initializers[0].tensor), "0123");
}

TEST_F(ExternalDataTest, AbsolutePath) {
  expect_unreachable((root_ / "outside/secret.bin").string(), "is an absolute path");
}

TEST_F(ExternalDataTest, ParentDirectory) {
  expect_unreachable("../outside/secret.bin", "leaves the model's folder through '..'");
  expect_unreachable("sub/../../outside/secret.bin", "through '..'");
  expect_unreachable("..", "through '..'");
  expect_unreachable("sub/..", "through '..'");
}

TEST_F(ExternalDataTest, EmptyAndStrangeLocations) {
  expect_unreachable("", "external data has no location");
  expect_unreachable(".", "names no file");
  expect_unreachable(std::string("w.bin\0../x", 10), "holds a zero byte");
  expect_unreachable("sub", "is no regular file");
  expect_unreachable("w.bin/x", "cannot be opened: Not a directory");
}

TEST_F(ExternalDataTest, SymbolicLinkToFile) {
  fs::create_symlink(root_ / "outside/secret.bin", root_ / "model/link.bin");
  expect_unreachable("link.bin", "'link.bin' is reached through a symbolic link");
  fs::create_symlink("w.bin", root_ / "model/inside.bin");
  expect_unreachable("inside.bin", "symbolic link");
}

TEST_F(ExternalDataTest, SymbolicLinkToFolder) {
  fs::create_directory_symlink(root_ / "outside", root_ / "model/folder");
  expect_unreachable("folder/secret.bin", "symbolic link");
}

TEST_F(ExternalDataTest, HardLink) {
  fs::create_hard_link(root_ / "outside/secret.bin", root_ / "model/hard.bin");
  expect_unreachable("hard.bin", "is a hard link (2 names for one file)");
}

TEST_F(ExternalDataTest, Pipe) {
  ASSERT_EQ(::mkfifo((root_ / "model/pipe").c_str(), 0600), 0);
  expect_unreachable("pipe", "is no regular file");
}

TEST_F(ExternalDataTest, OutOfBounds) {
  expect_refused({{"location", "w.bin"}, {"offset", "13"}},
                 "m.onnx: tensor 'w': external data reaches from byte 13 over 4 bytes, but file "
                 "'w.bin' has 16");
  expect_refused({{"location", "w.bin"}, {"offset", "17"}}, "reaches from byte 17");
  expect_refused({{"location", "w.bin"}, {"offset", "18446744073709551615"}}, "reaches from byte");
  expect_refused({{"location", "w.bin"}}, "over 1099511627776 bytes", int64_t{1} << 40);
}

TEST_F(ExternalDataTest, LengthOfAnotherSizeThanTheShape) {
  expect_refused({{"location", "w.bin"}, {"length", "5"}},
                 "external data has 5 bytes where shape and dtype need 4");
}

TEST_F(ExternalDataTest, NumbersThatAreNone) {
  for (const std::string text : {"-1", "4x", "", "99999999999999999999", " 4", "0x10"})
    expect_refused({{"location", "w.bin"}, {"offset", text}}, "not a number of bytes");
}

TEST_F(ExternalDataTest, Checksum) {
  std::string digest = sha1(bytes_of(kData));
  EXPECT_EQ(text_of(load_weight({{"location", "w.bin"}, {"checksum", digest}})), "0123");
  std::ranges::transform(digest, digest.begin(), ::toupper);
  EXPECT_EQ(text_of(load_weight({{"location", "w.bin"}, {"checksum", digest}})), "0123");
  const Entries wrong = {{"location", "w.bin"}, {"checksum", std::string(40, '0')}};
  expect_refused(wrong, "'w.bin' has SHA1 fe5567e8d769550852182cdf69d74bb16dff8e29 where");
  EXPECT_EQ(text_of(load_weight(wrong, {.verify_checksums = false})), "0123");
}

TEST_F(ExternalDataTest, MissingFile) {
  const Entries entries = {{"location", "none.bin"}};
  expect_error(ErrorCode::not_found,
               "m.onnx: tensor 'w': external data file 'none.bin' is not there; put it into the "
               "model's folder",
               [&] { load_weight(entries); });
  const Tensor absent = load_weight(entries, {.allow_missing_external_data = true});
  EXPECT_EQ(absent.data(), nullptr);
  EXPECT_EQ(absent.shape(), Shape{4});
  EXPECT_EQ(absent.dtype(), DType::u8);
}

TEST_F(ExternalDataTest, ToleranceOfMissingFilesIsNoLoophole) {
  const LoadOptions options{.allow_missing_external_data = true};
  expect_error(ErrorCode::invalid_model, "through '..'", [&] {
    load_weight({{"location", "../no.bin"}}, options);
  });
  expect_error(ErrorCode::invalid_model, "more than 2^40 elements", [&] {
    load_weight({{"location", "no.bin"}}, options, (int64_t{1} << 40) + 1);
  });
}

TEST_F(ExternalDataTest, FromMemory) {
  LoadOptions options;
  options.external_data["x.bin"] = {bytes_of(kData)};
  const std::string bytes = model_bytes({{"location", "x.bin"}, {"offset", "3"}});
  const Tensor copy = decode_text(bytes, options).graph.initializers[0].tensor;
  EXPECT_EQ(text_of(copy), "3456");
  EXPECT_NE(copy.data(), kData.data() + 3);

  const auto owner = std::make_shared<std::string>(kData);
  options.external_data["x.bin"] = {bytes_of(*owner), owner};
  const Tensor view = decode_text(bytes, options).graph.initializers[0].tensor;
  EXPECT_EQ(view.data(), owner->data() + 3);
}

TEST_F(ExternalDataTest, ModelInMemoryReachesFilesOnlyWhenToldWhere) {
  const std::string bytes = model_bytes({{"location", "w.bin"}});
  expect_error(ErrorCode::not_found, "is not there", [&] { decode_text(bytes); });
  const LoadOptions options{.external_directory = (root_ / "model").string()};
  EXPECT_EQ(text_of(decode_text(bytes, options).graph.initializers[0].tensor), "0123");
}

TEST_F(ExternalDataTest, MappingIsSharedAndOutlivesTheModel) {
  const Tensor weight = load_weight({{"location", "w.bin"}});
  fs::remove(root_ / "model/w.bin");
  EXPECT_EQ(text_of(weight), "0123");
}

TEST(Sha1, KnownDigests) {
  EXPECT_EQ(sha1({}), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(sha1(bytes_of("abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(sha1(bytes_of(std::string(1000000, 'a'))), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
  EXPECT_EQ(sha1(bytes_of(std::string(55, 'a'))), "c1c8bbdc22796e28c0e15163d20899b65621d65a");
  EXPECT_EQ(sha1(bytes_of(std::string(64, 'a'))), "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

}  // namespace
}  // namespace onrush::onnx
