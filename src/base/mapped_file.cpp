#include "base/mapped_file.h"

#include <cerrno>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "base/check.h"

namespace onrush {
namespace {

std::string system_text(int code) { return std::generic_category().message(code); }

// The mappings that exist: where they begin and end.
struct Mappings {
  std::mutex mutex;
  std::map<const std::byte*, const std::byte*> ends;
};
Mappings& mappings() {
  static auto& all = *new Mappings;  // never destroyed: a caller's static session may close later
  return all;
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must fail below, not wait for its writer.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) fail(ErrorCode::not_found, "{}: cannot be opened: {}", path, system_text(errno));
  return map(file, path);
}

std::shared_ptr<const MappedFile> MappedFile::map(const FileDescriptor& file,
                                                  const std::string& name) {
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0)
    fail(ErrorCode::not_found, "{}: cannot be examined: {}", name, system_text(errno));
  if (!S_ISREG(status.st_mode))
    fail(ErrorCode::invalid_argument, "{}: is no regular file; give the path of a file", name);
  const auto size = static_cast<size_t>(status.st_size);
  void* data = nullptr;
  if (size > 0) {  // mmap refuses a length of 0
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED)
      fail(ErrorCode::out_of_memory, "{}: cannot be mapped into memory ({} bytes): {}", name, size,
           system_text(errno));
    const std::lock_guard lock(mappings().mutex);
    const auto* begin = static_cast<const std::byte*>(data);
    mappings().ends[begin] = begin + size;
  }
  return std::shared_ptr<const MappedFile>(
      new MappedFile(static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (!data_) return;
  const std::lock_guard lock(mappings().mutex);
  mappings().ends.erase(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mappings().mutex);
  auto mapping = mappings().ends.upper_bound(bytes.data());
  if (mapping == mappings().ends.begin()) return;
  --mapping;
  if (bytes.data() + bytes.size() > mapping->second) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(bytes.data());
  const uintptr_t begin = (address + page - 1) / page * page - address;  // within the bytes
  const uintptr_t end = (address + bytes.size()) / page * page - address;
  if (begin < end && end <= bytes.size())
    ::madvise(const_cast<std::byte*>(bytes.data() + begin), end - begin, MADV_DONTNEED);
}

}  // namespace onrush
