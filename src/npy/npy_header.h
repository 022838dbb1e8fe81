// The header of an .npy file: a Python dictionary that says what the bytes after it are.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <onrush/tensor.h>

namespace onrush {

struct NpyHeader {
  char order = '|';  // of bytes: '<' little endian, '>' big endian, '|' neither
  char kind = 0;     // NumPy's type character: f, i, u, b, c, U, S, V
  size_t item_bytes = 0;
  bool fortran_order = false;
  Shape shape;
  size_t data_offset = 0;  // in the file

  std::string type() const;  // "<f4"
};

// Throws Error{invalid_argument} that names `file`.
NpyHeader parse_npy_header(std::span<const std::byte> bytes, const std::string& file);

// A version 1 header, padded so that the data starts at a multiple of 64. `type` as "<f4".
std::string make_npy_header(const std::string& type, const Shape& shape);

}  // namespace onrush
