// From a group of the schedule to kernels.
#pragma once

#include <vector>

#include "codegen/loops.h"
#include "fuse/schedule.h"

namespace onrush {

// pointwise, reduction and window groups: one kernel. concat: one for each part that no other
// kernel writes there.
std::vector<Loops> emit_loops(const Schedule& schedule, const Group& group);

// contraction groups
Contraction emit_contraction(const Schedule& schedule, const Group& group);

}  // namespace onrush
