#include "backend/cpu/arenas.h"

#include <algorithm>

#include "base/pages.h"

namespace onrush::cpu {

// The smallest that suffices; else a new one in place of the largest. What a new one has to spare
// takes no memory until a later run touches it.
Tensor Arenas::take(int64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    const auto by_size = [](const Tensor& a, const Tensor& b) { return a.bytes() < b.bytes(); };
    std::ranges::sort(idle_, by_size);
    const auto found = std::ranges::find_if(
        idle_, [&](const Tensor& arena) { return arena.bytes() >= static_cast<size_t>(bytes); });
    if (found != idle_.end()) {
      Tensor arena = std::move(*found);
      idle_.erase(found);
      return arena;
    }
    if (!idle_.empty()) {
      bytes_ -= idle_.back().bytes();
      idle_.pop_back();
    }
  }
  Tensor arena = paged_tensor(DType::u8, {bytes + bytes / 2});
  bytes_ += arena.bytes();
  return arena;
}

void Arenas::give_back(Tensor arena) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(arena));
}

}  // namespace onrush::cpu
