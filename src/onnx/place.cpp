#include "onnx/place.h"

namespace onrush::onnx {
namespace {

constexpr size_t kLongestName = 100;

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) result += fmt::format("\\x{:02x}", byte);
    else result += c;
  }
  return result;
}

std::string step(const Place& place) {
  std::string text(place.kind);
  if (!place.name.empty()) text += " " + quoted(place.name);
  else if (place.index >= 0) text += fmt::format(" {}", place.index);
  if (!place.op_type.empty()) text += " (" + escaped(place.op_type.substr(0, kLongestName)) + ")";
  return text;
}

}  // namespace

std::string quoted(std::string_view name) {
  if (name.size() <= kLongestName) return "'" + escaped(name) + "'";
  return "'" + escaped(name.substr(0, kLongestName)) + "...'";
}

std::string describe(const Place& place) {
  if (!place.parent) return place.name.empty() ? "model in memory" : escaped(place.name);
  return describe(*place.parent) + ": " + step(place);
}

}  // namespace onrush::onnx
