// Decides which primitives become one kernel, by what they compute.
#pragma once

#include "fuse/schedule.h"

namespace onrush {

// Every node ends in one group, or inside all of its users. Elementwise nodes join the reduction,
// window or contraction that they follow; reductions over the same rows share a group; movement and
// cheap elementwise work before a kernel is computed inside it. Values that depend on weights alone
// are in groups of their own (Time::prepare).
Schedule fuse(Graph graph);

}  // namespace onrush
