// Primitives that are no Loops, as CUDA C++: what cuda_source.cpp needs to know of them.
#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "codegen/cuda_source.h"

namespace onrush {

CudaLaunch launch_primitive(const CudaKernel& kernel, const SizeTable& sizes,
                            const CudaTarget& target, int pass);

// Functions of device/*.cuh that texts call, and the files that have them.
std::span<const std::pair<std::string_view, std::string_view>> primitive_headers();

}  // namespace onrush
