// What the matrix kernels share.
#pragma once

#include "backend/cpu/kernels/gemm.h"

namespace onrush::cpu {

// GemmKernel::pack_b for panels [k][cols] of f32 and for panels [k / 2][cols][2] of bf16.
void pack_panel_f32(float* panel, int cols, const void* b, DType dtype, int64_t k_stride,
                    int64_t n_stride, int64_t k, int n);
void pack_panel_bf16(uint16_t* panel, int cols, int64_t padded_k, const void* b, DType dtype,
                     int64_t k_stride, int64_t n_stride, int64_t k, int n);

// The bf16 kernel of machines without AMX; for tests.
std::optional<GemmKernel> gemm_bf16_dot();

}  // namespace onrush::cpu
