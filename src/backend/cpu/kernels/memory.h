// Between memory (any dtype, any stride) and tiles (dense arrays of a compute type).
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/compute.h"

namespace onrush::cpu {

// out[i] = base[offset + i * stride], converted to compute_of(dtype). Offsets and strides count
// elements; sub-byte elements are packed, so `base` is their first byte. Stride 0 repeats one
// element, stride 1 is the fast case, any other value (negative too) is allowed.
using LoadKernel = void (*)(void* out, const void* base, int64_t offset, int64_t stride, size_t n);
LoadKernel load_kernel(DType dtype);

// out[i] = base[offsets[i]].
using GatherKernel = void (*)(void* out, const void* base, const int64_t* offsets, size_t n);
GatherKernel gather_kernel(DType dtype);

// offsets[i] += indices[i] * stride. False if an index is below 0 or not below `extent`.
bool add_indices(int64_t* offsets, const int64_t* indices, int64_t stride, int64_t extent,
                 size_t n);

// base[offset + i * stride] = values[i], converted from compute_of(dtype): floats round to nearest
// even (8-bit and 4-bit ones saturate unless told otherwise), integers keep their low bits, boolean
// is value != 0. Sub-byte elements that share a byte must not be stored by two threads at once.
using StoreKernel = void (*)(void* base, int64_t offset, int64_t stride, const void* values,
                             size_t n);
StoreKernel store_kernel(DType dtype, bool saturate = true);

// Rows of bytes; strides in bytes. The sides do not overlap.
void copy_rows(void* out, int64_t out_stride, const void* from, int64_t from_stride, int64_t rows,
               size_t row_bytes);

// The same into rows side by side of `out_stride` bytes, more than `row_bytes`: zeros follow in
// each.
void pad_rows(void* out, int64_t out_stride, const void* from, int64_t from_stride, int64_t rows,
              size_t row_bytes);

// dst[c * dst_stride + r] = src[r * src_stride + c] for r < rows, c < cols. Strides count elements
// of `element_bytes` (1, 2, 4 or 8; 2 and 4 go through registers in blocks).
void transpose_copy(void* dst, int64_t dst_stride, const void* src, int64_t src_stride,
                    int64_t rows, int64_t cols, int element_bytes);

}  // namespace onrush::cpu
