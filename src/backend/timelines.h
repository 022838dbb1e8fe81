// The host's and a device's events as one sequence.
#pragma once

#include <vector>

#include <onrush/profile.h>

namespace onrush {

inline int64_t end_of(const ProfileEvent& event) { return event.start_ns + event.duration_ns; }

// The device's work, by start, and the host's events as one sequence without overlaps: see
// RunProfile.
std::vector<ProfileEvent> merge_timelines(std::vector<ProfileEvent> device,
                                          const std::vector<ProfileEvent>& host);

}  // namespace onrush
