#include <atomic>
#include <csignal>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "base/disk_cache.h"
#include "cuda/support.h"

namespace onrush {
namespace {

namespace fs = std::filesystem;
using cuda::TemporaryFolder;
using cuda::write_file;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

CacheKey key_of(std::string_view text) { return cache_key(std::vector{text}); }

class DiskCacheTest : public testing::Test {
 protected:
  CacheOptions options(uint64_t limit = 1 << 20) {
    return {folder_.path().string(), limit,
            [this](const std::string& note) { notes_.push_back(note); }};
  }
  fs::path file_of(CacheKey key) { return folder_ / (to_string(key) + ".cubin"); }
  void age(CacheKey key, int hours) {
    fs::last_write_time(file_of(key), fs::file_time_type::clock::now() - std::chrono::hours(hours));
  }

  TemporaryFolder folder_;
  std::vector<std::string> notes_;
};

TEST_F(DiskCacheTest, KeysTellPartsApart) {
  const auto key = [](std::vector<std::string_view> parts) { return cache_key(parts); };
  EXPECT_EQ(key({"ab", "c"}), key({"ab", "c"}));
  EXPECT_NE(key({"ab", "c"}), key({"a", "bc"}));
  EXPECT_NE(key({"ab"}), key({"ab", ""}));
  EXPECT_EQ(to_string(key({})).size(), 32u);
}

TEST_F(DiskCacheTest, KeepsContentBetweenInstances) {
  ASSERT_TRUE(DiskCache(options()).store(key_of("a"), "cubin", bytes_of("content")));
  ASSERT_TRUE(DiskCache(options()).store(key_of("empty"), "cubin", {}));
  const DiskCache cache(options());
  EXPECT_EQ(cache.load(key_of("a"), "cubin"), bytes_of("content"));
  EXPECT_EQ(cache.load(key_of("empty"), "cubin"), bytes_of(""));
  EXPECT_FALSE(cache.load(key_of("a"), "plan"));
  EXPECT_FALSE(cache.load(key_of("b"), "cubin"));
}

TEST_F(DiskCacheTest, RebuildsWhateverIsDamaged) {
  const DiskCache cache(options());
  const CacheKey key = key_of("a");
  cache.store(key, "cubin", bytes_of("some content"));
  const fs::path file = file_of(key);
  const size_t size = fs::file_size(file);

  for (size_t keep = 0; keep < size; ++keep) {  // half-written
    fs::resize_file(file, keep);
    EXPECT_FALSE(cache.load(key, "cubin")) << keep;
    ASSERT_TRUE(cache.store(key, "cubin", bytes_of("some content")));
  }
  for (size_t at = 0; at < size; ++at) {  // one byte wrong
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(at);
    const char byte = static_cast<char>(stream.get() ^ 0x10);
    stream.seekp(at);
    stream.put(byte).flush();
    EXPECT_FALSE(cache.load(key, "cubin")) << at;
    ASSERT_TRUE(cache.store(key, "cubin", bytes_of("some content")));
  }
  std::ofstream(file, std::ios::app) << "more";
  EXPECT_FALSE(cache.load(key, "cubin"));
  ASSERT_TRUE(cache.store(key, "cubin", bytes_of("some content")));
  EXPECT_EQ(cache.load(key, "cubin"), bytes_of("some content"));
}

TEST_F(DiskCacheTest, DoesNotTrustForeignFiles) {
  const DiskCache cache(options());
  const CacheKey key = key_of("a"), other = key_of("b");
  write_file(file_of(key), "not an entry");
  EXPECT_FALSE(cache.load(key, "cubin"));

  cache.store(other, "cubin", bytes_of("content"));
  fs::rename(file_of(other), file_of(key));  // whole, but another key's
  EXPECT_FALSE(cache.load(key, "cubin"));

  fs::remove(file_of(key));
  cache.store(other, "cubin", bytes_of("content"));
  fs::create_symlink(file_of(other), file_of(key));
  EXPECT_FALSE(cache.load(key, "cubin"));
}

TEST_F(DiskCacheTest, ListsAndTrimsTheLeastRecentlyUsed) {
  const DiskCache cache(options());
  const CacheKey a = key_of("a"), b = key_of("b"), c = key_of("c");
  for (CacheKey key : {a, b, c}) cache.store(key, "cubin", std::vector<std::byte>(1000));
  age(a, 3);
  age(b, 2);
  age(c, 1);
  ASSERT_TRUE(cache.load(a, "cubin"));  // now used last

  const std::vector<CacheEntry> entries = cache.list();
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].key, a);
  EXPECT_EQ(entries[1].key, c);
  EXPECT_EQ(entries[2].key, b);
  EXPECT_EQ(entries[0].kind, "cubin");
  EXPECT_EQ(entries[0].bytes, 1048u);

  EXPECT_EQ(cache.trim(2500), 2096u);
  EXPECT_TRUE(cache.load(a, "cubin") && cache.load(c, "cubin"));
  EXPECT_FALSE(cache.load(b, "cubin"));
  cache.clear();
  EXPECT_TRUE(cache.list().empty());
}

