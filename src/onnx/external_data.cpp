#include "onnx/external_data.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <system_error>
#include <unistd.h>
#include <vector>

#include "onnx/sha1.h"

namespace onrush::onnx {
namespace {

// O_NONBLOCK: a pipe in the file's place must not make us wait for its writer.
constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

uint64_t parse_number(std::string_view key, std::string_view value, const Place& place) {
  uint64_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, number);
  if (error != std::errc{} || stop != end)
    fail_at(place, "external data: {} is {}, not a number of bytes; export the model again", key,
            quoted(value));
  return number;
}

// The components of an acceptable location.
std::vector<std::string> split(const std::string& location, const Place& place) {
  constexpr std::string_view kRemedy = "keep external data in the model's own folder";
  if (location.empty()) fail_at(place, "external data has no location; export the model again");
  if (location.find('\0') != std::string::npos)
    fail_at(place, "external data location {} holds a zero byte", quoted(location));
  if (location.front() == '/')
    fail_at(place, "external data location {} is an absolute path; {}", quoted(location), kRemedy);
  std::vector<std::string> components;
  for (size_t begin = 0; begin <= location.size();) {
    const size_t end = std::min(location.find('/', begin), location.size());
    const std::string component = location.substr(begin, end - begin);
    if (component == "..")
      fail_at(place, "external data location {} leaves the model's folder through '..'; {}",
              quoted(location), kRemedy);
    if (!component.empty() && component != ".") components.push_back(component);
    begin = end + 1;
  }
  if (components.empty())
    fail_at(place, "external data location {} names no file", quoted(location));
  return components;
}

// Both ways of opening return an empty descriptor and leave errno on failure.
FileDescriptor open_with_openat2(const FileDescriptor& directory, const std::string& location) {
  open_how how = {};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  return FileDescriptor(static_cast<int>(
      ::syscall(SYS_openat2, directory.get(), location.c_str(), &how, sizeof how)));
}

FileDescriptor open_by_component(const FileDescriptor& directory,
                                 const std::vector<std::string>& components) {
  FileDescriptor folder;
  int at = directory.get();
  for (size_t i = 0; i + 1 < components.size(); ++i) {
    folder = FileDescriptor(
        ::openat(at, components[i].c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) {
      // O_DIRECTORY reports a link as "no directory"; tell the two apart for the message.
      struct stat status = {};
      if (errno == ENOTDIR &&
          ::fstatat(at, components[i].c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0)
        errno = S_ISLNK(status.st_mode) ? ELOOP : ENOTDIR;
      return folder;
    }
    at = folder.get();
  }
  return FileDescriptor(::openat(at, components.back().c_str(), kReadFlags | O_NOFOLLOW));
}

void check_status(const FileDescriptor& file, const std::string& location, const Place& place) {
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
    fail_at(place, "external data {} is no regular file", quoted(location));
  if (status.st_nlink > 1)
    fail_at(place,
            "external data {} is a hard link ({} names for one file), which could alias a file "
            "from outside; put a copy in its place, or pass the contents in "
            "LoadOptions::external_data",
            quoted(location), status.st_nlink);
}

bool same_digest(std::string_view stated, std::string_view computed) {
  return std::equal(stated.begin(), stated.end(), computed.begin(), computed.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'F' ? a - 'A' + 'a' : a) == b; });
}

}  // namespace

void ExternalLocation::set(std::string_view key, std::string_view value, const Place& place) {
  if (key == "location") location = value;
  if (key == "offset") offset = parse_number(key, value, place);
  if (key == "length") length = parse_number(key, value, place);
  if (key == "checksum") checksum = value;
}

FileDescriptor open_beneath(const std::string& directory, const std::string& location,
                            const Place& place, OpenMethod method) {
  const std::vector<std::string> components = split(location, place);
  const char* folder_path = directory.empty() ? "." : directory.c_str();
  const FileDescriptor folder(::open(folder_path, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return FileDescriptor();

  FileDescriptor file;
  if (method == OpenMethod::automatic) file = open_with_openat2(folder, location);
  // Kernels before 5.6 lack openat2 and some sandboxes forbid it.
  const bool refused = errno == ENOSYS || errno == EPERM || errno == EINVAL;
  if (method == OpenMethod::by_component || (!file && refused))
    file = open_by_component(folder, components);

  if (!file) {
    if (errno == ENOENT) return file;
    if (errno == ELOOP)
      fail_at(place,
              "external data {} is reached through a symbolic link, which could lead outside the "
              "model's folder; put a copy in its place (cp -L), or pass the contents in "
              "LoadOptions::external_data",
              quoted(location));
    fail_at(place, "external data {} cannot be opened: {}", quoted(location),
            std::generic_category().message(errno));
  }
  check_status(file, location, place);
  return file;
}

ExternalData::File* ExternalData::open(const std::string& location, const Place& place) {
  if (const auto known = files_.find(location); known != files_.end()) return &known->second;
  if (const auto given = options_.external_data.find(location);
      given != options_.external_data.end())
    return &(files_[location] = {given->second, {}});
  if (!directory_) {
    split(location, place);
    return nullptr;
  }
  const FileDescriptor file = open_beneath(*directory_, location, place);
  if (!file) return nullptr;
  std::shared_ptr<const MappedFile> mapped = MappedFile::map(file, location);
  const std::span<const std::byte> data = mapped->bytes();
  return &(files_[location] = {{data, std::move(mapped)}, {}});
}

std::optional<Bytes> ExternalData::find(const ExternalLocation& where, size_t size,
                                        const Place& place) {
  File* file = open(where.location, place);
  if (!file) {
    if (options_.allow_missing_external_data) return std::nullopt;
    fail_at(ErrorCode::not_found, place,
            "external data file {} is not there; put it into the model's folder, or pass its "
            "contents in LoadOptions::external_data",
            quoted(where.location));
  }
  const std::span<const std::byte> data = file->bytes.data;
  if (where.length && *where.length != size)
    fail_at(place,
            "external data has {} bytes where shape and dtype need {}; export the model again",
            *where.length, size);
  if (where.offset > data.size() || size > data.size() - where.offset)
    fail_at(place,
            "external data reaches from byte {} over {} bytes, but file {} has {}; the file is cut "
            "short or belongs to another model",
            where.offset, size, quoted(where.location), data.size());
  if (!where.checksum.empty() && options_.verify_checksums) {
    if (file->sha1.empty()) file->sha1 = sha1(data);
    if (!same_digest(where.checksum, file->sha1))
      fail_at(place,
              "external data file {} has SHA1 {} where the model states {}; the file is damaged or "
              "belongs to another model",
              quoted(where.location), file->sha1, quoted(where.checksum));
  }
  return Bytes{data.subspan(where.offset, size), file->bytes.owner};
}

}  // namespace onrush::onnx
