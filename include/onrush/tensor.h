// A dense n-dimensional array with shared ownership of its bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <onrush/dtype.h>

namespace onrush {

// Where bytes live. Index counts devices of one kind.
struct Device {
  enum class Kind : uint8_t { cpu, cuda };
  Kind kind = Kind::cpu;
  int index = 0;
  bool operator==(const Device&) const = default;
};
std::string to_string(Device device);  // "cpu", "cuda:1"

using Shape = std::vector<int64_t>;
int64_t element_count(std::span<const int64_t> shape);  // 1 for a scalar; throws Error on overflow
std::string to_string(std::span<const int64_t> shape);  // "[1,3,224,224]"

// A block of memory. The owner is released when the last Tensor that refers to it goes.
class Buffer {
 public:
  Buffer(void* data, size_t bytes, Device device, std::shared_ptr<const void> owner)
      : data_(data), bytes_(bytes), device_(device), owner_(std::move(owner)) {}
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  std::shared_ptr<const void> owner_;
};

// Elements are dense and row-major; sub-byte dtypes are packed, least significant bits first;
// strings are std::string objects. Copying a Tensor shares its bytes; a Tensor may be read from
// several threads at once, writing is the caller's to order.
class Tensor {
 public:
  Tensor() = default;
  // Uninitialised host memory, 64-byte aligned. Throws Error{out_of_memory}.
  Tensor(DType dtype, Shape shape);
  // A view of the caller's memory; `owner` keeps it alive (may be empty: then the caller does).
  Tensor(DType dtype, Shape shape, void* data, std::shared_ptr<const void> owner = {},
         Device device = {});

  template <class T>
  static Tensor of(DType dtype, Shape shape, std::span<const T> values);
  static Tensor of_strings(Shape shape, std::vector<std::string> values);

  explicit operator bool() const { return buffer_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t count() const { return count_; }
  size_t bytes() const { return byte_size(dtype_, count_); }
  Device device() const { return buffer_ ? buffer_->device() : Device{}; }
  void* data() const { return buffer_ ? buffer_->data() : nullptr; }

  // Typed access to host memory; T must have the element's size (not checked).
  template <class T>
  std::span<T> as() const {
    return {static_cast<T*>(data()), static_cast<size_t>(count_)};
  }
  std::span<std::string> strings() const { return as<std::string>(); }

  // The same bytes under another shape of equal element count.
  Tensor reshaped(Shape shape) const;

 private:
  DType dtype_ = DType::undefined;
  Shape shape_;
  int64_t count_ = 0;
  std::shared_ptr<const Buffer> buffer_;
};

// Copies elements between host tensors of one dtype and element count.
void copy_elements(const Tensor& from, const Tensor& to);

template <class T>
Tensor Tensor::of(DType dtype, Shape shape, std::span<const T> values) {
  Tensor tensor(dtype, std::move(shape));
  std::span<T> out = tensor.as<T>();
  for (size_t i = 0; i < out.size(); ++i) out[i] = values[i];
  return tensor;
}

}  // namespace onrush
