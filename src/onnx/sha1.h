// SHA1 (RFC 3174), for the checksums of external data. Not for security.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace onrush::onnx {

// The digest as 40 lower-case hexadecimal digits.
std::string sha1(std::span<const std::byte> bytes);

}  // namespace onrush::onnx
