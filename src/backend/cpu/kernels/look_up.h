// What the files of this folder offer each other: the look-ups of tile.h by kind of kernel.
#pragma once

#include "backend/cpu/kernels/tile.h"

namespace onrush::cpu {

// f32 through vectors; null for what another file has.
UnaryKernel vector_unary_f32(Op op);
BinaryKernel vector_binary_f32(Op op, Splat splat);

// Loops over scalar C++ which the compiler vectorises where it can.
UnaryKernel plain_unary(Op op, Compute type);
BinaryKernel plain_binary(Op op, Compute type, Splat splat);

}  // namespace onrush::cpu