TEST_F(DiskCacheTest, StaysUnderItsLimit) {
  const DiskCache cache(options(10'000));
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(cache.store(key_of(std::to_string(i)), "cubin", std::vector<std::byte>(1000)));
  const std::vector<CacheEntry> entries = cache.list();
  EXPECT_GE(entries.size(), 6u);
  EXPECT_LE(entries.size(), 9u);
  EXPECT_FALSE(cache.store(key_of("big"), "cubin", std::vector<std::byte>(10'000)));
  EXPECT_TRUE(notes_.empty());
}

TEST_F(DiskCacheTest, LeavesFilesOfOthersAlone) {
  const DiskCache cache(options());
  const fs::path mine = folder_ / "thesis.doc", look_alike = folder_ / "0123.cubin";
  const fs::path orphan = folder_ / (to_string(key_of("x")) + ".cubin.123-4.tmp");
  const fs::path writing = folder_ / (to_string(key_of("y")) + ".cubin.123-5.tmp");
  for (const fs::path& file : {mine, look_alike, orphan, writing}) write_file(file, "text");
  fs::last_write_time(orphan, fs::file_time_type::clock::now() - std::chrono::hours(2));
  cache.store(key_of("a"), "cubin", bytes_of("content"));

  EXPECT_EQ(cache.list().size(), 1u);
  cache.clear();
  EXPECT_TRUE(fs::exists(mine) && fs::exists(look_alike) && fs::exists(writing));
  EXPECT_FALSE(fs::exists(orphan));
}

TEST_F(DiskCacheTest, MakesItsFolderForItsOwnerOnly) {
  CacheOptions nested = options();
  nested.folder = (folder_ / "deep/er").string();
  const DiskCache cache(nested);
  EXPECT_FALSE(cache.load(key_of("a"), "cubin"));
  EXPECT_TRUE(cache.list().empty());
  EXPECT_TRUE(cache.store(key_of("a"), "cubin", bytes_of("content")));
  EXPECT_EQ(fs::status(nested.folder).permissions(), fs::perms::owner_all);
}

TEST_F(DiskCacheTest, AnUnusableFolderCostsOneNote) {
  write_file(folder_ / "file", "");
  CacheOptions broken = options();
  broken.folder = (folder_ / "file/cache").string();
  const DiskCache cache(broken);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(cache.store(key_of("a"), "cubin", bytes_of("content")));
    EXPECT_FALSE(cache.load(key_of("a"), "cubin"));
  }
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_NE(notes_[0].find(broken.folder), std::string::npos) << notes_[0];
  EXPECT_TRUE(cache.list().empty());
  cache.clear();
}

// Root may write everywhere, so this acts as another user.
class AsNobody {
 public:
  AsNobody() : user_(::geteuid()) { switched_ = user_ != 0 || ::seteuid(65534) == 0; }
  ~AsNobody() { switched_ = ::seteuid(user_) == 0; }
  bool switched() const { return switched_; }

 private:
  uid_t user_;
  bool switched_;
};

TEST_F(DiskCacheTest, AReadOnlyFolderStillServes) {
  const CacheKey key = key_of("a");
  DiskCache(options()).store(key, "cubin", bytes_of("content"));
  fs::permissions(file_of(key), fs::perms(0444));
  fs::permissions(folder_.path(), fs::perms(0555));
  {
    const AsNobody nobody;
    ASSERT_TRUE(nobody.switched());
    const DiskCache cache(options());
    EXPECT_TRUE(cache.load(key, "cubin"));
    EXPECT_FALSE(cache.store(key_of("b"), "cubin", bytes_of("content")));
    EXPECT_FALSE(cache.store(key_of("c"), "cubin", bytes_of("content")));
    EXPECT_EQ(notes_.size(), 1u);
  }
  fs::permissions(folder_.path(), fs::perms::owner_all);
}

// Writes and reads the same few entries, whose content follows from their key. True if every load
// gave nothing or the right content.
bool hammer(const DiskCache& cache, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    const std::string name = std::to_string(i % 7);
    const std::vector<std::byte> content(5000 + i % 7, std::byte(i % 7));
    if (const auto kept = cache.load(key_of(name), "cubin"); kept && *kept != content) return false;
    if (!cache.store(key_of(name), "cubin", content)) return false;
    if (i % 50 == 0) cache.trim(12'000);
  }
  return true;
}

TEST_F(DiskCacheTest, ProcessesShareAFolder) {
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) ::_exit(hammer(DiskCache(options()), 400) ? 0 : 1);
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  for (const fs::directory_entry& file : fs::directory_iterator(folder_.path()))
    EXPECT_EQ(file.path().extension(), ".cubin");
}

TEST_F(DiskCacheTest, AWriterThatDiesLeavesNoEntry) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const DiskCache cache(options(uint64_t{1} << 30));
    const std::vector<std::byte> content(8 << 20);
    for (;;) cache.store(key_of("a"), "cubin", content);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const auto kept = DiskCache(options()).load(key_of("a"), "cubin");
  EXPECT_TRUE(!kept || *kept == std::vector<std::byte>(8 << 20));
}

TEST_F(DiskCacheTest, ThreadsShareACache) {
  const DiskCache cache(options(40'000));
  std::vector<std::jthread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { good += hammer(cache, 200); });
  threads.clear();
  EXPECT_EQ(good, 4);
}

}  // namespace
}  // namespace onrush
