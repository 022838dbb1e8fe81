// A plan of the CUDA backend at concrete sizes.
#pragma once

#include <memory>
#include <vector>

#include "backend/cuda/cuda_executable.h"

namespace onrush::cuda {

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CudaExecutable> executable,
                                            SizeTable sizes);

// Runs one step whose operands are all prepared; gives its group's outputs, on the device.
std::vector<Tensor> run_once(const CudaExecutable& executable, const CudaStep& step,
                             const SizeTable& sizes);

}  // namespace onrush::cuda
