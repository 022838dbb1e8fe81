// Reductions of tiles, along them (horizontal) and across them (vertical).
//
// Integers wrap; max and min propagate NaN. argmax and argmin let NaN beat every number. A
// horizontal f32 sum runs in at least 64 partial sums on a vector machine, so its error grows with
// n / 64.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/compute.h"
#include "ir/attributes.h"

namespace onrush::cpu {

// *accumulator = combine(*accumulator, x[0], ..., x[n - 1]), in any order.
using ReduceKernel = void (*)(void* accumulator, const void* x, size_t n);
// kind: sum, product, max or min.
ReduceKernel reduce_kernel(ReduceKind kind, Compute type);

// accumulators[i] = combine(accumulators[i], x[i]).
using AccumulateKernel = void (*)(void* accumulators, const void* x, size_t n);
AccumulateKernel accumulate_kernel(ReduceKind kind, Compute type);

// accumulators[i] = combine(accumulators[i], rows[0][i], ..., rows[count - 1][i]), in this order;
// the rows are f32 or bf16 in memory.
using AccumulateRowsKernel = void (*)(float* accumulators, const void* const* rows, size_t count,
                                      size_t n);
AccumulateRowsKernel accumulate_rows_kernel(ReduceKind kind, DType dtype);

// 0, 1, -infinity or the lowest value of the compute type, infinity or its highest value.
void fill_identity(ReduceKind kind, Compute type, void* accumulators, size_t n);

// The best element so far is *value at *index; *index < 0: none yet. x[i] has index first + i,
// greater than all seen before. Of equal elements the first wins, or the last if `last`.
using ArgReduceKernel = void (*)(void* value, int64_t* index, const void* x, int64_t first,
                                 size_t n);
ArgReduceKernel arg_reduce_kernel(ReduceKind kind, Compute type, bool last);

// The same for n places at once: x[i] has the given index and competes with values[i] at
// indices[i].
using ArgAccumulateKernel = void (*)(void* values, int64_t* indices, const void* x, int64_t index,
                                     size_t n);
ArgAccumulateKernel arg_accumulate_kernel(ReduceKind kind, Compute type, bool last);

}  // namespace onrush::cpu
