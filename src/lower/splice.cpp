#include "lower/splice.h"

namespace onrush {
namespace {

using Renaming = std::unordered_map<std::string, std::string>;

std::string renamed(const Renaming& names, const std::string& name) {
  const auto found = names.find(name);
  return found == names.end() ? name : found->second;
}

onnx::Node renamed(const Renaming& names, const onnx::Node& node);

// Only what the subgraph takes from outside changes; names it defines itself hide outer ones.
std::shared_ptr<const onnx::Graph> renamed(Renaming names, const onnx::Graph& graph) {
  for (const auto& input : graph.inputs) names.erase(input.name);
  for (const auto& initializer : graph.initializers) names.erase(initializer.name);
  for (const auto& node : graph.nodes)
    for (const auto& output : node.outputs) names.erase(output);
  auto copy = std::make_shared<onnx::Graph>(graph);
  for (auto& node : copy->nodes) node = renamed(names, node);
  // An output may name an outer value directly: give it a node of the subgraph's own.
  for (auto& output : copy->outputs) {
    const std::string outer = renamed(names, output.name);
    if (outer == output.name) continue;
    onnx::Node identity;
    identity.op_type = "Identity";
    identity.inputs = {outer};
    identity.outputs = {output.name};
    copy->nodes.push_back(std::move(identity));
  }
  return copy;
}

void rename_subgraphs(const Renaming& names, onnx::Node& node) {
  using GraphPtr = std::shared_ptr<const onnx::Graph>;
  for (auto& attribute : node.attributes) {
    if (auto* graph = std::get_if<GraphPtr>(&attribute.value)) *graph = renamed(names, **graph);
    if (auto* graphs = std::get_if<std::vector<GraphPtr>>(&attribute.value))
      for (auto& graph : *graphs) graph = renamed(names, *graph);
  }
}

onnx::Node renamed(const Renaming& names, const onnx::Node& node) {
  onnx::Node copy = node;
  for (auto& input : copy.inputs) input = renamed(names, input);
  for (auto& output : copy.outputs) output = renamed(names, output);
  rename_subgraphs(names, copy);
  return copy;
}

NodePtr identity(const std::string& from, const std::string& to) {
  auto node = std::make_shared<onnx::Node>();
  node->op_type = "Identity";
  node->inputs = {from};
  node->outputs = {to};
  return node;
}

NodePtr constant(const Tensor& tensor, const std::string& name) {
  auto node = std::make_shared<onnx::Node>();
  node->op_type = "Constant";
  node->outputs = {name};
  onnx::Attribute value;
  value.name = "value";
  value.value = tensor;
  node->attributes.push_back(std::move(value));
  return node;
}

void collect(const onnx::Node& node, std::set<std::string>& names) {
  using GraphPtr = std::shared_ptr<const onnx::Graph>;
  for (const auto& input : node.inputs)
    if (!input.empty()) names.insert(input);
  for (const auto& attribute : node.attributes) {
    if (const auto* graph = std::get_if<GraphPtr>(&attribute.value))
      names.merge(free_names(**graph));
    if (const auto* graphs = std::get_if<std::vector<GraphPtr>>(&attribute.value))
      for (const auto& graph : *graphs) names.merge(free_names(*graph));
  }
}

}  // namespace

std::vector<NodePtr> splice(const onnx::Graph& graph, const std::string& prefix,
                            std::span<const std::string> inputs,
                            std::span<const std::string> outputs) {
  Renaming names;
  std::vector<NodePtr> nodes;
  for (const auto& initializer : graph.initializers) {
    names[initializer.name] = prefix + initializer.name;
    nodes.push_back(constant(initializer.tensor, prefix + initializer.name));
  }
  for (size_t i = 0; i < inputs.size(); ++i) names[graph.inputs[i].name] = inputs[i];
  for (const auto& node : graph.nodes)
    for (const auto& output : node.outputs)
      if (!output.empty()) names[output] = prefix + output;
  for (const auto& node : graph.nodes) {
    auto copy = std::make_shared<onnx::Node>(renamed(names, node));
    if (!copy->name.empty()) copy->name = prefix + copy->name;
    nodes.push_back(std::move(copy));
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!outputs[i].empty())
      nodes.push_back(identity(renamed(names, graph.outputs[i].name), outputs[i]));
  return nodes;
}

std::set<std::string> names_read(const onnx::Node& node) {
  std::set<std::string> names;
  collect(node, names);
  return names;
}

std::set<std::string> free_names(const onnx::Graph& graph) {
  std::set<std::string> used, own;
  for (const auto& node : graph.nodes) collect(node, used);
  for (const auto& output : graph.outputs) used.insert(output.name);
  for (const auto& input : graph.inputs) own.insert(input.name);
  for (const auto& initializer : graph.initializers) own.insert(initializer.name);
  for (const auto& node : graph.nodes) own.insert(node.outputs.begin(), node.outputs.end());
  for (const std::string& name : own) used.erase(name);
  used.erase("");
  return used;
}

}  // namespace onrush
