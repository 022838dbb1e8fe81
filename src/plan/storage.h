// In which dtypes values lie in memory.
#pragma once

#include <span>
#include <vector>

#include "plan/steps.h"

namespace onrush {

// By node. f32 values that only kernels of a run write and read lie there as `narrow` (f16 or
// bf16); all others as their own dtype, which callers and host primitives expect.
std::vector<DType> narrow_storage(const Schedule& schedule, DType narrow);
// By node: its own dtype.
std::vector<DType> plain_storage(const Graph& graph);
// Narrows only what depends on a product, whose factors have been rounded: other values may be
// positions or counts, of which every digit matters. What reductions write stays as it is, and so
// does what they read, unless a product or an elementwise kernel reads it too: sums along a
// network, and a difference to a mean or maximum, would lose more. `steps`: of the runs.
std::vector<DType> narrow_products(const Schedule& schedule, std::span<const Step> steps,
                                   DType narrow);

// The kernel with its buffers as they are stored.
void store_as(Loops& loops, const std::vector<DType>& storage);
void store_as(Contraction& contraction, const std::vector<DType>& storage);

}  // namespace onrush
