#include "backend/timelines.h"

#include <algorithm>

namespace onrush {

std::vector<ProfileEvent> merge_timelines(std::vector<ProfileEvent> device,
                                          const std::vector<ProfileEvent>& host) {
  int64_t busy_until = INT64_MIN;
  for (ProfileEvent& event : device) {
    const int64_t end = end_of(event);
    event.start_ns = std::max(event.start_ns, std::min(busy_until, end));
    event.duration_ns = end - event.start_ns;
    busy_until = std::max(busy_until, end);
  }
  std::vector<ProfileEvent> merged = device;
  for (const ProfileEvent& event : host) {
    int64_t at = event.start_ns;
    for (const ProfileEvent& busy : device) {
      if (end_of(busy) <= at) continue;
      if (busy.start_ns >= end_of(event)) break;
      if (busy.start_ns > at) merged.push_back({event.step, at, busy.start_ns - at});
      at = end_of(busy);
    }
    if (at < end_of(event)) merged.push_back({event.step, at, end_of(event) - at});
  }
  std::stable_sort(merged.begin(), merged.end(), [](const ProfileEvent& a, const ProfileEvent& b) {
    return a.start_ns < b.start_ns;
  });
  return merged;
}

}  // namespace onrush
