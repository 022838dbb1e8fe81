// What holds a step up.
#pragma once

#include <string_view>

#include "explain/roofs.h"
#include <onrush/profile.h>

namespace onrush::explain {

// A generated kernel, on whichever device; not a host primitive, a copy or a compilation.
bool is_kernel(const ProfiledStep& step);
// "kernels" for those, else the step's own kind.
std::string_view category(const ProfiledStep& step);

enum class Bound {
  memory,      // the time that its bytes need is most of what it takes
  arithmetic,  // likewise
  start,       // too small: much of its time goes into starting it on all threads
  neither,     // it reaches less than half of either roof
  unknown,     // no kernel, or no roofs
};
std::string_view name(Bound bound);

struct Speed {
  double bytes_per_second = 0, flops_per_second = 0;
  double memory_share = 0, arithmetic_share = 0;  // of the roofs
  Bound bound = Bound::unknown;
};
Speed speed_of(const ProfiledStep& step, double time_us, const Roofs& roofs);

}  // namespace onrush::explain
