// Dots of one left operand by several weights (the projections of attention), and convolutions of
// one input alike in everything but the weights, become one over the concatenated weights, whose
// result is sliced. A bias that follows each of them is concatenated as well. Convolutions take
// part if what follows is the same operation for all, so that it can be done once.
#pragma once

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

Graph merge_contractions(Graph graph, const OptimizeOptions& options);

}  // namespace onrush
