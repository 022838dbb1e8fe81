// Elementwise primitives on tiles.
//
// A kernel is an ordinary function for the best instruction set of this machine, found once by
// look-up and called many times. It is pure and safe to call from any thread. Arrays need no
// alignment (64 bytes is fastest), hold the compute type the kernel was looked up for, and may be
// the same array (out == a), but may not overlap otherwise. n may be 0.
//
// Meaning is that of ir/ops.def: integers wrap; x / 0 and x rem 0 are 0 for integers; min and max
// propagate NaN; round takes halves to even; comparisons give 0 or 1 and are false for NaN. Shift
// counts outside the width of the compute type give 0, or -1 for a negative value shifted right.
// Functions of f32 are within 3 ULP, most within 1; those of f64 are the C library's.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/compute.h"
#include "ir/ops.h"

namespace onrush::cpu {

using UnaryKernel = void (*)(void* out, const void* a, size_t n);
using BinaryKernel = void (*)(void* out, const void* a, const void* b, size_t n);
using SelectKernel = void (*)(void* out, const int32_t* condition, const void* a, const void* b,
                              size_t n);

// Which operand of a binary kernel is a single value instead of an array.
enum class Splat : uint8_t { none, a, b };

// Classes unary and predicate. is_nan writes int32_t 0 or 1; the others write `type`. Null if the
// primitive is not defined for the type. bit_not is the complement: a boolean's logical not is
// bit_xor with 1.
UnaryKernel unary_kernel(Op op, Compute type);

// Classes binary and comparison (these write int32_t 0 or 1). Null if the primitive is not defined
// for the type; the splat forms exist for whatever has a plain one. f32 `pow` with a splat exponent
// of 2, 3, 0.5, -0.5, -1, 0 or 1 costs a multiplication or a root.
BinaryKernel binary_kernel(Op op, Compute type, Splat splat = Splat::none);

// out[i] = condition[i] != 0 ? a[i] : b[i].
SelectKernel select_kernel(Compute type);

// Op::cast between compute types. Floats to integers truncate; NaN and what is below the range of
// 64 bits give the least i64, what is above the greatest i64 or u64; then i32 keeps the low 32
// bits, as the reference evaluator does. Conversion to boolean is not this: it is x != 0.
UnaryKernel convert_kernel(Compute from, Compute to);

// Rounds f32 values to the nearest even of f16, bf16 or one of the 8-bit or 4-bit floats and back,
// as an explicit cast does. Null for f32. `saturate` is CastAttr's.
UnaryKernel round_kernel(DType dtype, bool saturate = true);

// Keeps the low bits of compute_of(dtype) values, sign- or zero-extended: what a store to the dtype
// and a load give. Null where the compute type is as wide as the dtype, and for boolean.
UnaryKernel wrap_kernel(DType dtype);

// out[i] = a[i] * b[i] + c[i] in f32, rounded once where the machine has fused multiply-add.
using MultiplyAddKernel = void (*)(float* out, const float* a, const float* b, const float* c,
                                   size_t n);
MultiplyAddKernel multiply_add_kernel();

}  // namespace onrush::cpu
