// Files mapped into memory, read-only.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace onrush {

// Owns a POSIX file descriptor; -1 is none.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// A whole file as bytes, mapped until the object goes. Pages are read on first touch; a file that
// is cut short by others meanwhile ends the process with SIGBUS, as with any mapping. Immutable,
// so it may be shared between threads.
class MappedFile {
 public:
  // Throws Error: not_found (no such file, or no permission), invalid_argument (a directory, pipe
  // or device). Follows symbolic links.
  static std::shared_ptr<const MappedFile> open(const std::string& path);
  // The file must be open for reading and regular; `name` is for messages. `file` may be closed
  // afterwards.
  static std::shared_ptr<const MappedFile> map(const FileDescriptor& file, const std::string& name);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Whole pages of these bytes leave memory, and come back from the file when they are read again,
  // if the bytes are of a mapping that exists. Of other memory nothing changes.
  static void release(std::span<const std::byte> bytes);

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_;
  size_t size_;
};

}  // namespace onrush
