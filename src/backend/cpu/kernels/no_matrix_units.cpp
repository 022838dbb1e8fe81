// For architectures without matrix kernels of their own.
#include "backend/cpu/kernels/gemm_parts.h"
#include "backend/cpu/kernels/gemm_split.h"

namespace onrush::cpu {

std::optional<GemmKernel> gemm_bf16() { return std::nullopt; }
std::optional<GemmKernel> gemm_bf16_dot() { return std::nullopt; }
std::optional<GemmKernel> gemm_int8_amx(DType, DType) { return std::nullopt; }
std::optional<GemmKernel> gemm_int8_vnni(DType, DType) { return std::nullopt; }
const SplitGemm* split_gemm() { return nullptr; }

}  // namespace onrush::cpu
