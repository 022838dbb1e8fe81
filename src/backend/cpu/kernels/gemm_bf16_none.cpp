// For architectures without a bf16 matrix kernel.
#include "backend/cpu/kernels/gemm_parts.h"

namespace onrush::cpu {

std::optional<GemmKernel> gemm_bf16() { return std::nullopt; }
std::optional<GemmKernel> gemm_bf16_dot() { return std::nullopt; }

}  // namespace onrush::cpu
