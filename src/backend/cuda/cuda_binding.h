// A plan of the CUDA backend at concrete sizes.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/cuda/bound_plan.h"

namespace onrush::cuda {

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CudaExecutable> executable,
                                            const SizeTable& sizes);

// The steps of a run, with what depends on the sizes alone computed, and tuned where that is
// wanted. The executable must outlive it.
std::shared_ptr<const BoundPlan> bind_plan(const CudaExecutable& executable,
                                           const SizeTable& sizes);

// Runs one step whose operands are all prepared; gives its group's outputs, on the device.
std::vector<Tensor> run_once(const CudaExecutable& executable, const CudaStep& step,
                             const SizeTable& sizes);

// Runs one kernel on the given buffers, in the kernel's order, and waits for it.
void run_kernel(const CudaExecutable& executable, const StepKernel& kernel, const SizeTable& sizes,
                std::span<const Tensor> buffers, const Stream& stream);

}  // namespace onrush::cuda
