#include "npy/unicode.h"

#include <cstdint>

namespace onrush {
namespace {

constexpr char32_t kReplacement = 0xfffd;
// The least code point that needs 1, 2, 3 and 4 bytes.
constexpr char32_t kLeast[] = {0, 0x80, 0x800, 0x10000};

bool is_code_point(char32_t point) {
  return point < 0xd800 || (point > 0xdfff && point <= 0x10ffff);
}

// Bytes of the sequence that starts with `lead`; 0: none does.
int sequence_bytes(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >> 5 == 0x6) return 2;
  if (lead >> 4 == 0xe) return 3;
  return lead >> 3 == 0x1e ? 4 : 0;
}

}  // namespace

std::optional<std::u32string> from_utf8(std::string_view text) {
  std::u32string points;
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<uint8_t>(text[at]);
    const int bytes = sequence_bytes(lead);
    if (bytes == 0 || text.size() - at < static_cast<size_t>(bytes)) return std::nullopt;
    char32_t point = bytes == 1 ? lead : lead & (0x7fu >> bytes);
    for (int i = 1; i < bytes; ++i) {
      const auto next = static_cast<uint8_t>(text[at + static_cast<size_t>(i)]);
      if (next >> 6 != 2) return std::nullopt;
      point = point << 6 | (next & 0x3f);
    }
    if (point < kLeast[bytes - 1] || !is_code_point(point)) return std::nullopt;
    points += point;
    at += static_cast<size_t>(bytes);
  }
  return points;
}

std::string to_utf8(std::u32string_view points) {
  std::string text;
  for (char32_t point : points) {
    if (!is_code_point(point)) point = kReplacement;
    int bytes = 1;
    while (bytes < 4 && point >= kLeast[bytes]) ++bytes;
    if (bytes == 1) {
      text += static_cast<char>(point);
      continue;
    }
    const uint32_t marker = 0xf00u >> bytes & 0xff;  // as many leading ones as bytes
    text += static_cast<char>(marker | point >> 6 * (bytes - 1));
    for (int i = bytes - 2; i >= 0; --i) text += static_cast<char>(0x80 | (point >> 6 * i & 0x3f));
  }
  return text;
}

}  // namespace onrush
