#include "backend/cuda/pinned_pool.h"

#include <onrush/error.h>

namespace onrush::cuda {
namespace {

constexpr size_t kSmallest = 64 << 10;
constexpr size_t kStep = 256 << 10;  // few distinct sizes, so that a buffer finds a second use

size_t rounded(size_t bytes) { return (bytes + kStep - 1) / kStep * kStep; }

}  // namespace

std::optional<PinnedBuffer> PinnedPool::take(size_t bytes) {
  const size_t size = rounded(bytes);
  const std::lock_guard lock(mutex_);
  const auto found = idle_.lower_bound(size);
  if (found != idle_.end() && found->first <= 2 * size) {
    PinnedBuffer buffer = std::move(found->second);
    idle_.erase(found);
    return buffer;
  }
  while (bytes_ + size > limit_ && !idle_.empty()) {
    bytes_ -= idle_.begin()->first;
    idle_.erase(idle_.begin());
  }
  if (bytes_ + size > limit_) return std::nullopt;
  try {
    PinnedBuffer buffer(context_, size);
    bytes_ += size;
    return buffer;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void PinnedPool::give_back(PinnedBuffer buffer) {
  const std::lock_guard lock(mutex_);
  const size_t bytes = buffer.bytes();
  idle_.emplace(bytes, std::move(buffer));
}

Tensor PinnedPool::tensor(DType dtype, const Shape& shape) {
  const size_t bytes = byte_size(dtype, element_count(shape));
  if (bytes < kSmallest) return {};
  std::optional<PinnedBuffer> buffer = take(bytes);
  if (!buffer) return {};
  // Owns the buffer on behalf of the tensor.
  struct Loan {
    std::shared_ptr<PinnedPool> pool;
    PinnedBuffer buffer;
    ~Loan() { pool->give_back(std::move(buffer)); }
  };
  auto loan = std::make_shared<Loan>(shared_from_this(), std::move(*buffer));
  std::byte* data = loan->buffer.data();
  return Tensor(dtype, shape, data, std::move(loan));
}

}  // namespace onrush::cuda
