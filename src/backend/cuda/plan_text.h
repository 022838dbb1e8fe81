// A CUDA plan as text: what is launched for the sizes that the plan was made with.
#pragma once

#include <string>

#include "backend/cuda/cuda_plan.h"

namespace onrush::cuda {

// Steps in order, with the time they belong to, what they write, how they are launched, and the
// text of each kernel where it is first met.
std::string to_string(const CudaPlan& plan);

}  // namespace onrush::cuda
