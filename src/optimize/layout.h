// Transposes to where they cost nothing. Lowering makes convolutions channels-last by a transpose
// before and one after each; the networks themselves transpose for attention and normalisation.
//
// Two steps:
//   1. Sink. A value is kept in the order of axes in which it comes out of its producer, together
//      with the permutation that is still owed. Elementwise work, reductions, windows, pads,
//      slices, concats, broadcasts, gathers, reshapes that do not mix moved axes, and dots are done
//      in that order, so that owed permutations meet their inverses. Where operands owe different
//      ones, the permutation is chosen that moves the fewest elements, and of equal ones that which
//      users undo. Everything else, and the graph's outputs, get the permutation paid by a
//      transpose.
//   2. Hoist. What remains moves up through elementwise work, broadcasts and the like to where
//      fewer elements are moved, and into the order of a dot's results.
//
// A dot reads its operands in any order of axes: no transpose is left before it.
#pragma once

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

Graph layout(Graph graph, const OptimizeOptions& options);

}  // namespace onrush
