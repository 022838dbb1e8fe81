#include "base/disk_cache.h"

#define XXH_INLINE_ALL  // of xxhash.h
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/check.h"
#include "base/mapped_file.h"

namespace onrush {
namespace {

namespace fs = std::filesystem;

struct Header {
  std::array<char, 8> magic = {'o', 'n', 'r', 'u', 's', 'h', 'c', '1'};
  CacheKey key;
  uint64_t bytes = 0;
  CacheKey checksum;
  bool operator==(const Header&) const = default;
};
static_assert(sizeof(Header) == 48, "written to files as it is");

constexpr std::string_view kTemporarySuffix = ".tmp";
// A writer is done in well under a second; what is older was left by one that died.
constexpr auto kTemporaryLife = std::chrono::hours(1);

CacheKey hash(const void* data, size_t bytes) {
  const XXH128_hash_t value = XXH3_128bits(data, bytes);
  return {value.high64, value.low64};
}

std::optional<CacheKey> parse_key(std::string_view digits) {
  if (digits.size() != 32) return std::nullopt;
  const char* begin = digits.data();
  CacheKey key;
  const auto high = std::from_chars(begin, begin + 16, key.high, 16);
  const auto low = std::from_chars(begin + 16, begin + 32, key.low, 16);
  if (high.ptr != begin + 16 || low.ptr != begin + 32) return std::nullopt;
  return key;
}

bool is_kind(std::string_view kind) {
  return !kind.empty() &&
         std::all_of(kind.begin(), kind.end(), [](char c) { return 'a' <= c && c <= 'z'; });
}

// The entry that a file of this name would be; empty for files of others.
std::optional<CacheEntry> parse_name(const std::string& name) {
  const size_t dot = name.find('.');
  if (dot == std::string::npos || !is_kind(std::string_view(name).substr(dot + 1))) return {};
  const std::optional<CacheKey> key = parse_key(std::string_view(name).substr(0, dot));
  if (!key) return {};
  return CacheEntry{.key = *key, .kind = name.substr(dot + 1)};
}

bool is_temporary(const std::string& name) {
  return name.ends_with(kTemporarySuffix) && name.size() > 32 && name[32] == '.' &&
         parse_key(std::string_view(name).substr(0, 32));
}

bool read_all(int fd, void* to, size_t bytes) {
  auto* out = static_cast<char*>(to);
  while (bytes) {
    const ssize_t got = ::read(fd, out, bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

bool write_all(int fd, const void* from, size_t bytes) {
  const auto* in = static_cast<const char*>(from);
  while (bytes) {
    const ssize_t put = ::write(fd, in, bytes);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    in += put;
    bytes -= static_cast<size_t>(put);
  }
  return true;
}

// Calls visit(name, directory entry) for every regular file; an unreadable folder has none.
template <class Visit>
void for_each_file(const std::string& folder, Visit visit) {
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (it->symlink_status(ignored).type() == fs::file_type::regular)
      visit(it->path().filename().string(), *it);
  }
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Unique among all threads of all processes that share the folder's machine.
std::string temporary_name(const std::string& path) {
  static std::atomic<uint64_t> counter = 0;
  return fmt::format("{}.{}-{}{}", path, ::getpid(), ++counter, kTemporarySuffix);
}

}  // namespace

std::string to_string(CacheKey key) { return fmt::format("{:016x}{:016x}", key.high, key.low); }

CacheKey cache_key(std::span<const std::string_view> parts) {
  std::string all;
  for (std::string_view part : parts) {
    const uint64_t size = part.size();
    all.append(reinterpret_cast<const char*>(&size), sizeof size);
    all.append(part);
  }
  return hash(all.data(), all.size());
}

std::string default_cache_folder() {
  if (std::string folder = variable("ONRUSH_CACHE"); !folder.empty()) return folder;
  if (std::string base = variable("XDG_CACHE_HOME"); !base.empty()) return base + "/onrush";
  if (std::string home = variable("HOME"); !home.empty()) return home + "/.cache/onrush";
  return {};
}

DiskCache::DiskCache(CacheOptions options) : options_(std::move(options)) {
  if (options_.folder.empty()) options_.folder = default_cache_folder();
  if (!options_.note)
    options_.note = [](const std::string& text) { fmt::print(stderr, "onrush: {}\n", text); };
}

std::string DiskCache::path(CacheKey key, std::string_view kind) const {
  internal_check(is_kind(kind), "a cache kind is lower-case letters");
  return fmt::format("{}/{}.{}", options_.folder, to_string(key), kind);
}

std::optional<std::vector<std::byte>> DiskCache::load(CacheKey key, std::string_view kind) const {
  const FileDescriptor file(
      ::open(path(key, kind).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status;
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return {};

  Header header;
  if (!read_all(file.get(), &header, sizeof header)) return {};
  if (header.bytes != static_cast<uint64_t>(status.st_size) - sizeof header) return {};
  std::vector<std::byte> content(header.bytes);
  if (!read_all(file.get(), content.data(), content.size())) return {};
  const Header expected = {
      .key = key, .bytes = content.size(), .checksum = hash(content.data(), content.size())};
  if (header != expected) return {};

  ::futimens(file.get(), nullptr);  // the time of last use; refused in a read-only folder
  return content;
}

bool DiskCache::store(CacheKey key, std::string_view kind,
                      std::span<const std::byte> content) const {
  const uint64_t bytes = sizeof(Header) + content.size();
  if (bytes > options_.limit) return false;
  const Header header = {
      .key = key, .bytes = content.size(), .checksum = hash(content.data(), content.size())};
  if (!write(path(key, kind), {reinterpret_cast<const char*>(&header), sizeof header}, content))
    return false;
  account(bytes);
  return true;
}

bool DiskCache::write(const std::string& path, std::string_view header,
                      std::span<const std::byte> content) const {
  if (options_.folder.empty()) {
    note_once("no cache folder: none of ONRUSH_CACHE, XDG_CACHE_HOME and HOME is set");
    return false;
  }
  const std::string temporary = temporary_name(path);
  const auto refuse = [&](int error) {
    ::unlink(temporary.c_str());
    note_once(fmt::format("cannot write to the cache folder '{}': {}", options_.folder,
                          std::strerror(error)));
    return false;
  };
  std::error_code error;
  if (fs::create_directories(options_.folder, error)) ::chmod(options_.folder.c_str(), 0700);
  {
    const FileDescriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file) return refuse(errno);
    if (!write_all(file.get(), header.data(), header.size()) ||
        !write_all(file.get(), content.data(), content.size()))
      return refuse(errno);
  }
  return ::rename(temporary.c_str(), path.c_str()) == 0 || refuse(errno);
}

void DiskCache::account(uint64_t added) const {
  const std::lock_guard lock(mutex_);
  if (bytes_) {
    *bytes_ += added;
  } else {
    bytes_ = 0;
    for (const CacheEntry& entry : list()) *bytes_ += entry.bytes;
  }
  // A quarter is freed at once, so that a full cache does not scan its folder at every store.
  if (*bytes_ > options_.limit) bytes_ = trim(options_.limit / 4 * 3);
}

void DiskCache::note_once(const std::string& why) const {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(noted_, true)) return;
  }
  options_.note(why + "; nothing is kept for the next start");
}

std::vector<CacheEntry> DiskCache::list() const {
  std::vector<CacheEntry> entries;
  for_each_file(options_.folder, [&](const std::string& name, const fs::directory_entry& file) {
    std::optional<CacheEntry> entry = parse_name(name);
    if (!entry) return;
    std::error_code error;
    entry->bytes = file.file_size(error);
    if (error) return;  // removed by another process meanwhile
    entry->last_used = file.last_write_time(error);
    if (!error) entries.push_back(std::move(*entry));
  });
  std::sort(entries.begin(), entries.end(),
            [](const CacheEntry& a, const CacheEntry& b) { return a.last_used > b.last_used; });
  return entries;
}

uint64_t DiskCache::trim(uint64_t bytes) const {
  uint64_t kept = 0;
  bool full = false;
  for (const CacheEntry& entry : list()) {
    full = full || kept + entry.bytes > bytes;
    if (full) ::unlink(path(entry.key, entry.kind).c_str());
    else kept += entry.bytes;
  }
  const auto now = std::chrono::file_clock::now();
  for_each_file(options_.folder, [&](const std::string& name, const fs::directory_entry& file) {
    std::error_code error;
    if (is_temporary(name) && file.last_write_time(error) < now - kTemporaryLife && !error)
      ::unlink(file.path().c_str());
  });
  return kept;
}

}  // namespace onrush
