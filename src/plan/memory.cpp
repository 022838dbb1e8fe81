#include "plan/memory.h"

#include <algorithm>
#include <numeric>

namespace onrush {

int64_t pack(std::vector<BufferLife>& buffers) {
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; });
  std::vector<size_t> live;  // ascending by offset
  int64_t size = 0;
  for (size_t id : order) {
    BufferLife& buffer = buffers[id];
    const int64_t bytes = (buffer.bytes + 63) / 64 * 64;
    std::erase_if(live, [&](size_t other) { return buffers[other].last < buffer.first; });
    // The smallest gap that fits, else the end.
    int64_t end = 0, best = -1, best_gap = INT64_MAX;
    size_t position = live.size();
    for (size_t i = 0; i < live.size(); ++i) {
      const BufferLife& other = buffers[live[i]];
      const int64_t gap = other.offset - end;
      if (gap >= bytes && gap < best_gap) best = end, best_gap = gap, position = i;
      end = std::max(end, other.offset + (other.bytes + 63) / 64 * 64);
    }
    buffer.offset = best >= 0 ? best : end;
    live.insert(live.begin() + static_cast<std::ptrdiff_t>(position), id);
    size = std::max(size, buffer.offset + bytes);
  }
  return size;
}

}  // namespace onrush
