// Zip archives, as far as .npz files use them: entries stored or deflated, zip64 (PKWARE's
// APPNOTE.TXT 6.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace onrush {

struct ZipEntry {
  std::string name;
  std::span<const std::byte> packed;  // a view of the archive
  uint64_t size = 0;                  // of the contents
  uint32_t crc = 0;
  bool deflated = false;
};

// The directory of an archive. `file` names it in messages. Throws Error{invalid_argument} for
// bytes that are no archive, and for entries that are encrypted or packed in another way.
std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& file);

// The contents of an entry, checked against its size and CRC.
std::vector<std::byte> extract(const ZipEntry& entry, const std::string& file);

// Writes an archive of stored entries. Throws Error{invalid_argument} where the file cannot be
// written.
class ZipWriter {
 public:
  explicit ZipWriter(const std::string& path);
  void add(const std::string& name, std::string_view contents);
  void finish();  // writes the directory; to be called last

 private:
  struct Written {
    std::string name;
    uint64_t size, offset;
    uint32_t crc;
  };

  void write(std::string_view bytes);

  std::string path_;
  std::ofstream stream_;
  uint64_t offset_ = 0;
  std::vector<Written> entries_;
};

}  // namespace onrush
