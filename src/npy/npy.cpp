#include "npy/npy.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/check.h"
#include "base/numeric.h"
#include "npy/npy_header.h"
#include "npy/unicode.h"

namespace onrush {
namespace {

struct NumberType {
  char kind;
  size_t bytes;
  DType dtype;
};
constexpr NumberType kNumberTypes[] = {
    {'f', 2, DType::f16},   {'f', 4, DType::f32},     {'f', 8, DType::f64}, {'c', 8, DType::c64},
    {'c', 16, DType::c128}, {'i', 1, DType::i8},      {'i', 2, DType::i16}, {'i', 4, DType::i32},
    {'i', 8, DType::i64},   {'u', 1, DType::u8},      {'u', 2, DType::u16}, {'u', 4, DType::u32},
    {'u', 8, DType::u64},   {'b', 1, DType::boolean},
};

bool is_small_integer(DType dtype) { return is_sub_byte(dtype) && is_integer(dtype); }

// Undefined where the file's type is none of ours.
DType dtype_of(const NpyHeader& header, DType expected) {
  const char kind = header.kind;
  const size_t bytes = header.item_bytes;
  if (kind == 'U' || kind == 'S') return DType::string;
  if (kind == 'V') {
    const bool opaque = expected == DType::bf16 || (is_float(expected) && bits(expected) <= 8);
    const size_t item = expected == DType::bf16 ? 2 : 1;
    return opaque && bytes == item ? expected : DType::undefined;
  }
  if (bytes == 1 && is_small_integer(expected) && kind == (is_signed_integer(expected) ? 'i' : 'u'))
    return expected;
  for (const NumberType& type : kNumberTypes)
    if (type.kind == kind && type.bytes == bytes) return type.dtype;
  return DType::undefined;
}

std::string numpy_type(DType dtype) {
  for (const NumberType& type : kNumberTypes)
    if (type.dtype == dtype)
      return fmt::format("{}{}{}", type.bytes == 1 ? '|' : '<', type.kind, type.bytes);
  if (dtype == DType::bf16) return "<V2";
  if (is_small_integer(dtype)) return is_signed_integer(dtype) ? "|i1" : "|u1";
  return "|V1";
}

// --- items in row-major order and little endian

// Walks the row-major positions of an array stored column by column.
std::vector<std::byte> row_major(std::span<const std::byte> items, const NpyHeader& header) {
  std::vector<std::byte> result(items.size());
  const Shape& shape = header.shape;
  Shape stride(shape.size()), index(shape.size());
  int64_t step = static_cast<int64_t>(header.item_bytes);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    stride[axis] = step;
    step *= shape[axis];
  }
  int64_t from = 0;
  for (size_t to = 0; to < result.size(); to += header.item_bytes) {
    std::memcpy(&result[to], &items[static_cast<size_t>(from)], header.item_bytes);
    for (size_t axis = shape.size(); axis-- > 0;) {
      from += stride[axis];
      if (++index[axis] < shape[axis]) break;
      from -= stride[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return result;
}

void swap_bytes(std::vector<std::byte>& items, const NpyHeader& header) {
  const size_t number = header.kind == 'U'   ? 4
                        : header.kind == 'c' ? header.item_bytes / 2
                                             : header.item_bytes;
  for (size_t at = 0; at < items.size(); at += number)
    std::reverse(items.begin() + static_cast<std::ptrdiff_t>(at),
                 items.begin() + static_cast<std::ptrdiff_t>(at + number));
}

// --- strings

std::string string_of(std::span<const std::byte> item, char kind) {
  std::string text;
  if (kind == 'S') {
    text.assign(reinterpret_cast<const char*>(item.data()), item.size());
    text.erase(std::find_if(text.rbegin(), text.rend(), [](char c) { return c != 0; }).base(),
               text.end());
    return text;
  }
  std::u32string points(item.size() / 4, U'\0');
  std::memcpy(points.data(), item.data(), item.size());
  while (!points.empty() && points.back() == U'\0') points.pop_back();
  return to_utf8(points);
}

Tensor strings_of(std::span<const std::byte> items, const NpyHeader& header) {
  std::vector<std::string> strings(static_cast<size_t>(element_count(header.shape)));
  for (size_t i = 0; i < strings.size(); ++i)
    strings[i] = string_of(items.subspan(i * header.item_bytes, header.item_bytes), header.kind);
  return Tensor::of_strings(header.shape, std::move(strings));
}

std::string encode_code_points(const Tensor& tensor, std::span<const std::u32string> strings) {
  size_t longest = 1;
  for (const auto& string : strings) longest = std::max(longest, string.size());
  std::string text = make_npy_header(fmt::format("<U{}", longest), tensor.shape());
  for (std::u32string string : strings) {
    string.resize(longest);
    text.append(reinterpret_cast<const char*>(string.data()), longest * sizeof(char32_t));
  }
  return text;
}

std::string encode_bytes(const Tensor& tensor) {
  size_t longest = 1;
  for (const std::string& string : tensor.strings()) longest = std::max(longest, string.size());
  std::string text = make_npy_header(fmt::format("|S{}", longest), tensor.shape());
  for (std::string string : tensor.strings()) {
    string.resize(longest);
    text += string;
  }
  return text;
}

std::string encode_strings(const Tensor& tensor) {
  std::vector<std::u32string> strings;
  for (const std::string& string : tensor.strings()) {
    auto points = from_utf8(string);
    if (!points) return encode_bytes(tensor);
    strings.push_back(std::move(*points));
  }
  return encode_code_points(tensor, strings);
}

// --- elements of less than a byte: one byte each in the file

Tensor pack_small(DType dtype, const NpyHeader& header, std::span<const std::byte> items,
                  const std::string& file) {
  Tensor tensor(dtype, header.shape);
  std::memset(tensor.data(), 0, tensor.bytes());
  for (size_t i = 0; i < items.size(); ++i) {
    const auto index = static_cast<int64_t>(i);
    if (!is_integer(dtype)) {  // codes of a 4-bit float
      const int code = static_cast<int>(items[i]) & 0xf;
      static_cast<uint8_t*>(tensor.data())[i / 2] |= static_cast<uint8_t>(code << (i % 2 * 4));
      continue;
    }
    const int64_t value =
        header.kind == 'i' ? static_cast<int8_t>(items[i]) : static_cast<int64_t>(items[i]);
    store_i64(dtype, tensor.data(), index, value);
    if (load_i64(dtype, tensor.data(), index) != value)
      fail(ErrorCode::invalid_argument, "{}: {} does not fit into {}", file, value,
           onnx_name(dtype));
  }
  return tensor;
}

std::string unpack_small(const Tensor& tensor) {
  std::string items;
  for (int64_t i = 0; i < tensor.count(); ++i) {
    if (is_integer(tensor.dtype())) {
      items += static_cast<char>(load_i64(tensor.dtype(), tensor.data(), i));
    } else {
      const uint8_t pair = static_cast<const uint8_t*>(tensor.data())[i / 2];
      items += static_cast<char>(pair >> (i % 2 * 4) & 0xf);
    }
  }
  return items;
}

void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream stream(path, std::ios::binary);
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  stream.close();
  if (!stream) fail(ErrorCode::invalid_argument, "cannot write {}: {}", path, strerror(errno));
}

}  // namespace

Tensor decode_npy(std::span<const std::byte> bytes, const std::string& file, DType expected) {
  const NpyHeader header = parse_npy_header(bytes, file);
  const DType dtype = dtype_of(header, expected);
  if (dtype == DType::undefined)
    fail(ErrorCode::invalid_argument, "{}: an array of type '{}' cannot be read{}", file,
         header.type(),
         expected == DType::undefined ? "" : fmt::format(" as {}", onnx_name(expected)));
  const auto count = static_cast<uint64_t>(element_count(header.shape));
  const uint64_t available = bytes.size() - header.data_offset;
  if (count > (header.item_bytes > 0 ? available / header.item_bytes : 0))
    fail(ErrorCode::invalid_argument,
         "{}: it is cut short: {} of type '{}' needs more than {} bytes", file,
         to_string(header.shape), header.type(), available);
  std::span<const std::byte> items = bytes.subspan(header.data_offset, count * header.item_bytes);

  std::vector<std::byte> ordered;
  const bool swap = header.order == '>';
  if (header.fortran_order && header.shape.size() > 1) ordered = row_major(items, header);
  else if (swap) ordered.assign(items.begin(), items.end());
  if (swap) swap_bytes(ordered, header);
  if (!ordered.empty()) items = ordered;

  if (dtype == DType::string) return strings_of(items, header);
  if (is_sub_byte(dtype)) return pack_small(dtype, header, items, file);
  Tensor tensor(dtype, header.shape);
  if (!items.empty()) std::memcpy(tensor.data(), items.data(), items.size());
  if (dtype == DType::boolean)
    for (uint8_t& value : tensor.as<uint8_t>()) value = value != 0;
  return tensor;
}

std::string encode_npy(const Tensor& tensor) {
  if (tensor.dtype() == DType::string) return encode_strings(tensor);
  std::string text = make_npy_header(numpy_type(tensor.dtype()), tensor.shape());
  if (is_sub_byte(tensor.dtype())) return text + unpack_small(tensor);
  return text.append(static_cast<const char*>(tensor.data()), tensor.bytes());
}

Tensor read_npy(const std::string& path, DType expected) {
  return decode_npy(MappedFile::open(path)->bytes(), path, expected);
}

void write_npy(const std::string& path, const Tensor& tensor) {
  write_file(path, encode_npy(tensor));
}

NpzFile::NpzFile(const std::string& path) : path_(path), file_(MappedFile::open(path)) {
  constexpr std::string_view kSuffix = ".npy";
  for (ZipEntry& entry : read_zip(file_->bytes(), path)) {
    if (!entry.name.ends_with(kSuffix)) continue;
    names_.push_back(entry.name.substr(0, entry.name.size() - kSuffix.size()));
    entries_.push_back(std::move(entry));
  }
}

bool NpzFile::contains(const std::string& name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

Tensor NpzFile::read(const std::string& name, DType expected) const {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end())
    fail(ErrorCode::not_found, "{}: there is no array '{}'; it has '{}'", path_, name,
         fmt::join(names_, "', '"));
  const ZipEntry& entry = entries_[static_cast<size_t>(found - names_.begin())];
  return decode_npy(extract(entry, path_), path_ + ": " + name, expected);
}

void write_npz(const std::string& path, std::span<const std::pair<std::string, Tensor>> arrays) {
  ZipWriter writer(path);
  for (const auto& [name, tensor] : arrays) writer.add(name + ".npy", encode_npy(tensor));
  writer.finish();
}

}  // namespace onrush
