// Measures the contractions of a plan where their operands lie.
#pragma once

#include "backend/cuda/bound_plan.h"

namespace onrush::cuda {

// Those that the tuning does not know yet; whether there were any. The context is current.
bool tune(const BoundPlan& plan);

}  // namespace onrush::cuda
