// Local algebra: every node into the one form that the other passes, the fusion and the pattern of
// another exporter expect.
//
//   - operands of commutative primitives stand in the order of Rewriter::commutative
//   - x + 0, x * 1, x * 0 of integers, x - c, double negation, constant conditions and the like go
//     away; factors and terms that are one number merge; division by a power of two multiplies
//   - small powers are products and roots; clamps are max(min(x, high), low)
//   - GELU, its tanh form, SiLU, HardSigmoid, HardSwish, softmax, and the quotient of layer
//     normalisation end in the spelling that lower/ gives the ONNX operators of these names
//   - what is computed from repeated values is computed before they are repeated
//   - slices see through concat, pad and broadcast; transposes of unit axes are reshapes; reshapes
//     come after elementwise work
//   - reductions over unit, repeated or already reduced axes go away
//
// Reassociation happens where no cancellation can make the rounding matter.
#pragma once

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

Graph simplify(Graph graph, const OptimizeOptions& options);

}  // namespace onrush
