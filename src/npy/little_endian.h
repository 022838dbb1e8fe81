// Numbers in file formats that store the least significant byte first.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>
#include <string>

namespace onrush {

static_assert(std::endian::native == std::endian::little, "file bytes are used as they are");

template <class T>
T load_little_endian(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

template <class T>
void append_little_endian(std::string& text, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  text.append(bytes, sizeof(T));
}

}  // namespace onrush
