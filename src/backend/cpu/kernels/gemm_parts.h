// What the matrix kernels share.
#pragma once

#include "backend/cpu/kernels/gemm.h"

namespace onrush::cpu {

// GemmKernel::pack_b for panels [k][cols] of f32 and for panels [k / 2][cols][2] of bf16.
void pack_panel_f32(float* panel, int cols, const void* b, DType dtype, int64_t k_stride,
                    int64_t n_stride, int64_t k, int n);
void pack_panel_bf16(uint16_t* panel, int cols, int64_t padded_k, const void* b, DType dtype,
                     int64_t k_stride, int64_t n_stride, int64_t k, int n);

// Likewise panels [k / 4][cols][4] of bytes, from bytes of b or the low ones of i32.
void pack_panel_int8(uint8_t* panel, int cols, int64_t padded_k, const void* b, DType dtype,
                     int64_t k_stride, int64_t n_stride, int64_t k, int n);

// GemmKernel::finish and round_a of the kernels for integers.
void finish_int8(const GemmTile& tile, const void* product, int64_t stride);
void narrow_int8(void* out, const void* a, int64_t n);

// The kernels that gemm_bf16 and gemm_int8 choose from.
std::optional<GemmKernel> gemm_bf16_dot();
std::optional<GemmKernel> gemm_int8_amx(DType lhs, DType rhs);
std::optional<GemmKernel> gemm_int8_vnni(DType lhs, DType rhs);
GemmKernel gemm_int8_plain(DType lhs, DType rhs);

}  // namespace onrush::cpu
