// The body of a loop as a graph that a plan can be made of.
#pragma once

#include "ir/graph.h"
#include "ir/time.h"

namespace onrush {

// The body of node `loop` of `graph`, with the same inputs and outputs, where what depends on
// weights alone is computed inside, and no longer captured: it becomes a weight of the body's plan,
// prepared once. times: of the graph's nodes.
Graph make_loop_body(const Graph& graph, NodeId loop, const std::vector<Time>& times);

}  // namespace onrush
