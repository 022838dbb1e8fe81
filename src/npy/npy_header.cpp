#include "npy/npy_header.h"

#include <charconv>
#include <string_view>

#include "base/check.h"
#include "npy/little_endian.h"

namespace onrush {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kPrefixBytes = 8;  // magic and version
constexpr size_t kAlignment = 64;
constexpr int64_t kMaxItemBytes = int64_t{1} << 31;

// Parses "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".
class DictionaryParser {
 public:
  DictionaryParser(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  NpyHeader parse() {
    expect('{');
    while (!accept('}')) {
      entry();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (seen_ != kAll) broken();
    return header_;
  }

 private:
  enum Seen : unsigned { kType = 1, kOrder = 2, kShape = 4, kAll = 7 };

  [[noreturn]] void broken() const {
    fail(ErrorCode::invalid_argument, "{}: not an .npy file: its header cannot be read", file_);
  }

  void skip_spaces() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\n')) rest_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_spaces();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) broken();
  }
  bool accept_word(std::string_view word) {
    skip_spaces();
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }

  std::string_view quoted() {
    const char quote = accept('\'') ? '\'' : '"';
    if (quote == '"') expect('"');
    const size_t end = rest_.find(quote);
    if (end == std::string_view::npos) broken();
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

  int64_t number() {
    skip_spaces();
    int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc() || value < 0) broken();
    rest_.remove_prefix(static_cast<size_t>(end - rest_.data()));
    accept('L');  // written by Python 2
    return value;
  }

  void entry() {
    const std::string_view key = quoted();
    expect(':');
    if (key == "descr") type();
    else if (key == "fortran_order") order();
    else if (key == "shape") shape();
    else broken();
  }

  void type() {
    skip_spaces();
    if (rest_.starts_with('['))
      fail(ErrorCode::invalid_argument,
           "{}: structured arrays cannot be read; save each field as "
           "an array of its own",
           file_);
    std::string_view text = quoted();
    if (!text.empty() && std::string_view("<>|=").find(text[0]) != std::string_view::npos) {
      header_.order = text[0] == '=' ? '<' : text[0];
      text.remove_prefix(1);
    }
    if (text.empty()) broken();
    header_.kind = text[0];
    if (header_.kind == 'O')
      fail(ErrorCode::invalid_argument,
           "{}: object arrays cannot be read; save strings as a "
           "string array: numpy.save(file, array.astype(str))",
           file_);
    int64_t bytes = 0;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), bytes);
    if (error != std::errc() || end != text.data() + text.size() || bytes < 0 ||
        bytes > kMaxItemBytes)
      fail(ErrorCode::invalid_argument, "{}: arrays of type '{}' cannot be read", file_, text);
    header_.item_bytes = static_cast<size_t>(bytes) * (header_.kind == 'U' ? 4 : 1);
    seen_ |= kType;
  }

  void order() {
    header_.fortran_order = accept_word("True");
    if (!header_.fortran_order && !accept_word("False")) broken();
    seen_ |= kOrder;
  }

  void shape() {
    expect('(');
    while (!accept(')')) {
      header_.shape.push_back(number());
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    seen_ |= kShape;
  }

  std::string_view rest_;
  const std::string& file_;
  NpyHeader header_;
  unsigned seen_ = 0;
};

}  // namespace

std::string NpyHeader::type() const {
  return fmt::format("{}{}{}", order, kind, kind == 'U' ? item_bytes / 4 : item_bytes);
}

NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& file) {
  const auto broken = [&](std::string_view what) {
    fail(ErrorCode::invalid_argument, "{}: not an .npy file: {}", file, what);
  };
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) broken("it does not start like one");
  if (text.size() < kPrefixBytes + 4) broken("it is cut short");
  const auto version = static_cast<unsigned char>(text[6]);
  if (version < 1 || version > 3) broken("its version is unknown");
  const size_t length_bytes = version == 1 ? 2 : 4;
  const size_t length = version == 1 ? load_little_endian<uint16_t>(bytes.data() + kPrefixBytes)
                                     : load_little_endian<uint32_t>(bytes.data() + kPrefixBytes);
  const size_t start = kPrefixBytes + length_bytes;
  if (length > text.size() - start) broken("it is cut short");
  NpyHeader header = DictionaryParser(text.substr(start, length), file).parse();
  header.data_offset = start + length;
  return header;
}

std::string make_npy_header(const std::string& type, const Shape& shape) {
  std::string extents;
  for (int64_t extent : shape) extents += fmt::format("{}, ", extent);
  if (shape.size() > 1) extents.resize(extents.size() - 2);
  if (shape.size() == 1) extents.resize(extents.size() - 1);  // "(3,)"
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, extents);
  const size_t unpadded = kPrefixBytes + 2 + text.size() + 1;
  text.append((kAlignment - unpadded % kAlignment) % kAlignment, ' ');
  text += '\n';
  std::string header(kMagic);
  header += '\1';
  header += '\0';
  append_little_endian(header, static_cast<uint16_t>(text.size()));
  return header + text;
}

}  // namespace onrush
