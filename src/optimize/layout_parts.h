// The two steps of layout, and what both know about moving a transpose up.
#pragma once

#include "optimize/facts.h"
#include "optimize/permutation.h"

namespace onrush {

Graph sink_transposes(const Graph& graph);
Graph hoist_transposes(const Graph& graph);

// transpose(x, permutation), moved up through `x` as far as that moves no element of a value that
// is computed in the run: through broadcasts, iota, what depends on weights only.
NodeId cheap_transpose(Builder& b, NodeFacts& facts, NodeId x, const Axes& permutation);

// Elements that such a transpose moves in the run.
double transpose_cost(const Builder& b, NodeFacts& facts, NodeId x, const Axes& permutation);

// Only axes of extent 1 change their place.
bool moves_nothing(const Dims& shape, const Axes& permutation);

}  // namespace onrush
