// What a step reads, writes and computes, by its kernels and the sizes.
#pragma once

#include "plan/steps.h"

namespace onrush {

struct StepCost {
  int64_t bytes_read = 0;  // each element that is needed counts once, however often it is loaded
  int64_t bytes_written = 0;
  int64_t flops = 0;  // an elementwise operation on floats is one, a product and its sum are two
  int64_t product_flops = 0;  // of these, in contractions
};
// Results of a host step whose size only the run tells are left out.
StepCost cost_of(const Graph& graph, const Step& step, const SizeTable& sizes);

// step.profiled with all that depends on sizes. `scratch_bytes`, `kernels`, `way`: see
// ProfiledStep.
std::shared_ptr<const ProfiledStep> profiled_at(const Graph& graph, const Step& step,
                                                const SizeTable& sizes, int64_t scratch_bytes,
                                                int kernels = 1, std::string way = {});

}  // namespace onrush
