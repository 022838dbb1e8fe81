// The commands about the machine: doctor and cache.
#include "base/disk_cache.h"
#include "support.h"

namespace onrush::cli {
namespace {

TEST(Doctor, TellsWhatThisMachineOffers) {
  expect_output({"doctor"}, {"processors: ", "bfloat16 products", "CUDA"});
  expect_failure(2, {"doctor", "--now"}, {});
}

class CacheCommands : public testing::Test {
 protected:
  CacheCommands() {
    const DiskCache disk({.folder = folder_.path("kept"), .note = {}});
    for (uint64_t i = 0; i < 3; ++i)
      EXPECT_TRUE(disk.store({1, i}, "cubin", std::vector<std::byte>(1000)));
  }
  Folder folder_;
  const std::string kept_ = folder_.path("kept");
};

TEST_F(CacheCommands, Show) {
  expect_output({"cache", "show", "--folder", kept_},
                {"folder: " + kept_, "entries: 3", "cubin: 3"});
}

// Entries of other kinds are no results of tuning.
TEST_F(CacheCommands, Tuning) {
  const Result result = onrush({"cache", "tuning", "--folder", kept_});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out, "");
}

TEST_F(CacheCommands, Trim) {
  expect_output({"cache", "trim", "2500B", "--folder", kept_}, {"entries: 2"});
  expect_failure(2, {"cache", "trim", "--folder", kept_}, {"SIZE"});
}

TEST_F(CacheCommands, Clear) {
  expect_output({"cache", "clear", "--folder", kept_}, {"entries: 0"});
  expect_output({"cache", "show", "--folder", kept_}, {"entries: 0"});
}

TEST_F(CacheCommands, WrongUsage) { expect_failure(2, {"cache", "polish"}, {"polish"}); }

}  // namespace
}  // namespace onrush::cli
