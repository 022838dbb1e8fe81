#include "ir/graph.h"

#include <algorithm>

#include "base/check.h"

namespace onrush {

std::string to_string(const TensorType& type) {
  return std::string(name(type.dtype)) + to_string(std::span<const Dim>(type.shape));
}

std::string to_string(const Type& type) {
  if (const auto* tensor = std::get_if<TensorType>(&type)) return to_string(*tensor);
  std::string text = "(";
  for (const TensorType& part : std::get<TupleType>(type).parts)
    text += (text.size() > 1 ? ", " : "") + to_string(part);
  return text + ")";
}

void merge(Origins& into, const Origins& from) {
  if (std::ranges::includes(into, from)) return;
  Origins both;
  std::set_union(into.begin(), into.end(), from.begin(), from.end(), std::back_inserter(both));
  into = std::move(both);
}

namespace {

std::string to_string(const Graph& graph, const Origins& origins) {
  std::string text;
  for (uint32_t origin : origins)
    text += (text.empty() ? "" : ", ") + (*graph.origin_names)[origin];
  return text;
}

std::string line(const Graph& graph, size_t index) {
  const Node& node = graph.nodes[index];
  std::string text = fmt::format("%{} = {}", index, name(node.op));
  if (const auto* input = std::get_if<InputAttr>(&node.attr))
    text += " " + graph.inputs[static_cast<size_t>(input->index)].name;
  for (NodeId operand : node.inputs) text += fmt::format(" %{}", operand.index);
  if (const std::string attr = to_string(node.attr); !attr.empty() && node.op != Op::input)
    text += " {" + attr + "}";
  text += " : " + to_string(node.type);
  if (const std::string origin = to_string(graph, node.origins); !origin.empty())
    text += "  # " + origin;
  return text + "\n";
}

}  // namespace

std::string to_string(const Graph& graph) {
  std::string text;
  for (const GraphInput& input : graph.inputs)
    text += fmt::format("input {} : {}\n", input.name, to_string(input.type));
  for (size_t i = 0; i < graph.nodes.size(); ++i) text += line(graph, i);
  for (const GraphOutput& output : graph.outputs)
    text += fmt::format("output {} = %{}\n", output.name, output.node.index);
  for (const Guard& guard : graph.shapes->guards())
    text += fmt::format("guard {}\n", to_string(guard));
  return text;
}

Uses uses_of(const Graph& graph) {
  Uses uses;
  uses.users.resize(graph.nodes.size());
  uses.output_uses.resize(graph.nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i)
    for (NodeId operand : graph.nodes[i].inputs) uses.users[operand.index].push_back(NodeId{i});
  for (const GraphOutput& output : graph.outputs) ++uses.output_uses[output.node.index];
  return uses;
}

std::vector<int> use_counts(const Graph& graph) {
  std::vector<int> counts(graph.nodes.size());
  for (const Node& node : graph.nodes)
    for (NodeId operand : node.inputs) ++counts[operand.index];
  for (const GraphOutput& output : graph.outputs) ++counts[output.node.index];
  return counts;
}

namespace {

void verify_node(const Graph& graph, size_t index) {
  const Node& node = graph.nodes[index];
  const auto check = [&](bool condition, std::string_view what) {
    if (!condition) internal_error(fmt::format("{}: {}", what, line(graph, index)));
  };
  for (NodeId operand : node.inputs) check(operand.index < index, "operands must come first");
  const int operands = operand_count(node.op);
  check(operands < 0 || operands == static_cast<int>(node.inputs.size()), "operand count");
  if (is_elementwise(node.op)) {
    const Dims& shape = std::get<TensorType>(node.type).shape;
    for (NodeId operand : node.inputs)
      check(always_equal(shape, graph.shape(operand)),
            "elementwise operands have the result's shape");
  }
  if (node.op == Op::input) {
    const int input = node.as<InputAttr>().index;
    check(input >= 0 && input < static_cast<int>(graph.inputs.size()), "input index");
  }
  if (node.op == Op::get)
    check(std::holds_alternative<TupleType>(graph[node.inputs[0]].type), "get reads a tuple");
}

}  // namespace

void verify(const Graph& graph, Stage) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) verify_node(graph, i);
  for (const GraphOutput& output : graph.outputs)
    internal_check(output.node.index < graph.nodes.size(), "an output names a node of the graph");
}

}  // namespace onrush
