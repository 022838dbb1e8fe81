// Results in pinned host memory, which a device writes to directly.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "backend/cuda/memory.h"
#include <onrush/tensor.h>

namespace onrush::cuda {

// Pinned memory is slow to get, so that of results which are gone serves later ones. Thread safe.
class PinnedPool : public std::enable_shared_from_this<PinnedPool> {
 public:
  // At most so many bytes, in use and idle.
  PinnedPool(ContextPtr context, size_t limit) : context_(std::move(context)), limit_(limit) {}

  // Uninitialised; null for results too small to be worth it and where there is no more pinned
  // memory to have. Keeps the pool alive.
  Tensor tensor(DType dtype, const Shape& shape);

 private:
  std::optional<PinnedBuffer> take(size_t bytes);
  void give_back(PinnedBuffer buffer);

  ContextPtr context_;
  size_t limit_;
  std::mutex mutex_;
  std::multimap<size_t, PinnedBuffer> idle_;  // by size
  size_t bytes_ = 0;
};

}  // namespace onrush::cuda
