#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/check.h"
#include "base/pages.h"
#include <onrush/tensor.h>
#include <onrush/value.h>

namespace onrush {
namespace {

constexpr size_t kAlignment = 64;

std::shared_ptr<const void> allocate(size_t bytes, void*& data) {
  data = std::aligned_alloc(kAlignment, (bytes + kAlignment) / kAlignment * kAlignment);
  if (!data) fail_to_allocate(bytes);
  return {data, [](const void* p) { std::free(const_cast<void*>(p)); }};
}

std::shared_ptr<const void> allocate_strings(int64_t count, void*& data) {
  auto strings = std::make_shared<std::vector<std::string>>(static_cast<size_t>(count));
  data = strings->data();
  return strings;
}

}  // namespace

std::string to_string(Device device) {
  return device.kind == Device::Kind::cpu ? "cpu" : fmt::format("cuda:{}", device.index);
}

int64_t element_count(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t dim : shape) {
    if (dim < 0)
      fail(ErrorCode::invalid_argument, "negative dimension in shape {}", to_string(shape));
    count = checked_mul(count, dim);
  }
  return count;
}

std::string to_string(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), count_(element_count(shape_)) {
  checked_mul(count_, bits(dtype) / 8 + 1);
  void* data = nullptr;
  auto owner = dtype == DType::string ? allocate_strings(count_, data) : allocate(bytes(), data);
  buffer_ = std::make_shared<Buffer>(data, bytes(), Device{}, std::move(owner));
}

Tensor::Tensor(DType dtype, Shape shape, void* data, std::shared_ptr<const void> owner,
               Device device)
    : dtype_(dtype), shape_(std::move(shape)), count_(element_count(shape_)) {
  buffer_ = std::make_shared<Buffer>(data, bytes(), device, std::move(owner));
}

Tensor Tensor::of_strings(Shape shape, std::vector<std::string> values) {
  Tensor tensor(DType::string, std::move(shape));
  internal_check(static_cast<int64_t>(values.size()) == tensor.count(), "string count");
  for (size_t i = 0; i < values.size(); ++i) tensor.strings()[i] = std::move(values[i]);
  return tensor;
}

void copy_elements(const Tensor& from, const Tensor& to) {
  internal_check(from.dtype() == to.dtype() && from.count() == to.count(),
                 "copy of unequal tensors");
  if (from.dtype() == DType::string)
    std::copy(from.strings().begin(), from.strings().end(), to.strings().begin());
  else if (from.count()) std::memcpy(to.data(), from.data(), from.bytes());
}

Tensor Tensor::reshaped(Shape shape) const {
  internal_check(element_count(shape) == count_, "reshaped changes the element count");
  Tensor result = *this;
  result.shape_ = std::move(shape);
  return result;
}

namespace {
template <class T>
const T& held(const std::variant<Tensor, Sequence, Optional, Map>& data, const char* kind) {
  if (const T* value = std::get_if<T>(&data)) return *value;
  fail(ErrorCode::invalid_argument, "the value is not a {}", kind);
}
}  // namespace

const Tensor& Value::tensor() const { return held<Tensor>(data_, "tensor"); }
const Sequence& Value::sequence() const { return held<Sequence>(data_, "sequence"); }
const Optional& Value::optional() const { return held<Optional>(data_, "optional"); }
const Map& Value::map() const { return held<Map>(data_, "map"); }

}  // namespace onrush
