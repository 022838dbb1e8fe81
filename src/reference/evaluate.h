// The evaluator of primitives: small and obviously right. It is the oracle that the backends are
// compared with, the constant folder, and the CPU's implementation of what is not generated.
//
// Numeric meaning, besides what ir/ops.def, ir/attributes.h and ir/builder.h say:
//   - f64 computes in f64, every other float in f32; each primitive rounds its result once to its
//     dtype. Sums and products along axes (reduce, window, scan, scatter, dot, conv) of any float
//     accumulate in f64.
//   - Integers wrap in their own width. pow of integers is exact modulo that width; a negative
//     exponent gives 0 unless the base is 1 or -1. Shifts by the width or more give 0, or all sign
//     bits. Booleans compute as 0 and 1, and a result other than 0 is true.
//   - cast of a float to an integer truncates; 64-bit results saturate (a NaN gives the lowest
//     i64, a negative value wraps into u64), narrower ones keep the low bits of the i64.
//   - min and max of nothing are -inf and inf, or the extremes of an integer dtype.
//   - NaN sorts as the largest value; argmax and argmin give the place of a NaN if there is one,
//     and 0 where there is no element.
//   - random_bits draws with RandomAttr's seed as it is (see philox.h); who wants an unseeded node
//     to draw afresh gives it another seed.
//   - A loop stacks its scan outputs in the order of the trips, reversed or not.
//
// Complex and string elements can be moved and selected, but not computed with.
// All functions are pure and may be called from several threads at once. Results may share memory
// with operands (reshape, get ...): treat both as immutable.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "ir/builder.h"
#include "ir/graph.h"
#include <onrush/tensor.h>

namespace onrush {

// The number that a dim stands for in one run.
using SizeFunction = std::function<int64_t(Dim)>;

// The node's tensors: one, or the parts of its tuple. `operands` are the tensors of the node's
// inputs in order, in host memory, a tuple contributing each of its parts. Any node but Op::input.
// Throws Error{invalid_argument} for what only values can tell: a gather or scatter index out of
// range, or the data of a call.
std::vector<Tensor> evaluate_node(const Node& node, std::span<const Tensor> operands,
                                  const SizeFunction& size);

// The graph's outputs, in order. inputs[i] belongs to graph.inputs[i]; throws
// Error{invalid_argument} unless it has the declared dtype and the extents that `sizes` gives.
std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs,
                             const SizeTable& sizes);
// The same for the sizes that the graph was lowered with.
std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs);

// Evaluates a node with constant operands and sizes if the operands have at most 1 MiB and the
// result 64 KiB. Leaves sources (an iota costs less than a table), tuples, and nodes whose
// evaluation fails, so that the error is reported by a run that reaches it.
Folder constant_folder();

}  // namespace onrush
