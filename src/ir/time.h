// When a value can be known.
#pragma once

#include "ir/graph.h"

namespace onrush {

// Once the weights are there, once the sizes of the inputs are, or in each run. Ascending: a value
// is known no earlier than its operands.
enum class Time : uint8_t { prepare, bind, run };

// The time of a node the latest of whose operands is known at `operands`.
Time time_of(const Node& node, Time operands);
// Of all nodes of a graph.
std::vector<Time> times_of(const Graph& graph);

}  // namespace onrush
