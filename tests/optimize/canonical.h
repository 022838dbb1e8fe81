// A graph as text that is equal for two graphs that compute the same in the same way: names,
// origins, the order of nodes and of commutative operands, and how weights come about do not show.
#pragma once

#include <string>
#include <vector>

#include "ir/graph.h"

namespace onrush {

// One line a node, those that outputs need first in depth-first order. A node that depends on
// constants only and has more than eight elements is "weight".
std::vector<std::string> canonical_lines(const Graph& graph);

// Lines of one graph that the other lacks: "- line" and "+ line"; numbers of nodes do not show.
std::string canonical_difference(const Graph& first, const Graph& second);

}  // namespace onrush
