// Blobs kept in one folder between processes: compiled kernels, plans, tuning results.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace onrush {

// 128 bits that name an entry: a hash of everything the blob depends on.
struct CacheKey {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const CacheKey&) const = default;
};
std::string to_string(CacheKey key);  // 32 hexadecimal digits

// The hash of all parts in order, each with its length: {"ab", "c"} and {"a", "bc"} differ.
CacheKey cache_key(std::span<const std::string_view> parts);

struct CacheOptions {
  // Empty: $ONRUSH_CACHE, else $XDG_CACHE_HOME/onrush, else ~/.cache/onrush.
  std::string folder;
  uint64_t limit = uint64_t{1} << 30;  // bytes of all entries together
  // Told once why nothing is kept, if so; by default a line on standard error.
  std::function<void(const std::string&)> note;
};
std::string default_cache_folder();  // empty if the environment names none

struct CacheEntry {
  CacheKey key;
  std::string kind;
  uint64_t bytes = 0;  // on disk
  std::chrono::file_clock::time_point last_used;
};

// A file holds a header (magic, key, size, checksum of the content) and the content. It is written
// under another name and renamed, so that readers see all of it or nothing; whatever does not match
// its header is treated as absent and replaced by the next store(). A folder that is missing is
// made; one that cannot be read or written costs the cache, never an error.
//
// Thread safe, and safe with other processes on the same folder.
class DiskCache {
 public:
  explicit DiskCache(CacheOptions options = {});

  const std::string& folder() const { return options_.folder; }
  uint64_t limit() const { return options_.limit; }

  // `kind` tells the uses of the cache apart ("cubin", "plan"): lower-case letters only.
  // The content stored last under this key and kind, if it is there and undamaged.
  std::optional<std::vector<std::byte>> load(CacheKey key, std::string_view kind) const;
  // True if it is on disk now. Beyond the limit, the entries used least recently go.
  bool store(CacheKey key, std::string_view kind, std::span<const std::byte> content) const;

  std::vector<CacheEntry> list() const;  // used most recently first; files of others are left out
  // Removes the entries used least recently until the rest takes at most `bytes`, and what writers
  // that died have left. Gives the bytes that remain. Files of others are never touched.
  uint64_t trim(uint64_t bytes) const;
  void clear() const { trim(0); }

 private:
  std::string path(CacheKey key, std::string_view kind) const;
  bool write(const std::string& path, std::string_view header,
             std::span<const std::byte> content) const;
  void account(uint64_t added) const;
  void note_once(const std::string& why) const;

  CacheOptions options_;
  mutable std::mutex mutex_;
  mutable std::optional<uint64_t> bytes_;  // an estimate: other processes store and trim too
  mutable bool noted_ = false;
};

}  // namespace onrush
