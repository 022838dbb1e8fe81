// ONNX subgraphs copied into the graph around them under fresh names.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "onnx/model.h"

namespace onrush {

using NodePtr = std::shared_ptr<const onnx::Node>;

// The nodes of `graph` with its inputs replaced by the outer names `inputs`, its own names prefixed
// by `prefix`, and Identity nodes that give its outputs the names `outputs` ("" is dropped).
std::vector<NodePtr> splice(const onnx::Graph& graph, const std::string& prefix,
                            std::span<const std::string> inputs,
                            std::span<const std::string> outputs);

// Names that a node reads: its inputs, and what its subgraphs take from around them.
std::set<std::string> names_read(const onnx::Node& node);
std::set<std::string> free_names(const onnx::Graph& graph);

}  // namespace onrush
