// The optimizer: a graph from lower/ into the form that fuse/ cuts into kernels.
//
// A pass is a free function `Graph pass(Graph, const OptimizeOptions&)` that gives a graph with the
// same inputs, outputs, shape context and meaning. Results may differ from those of the source in
// rounding, and in the sign of a zero. Guards that a pass relies on are recorded in the shape
// context, like those of lowering.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

struct Pass {
  std::string_view name;  // passes that run twice share one
  Graph (*run)(Graph, const OptimizeOptions&);
};

// In the order in which optimize() runs them.
std::span<const Pass> passes();

// Runs all passes on the bodies of loops, innermost first, then on the graph itself. Throws
// Error{invalid_argument} if `options` disables a pass that does not exist.
Graph optimize(Graph graph, const OptimizeOptions& options = {});

// What the second graph has that the first has not, and the reverse, one node a line and without
// numbers: "- 2 transpose {permutation=[0,2,3,1]} : f32[1,8,8,3]".
std::string describe_changes(const Graph& before, const Graph& after);

}  // namespace onrush
