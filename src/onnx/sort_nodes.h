// Topological order of the nodes of one graph.
#pragma once

#include <string_view>
#include <vector>

#include "onnx/model.h"
#include "onnx/place.h"

namespace onrush::onnx {

// Orders nodes so that each follows those whose outputs it uses, be it as input or captured by one
// of its subgraphs. Stable: nodes in order stay as they are, others move as little as the order of
// the file allows. Names that no node produces are ignored. Throws Error{invalid_model} at `graph`
// if nodes depend on each other in a circle.
void sort_nodes(std::vector<Node>& nodes, const Place& graph);

// Graphs among an attribute's values.
std::vector<const Graph*> subgraphs(const Attribute& attribute);

// Names that `node` reads from the scope it stands in: its inputs, then what its subgraphs capture.
// Repetitions are kept; "" is left out. Views of the node's strings.
std::vector<std::string_view> used_names(const Node& node);

}  // namespace onrush::onnx
