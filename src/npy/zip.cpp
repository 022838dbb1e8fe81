#include "npy/zip.h"

#include <algorithm>
#include <cstring>
#include <zlib.h>

#include "base/check.h"
#include "npy/little_endian.h"

namespace onrush {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50;
constexpr uint32_t kEnd64Locator = 0x07064b50;

constexpr uint64_t kLocalHeaderBytes = 30;
constexpr uint64_t kCentralHeaderBytes = 46;
constexpr uint64_t kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56;
constexpr uint64_t kEnd64LocatorBytes = 20;

constexpr uint16_t kZip64Extra = 1;
constexpr uint32_t kInZip64Extra = 0xffffffff;  // where a 32-bit field would hold the number
constexpr uint16_t kZip64Version = 45;
constexpr uint16_t kUtf8Names = 0x0800;
constexpr uint16_t kDate1980 = 0x0021;

constexpr uint64_t kMaxDeflateRatio = 1032;        // the format's own bound
constexpr uint64_t kMaxChunk = uint64_t{1} << 30;  // zlib counts in 32 bits

// Bytes of an archive read by position.
class Archive {
 public:
  Archive(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  uint64_t size() const { return bytes_.size(); }
  std::span<const std::byte> at(uint64_t offset, uint64_t count) const {
    if (offset > size() || count > size() - offset) broken("it is cut short");
    return bytes_.subspan(offset, count);
  }
  template <class T>
  T number(uint64_t offset) const {
    return load_little_endian<T>(at(offset, sizeof(T)).data());
  }
  std::string text(uint64_t offset, uint64_t count) const {
    const auto bytes = at(offset, count);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  [[noreturn]] void broken(std::string_view what) const {
    fail(ErrorCode::invalid_argument, "{}: not a readable zip archive: {}", file_, what);
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& file_;
};

struct Directory {
  uint64_t offset, count;
};

uint64_t find_end(const Archive& archive) {
  constexpr uint64_t kMaxComment = 0xffff;
  if (archive.size() < kEndBytes) archive.broken("it has no directory");
  const uint64_t last = archive.size() - kEndBytes;
  const uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (uint64_t at = last + 1; at-- > first;)
    if (archive.number<uint32_t>(at) == kEnd) return at;
  archive.broken("it has no directory");
}

Directory find_directory(const Archive& archive) {
  const uint64_t end = find_end(archive);
  if (end >= kEnd64LocatorBytes &&
      archive.number<uint32_t>(end - kEnd64LocatorBytes) == kEnd64Locator) {
    const auto end64 = archive.number<uint64_t>(end - kEnd64LocatorBytes + 8);
    if (archive.number<uint32_t>(end64) != kEnd64) archive.broken("its zip64 directory is missing");
    archive.at(end64, kEnd64Bytes);
    return {archive.number<uint64_t>(end64 + 48), archive.number<uint64_t>(end64 + 32)};
  }
  return {archive.number<uint32_t>(end + 16), archive.number<uint16_t>(end + 10)};
}

struct Sizes {
  uint64_t size, packed, offset;
};

// Replaces the numbers that the zip64 extra field holds instead.
void apply_zip64(const Archive& archive, uint64_t extra, uint64_t extra_bytes, Sizes& sizes) {
  const uint64_t end = extra + extra_bytes;
  while (extra + 4 <= end) {
    const auto id = archive.number<uint16_t>(extra);
    const auto bytes = archive.number<uint16_t>(extra + 2);
    extra += 4;
    if (id == kZip64Extra) {
      uint64_t at = extra;
      for (uint64_t* field : {&sizes.size, &sizes.packed, &sizes.offset}) {
        if (*field != kInZip64Extra) continue;
        if (at + 8 > extra + bytes) archive.broken("a zip64 entry lacks its size");
        *field = archive.number<uint64_t>(at);
        at += 8;
      }
    }
    extra += bytes;
  }
}

// Reads the entry at `at` of the directory and moves on to the next.
ZipEntry read_entry(const Archive& archive, uint64_t& at) {
  archive.at(at, kCentralHeaderBytes);
  if (archive.number<uint32_t>(at) != kCentralHeader) archive.broken("its directory is damaged");
  const auto flags = archive.number<uint16_t>(at + 8);
  const auto method = archive.number<uint16_t>(at + 10);
  const auto name_bytes = archive.number<uint16_t>(at + 28);
  const auto extra_bytes = archive.number<uint16_t>(at + 30);
  const auto comment_bytes = archive.number<uint16_t>(at + 32);
  Sizes sizes{archive.number<uint32_t>(at + 24), archive.number<uint32_t>(at + 20),
              archive.number<uint32_t>(at + 42)};
  ZipEntry entry;
  entry.name = archive.text(at + kCentralHeaderBytes, name_bytes);
  entry.crc = archive.number<uint32_t>(at + 16);
  entry.deflated = method == 8;
  if (flags & 1) archive.broken("'" + entry.name + "' is encrypted");
  if (method != 0 && method != 8)
    archive.broken("'" + entry.name + "' is packed by another method than deflate");
  apply_zip64(archive, at + kCentralHeaderBytes + name_bytes, extra_bytes, sizes);
  entry.size = sizes.size;

  archive.at(sizes.offset, kLocalHeaderBytes);
  if (archive.number<uint32_t>(sizes.offset) != kLocalHeader) archive.broken("an entry is missing");
  const uint64_t data = sizes.offset + kLocalHeaderBytes +
                        archive.number<uint16_t>(sizes.offset + 26) +
                        archive.number<uint16_t>(sizes.offset + 28);
  entry.packed = archive.at(data, sizes.packed);
  at += kCentralHeaderBytes + name_bytes + extra_bytes + comment_bytes;
  return entry;
}

uint32_t crc_of(const void* data, size_t size) {
  return static_cast<uint32_t>(crc32_z(0, static_cast<const Bytef*>(data), size));
}

// Inflates into `out`, which has the stated size; false where the data does not fill it exactly.
bool inflate_into(std::span<const std::byte> packed, std::span<std::byte> out) {
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) fail(ErrorCode::out_of_memory, "zlib: no memory");
  // zlib's interface predates const.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(packed.data()));
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  uint64_t in_left = packed.size(), out_left = out.size();
  int status = Z_OK;
  while (status == Z_OK) {
    const uint64_t in = std::min(in_left, kMaxChunk), room = std::min(out_left, kMaxChunk);
    stream.avail_in = static_cast<uInt>(in);
    stream.avail_out = static_cast<uInt>(room);
    status = inflate(&stream, Z_NO_FLUSH);
    in_left -= in - stream.avail_in;
    out_left -= room - stream.avail_out;
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && out_left == 0;
}

std::string extra_field(std::initializer_list<uint64_t> numbers) {
  std::string text;
  append_little_endian(text, kZip64Extra);
  append_little_endian(text, static_cast<uint16_t>(8 * numbers.size()));
  for (uint64_t number : numbers) append_little_endian(text, number);
  return text;
}

// The fields that local and central headers share, from "version needed" to the extra length.
void append_common(std::string& text, const std::string& name, uint32_t crc, size_t extra_bytes) {
  for (uint16_t field : {kZip64Version, kUtf8Names, uint16_t{0}, uint16_t{0}, kDate1980})
    append_little_endian(text, field);
  append_little_endian(text, crc);
  append_little_endian(text, kInZip64Extra);
  append_little_endian(text, kInZip64Extra);
  append_little_endian(text, static_cast<uint16_t>(name.size()));
  append_little_endian(text, static_cast<uint16_t>(extra_bytes));
}

}  // namespace

std::vector<ZipEntry> read_zip(std::span<const std::byte> bytes, const std::string& file) {
  const Archive archive(bytes, file);
  const Directory directory = find_directory(archive);
  std::vector<ZipEntry> entries;
  uint64_t at = directory.offset;
  for (uint64_t i = 0; i < directory.count; ++i) entries.push_back(read_entry(archive, at));
  return entries;
}

std::vector<std::byte> extract(const ZipEntry& entry, const std::string& file) {
  const auto damaged = [&] {
    fail(ErrorCode::invalid_argument, "{}: '{}' is damaged", file, entry.name);
  };
  const bool plausible = entry.deflated ? entry.size / kMaxDeflateRatio <= entry.packed.size()
                                        : entry.size == entry.packed.size();
  if (!plausible) damaged();
  std::vector<std::byte> contents(entry.size);
  if (entry.deflated) {
    if (!inflate_into(entry.packed, contents)) damaged();
  } else {
    std::copy(entry.packed.begin(), entry.packed.end(), contents.begin());
  }
  if (crc_of(contents.data(), contents.size()) != entry.crc) damaged();
  return contents;
}

ZipWriter::ZipWriter(const std::string& path) : path_(path), stream_(path, std::ios::binary) {
  if (!stream_) fail(ErrorCode::invalid_argument, "cannot write {}: {}", path_, strerror(errno));
}

void ZipWriter::write(std::string_view bytes) {
  stream_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!stream_) fail(ErrorCode::invalid_argument, "cannot write {}: {}", path_, strerror(errno));
  offset_ += bytes.size();
}

void ZipWriter::add(const std::string& name, std::string_view contents) {
  const Written entry{name, contents.size(), offset_, crc_of(contents.data(), contents.size())};
  const std::string extra = extra_field({entry.size, entry.size});
  std::string header;
  append_little_endian(header, kLocalHeader);
  append_common(header, name, entry.crc, extra.size());
  write(header.append(name).append(extra));
  write(contents);
  entries_.push_back(entry);
}

void ZipWriter::finish() {
  const uint64_t start = offset_;
  for (const Written& entry : entries_) {
    const std::string extra = extra_field({entry.size, entry.size, entry.offset});
    std::string header;
    append_little_endian(header, kCentralHeader);
    append_little_endian(header, kZip64Version);  // made by
    append_common(header, entry.name, entry.crc, extra.size());
    header.append(10, '\0');  // no comment, one disk, no attributes
    append_little_endian(header, kInZip64Extra);
    write(header.append(entry.name).append(extra));
  }
  const uint64_t end64 = offset_;
  std::string text;
  append_little_endian(text, kEnd64);
  append_little_endian(text, kEnd64Bytes - 12);
  append_little_endian(text, kZip64Version);
  append_little_endian(text, kZip64Version);
  text.append(8, '\0');  // one disk
  for (uint64_t field :
       {uint64_t{entries_.size()}, uint64_t{entries_.size()}, end64 - start, start})
    append_little_endian(text, field);

  append_little_endian(text, kEnd64Locator);
  append_little_endian(text, uint32_t{0});
  append_little_endian(text, end64);
  append_little_endian(text, uint32_t{1});

  append_little_endian(text, kEnd);
  append_little_endian(text, uint32_t{0});           // one disk
  append_little_endian(text, uint32_t{0xffffffff});  // the two counts are in the zip64 record
  append_little_endian(text, kInZip64Extra);
  append_little_endian(text, kInZip64Extra);
  append_little_endian(text, uint16_t{0});
  write(text);
  stream_.close();
  if (!stream_) fail(ErrorCode::invalid_argument, "cannot write {}: {}", path_, strerror(errno));
}

}  // namespace onrush
