// Inputs and outputs that kernels read and write where they lie in host memory.
#pragma once

#include <vector>

#include "backend/cuda/bound_plan.h"

namespace onrush::cuda {

// By input and by output. Those so small that one kernel reads or writes them across the bus in
// less time than a copy takes.
struct HostValues {
  std::vector<bool> inputs, outputs;
};
HostValues host_values(const BoundPlan& plan);

}  // namespace onrush::cuda
