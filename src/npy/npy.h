// NumPy's array files: .npy (format versions 1 to 3) and .npz, a zip archive of them.
//
//   element type          in the file
//   float16 ... complex   f2 f4 f8 c8 c16, i1 ... i8, u1 ... u8, b1; read in either byte order
//   string                U (code points); S (bytes) is read, and written for what is not UTF-8
//   bfloat16              V2   as the ml_dtypes package stores them; read only where the
//   float8*, float4e2m1   V1   caller says which type is expected
//   int4 uint4 int2 uint2 i1, u1: one byte an element; read where the caller expects them
//
// Arrays in Fortran order are read and become row-major. Structured and object arrays (which hold
// pickled Python) are refused. Broken files throw Error{invalid_argument}, absent ones not_found.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "npy/zip.h"
#include <onrush/tensor.h>

namespace onrush {

// `file` names the array in messages. `expected` settles what the table leaves open.
Tensor decode_npy(std::span<const std::byte> bytes, const std::string& file,
                  DType expected = DType::undefined);
std::string encode_npy(const Tensor& tensor);

Tensor read_npy(const std::string& path, DType expected = DType::undefined);
void write_npy(const std::string& path, const Tensor& tensor);

// An .npz file open for reading.
class NpzFile {
 public:
  explicit NpzFile(const std::string& path);
  const std::vector<std::string>& names() const { return names_; }  // in the file's order
  bool contains(const std::string& name) const;
  // Throws Error{not_found} if there is no such array.
  Tensor read(const std::string& name, DType expected = DType::undefined) const;

 private:
  std::string path_;
  std::shared_ptr<const MappedFile> file_;
  std::vector<ZipEntry> entries_;
  std::vector<std::string> names_;
};

void write_npz(const std::string& path, std::span<const std::pair<std::string, Tensor>> arrays);

}  // namespace onrush
