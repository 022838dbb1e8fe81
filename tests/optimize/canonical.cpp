#include "canonical.h"

#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <map>

#include "optimize/facts.h"

namespace onrush {
namespace {

bool is_commutative(Op op) {
  return op == Op::add || op == Op::mul || op == Op::max || op == Op::min || op == Op::bit_and;
}

class Canonical {
 public:
  explicit Canonical(const Graph& graph) : graph_(graph), hashes_(graph.nodes.size()) {
    for (const Node& node : graph.nodes) is_weight_.push_back(find_weight(node));
    for (uint32_t i = 0; i < graph.nodes.size(); ++i) hashes_[i] = hash(NodeId{i});
  }

  // What a node does, without its operands.
  std::string text(NodeId id) const {
    const Node& node = graph_[id];
    if (node.op == Op::input) return "input : " + to_string(node.type);
    if (is_weight_[id.index]) {
      const bool number = node.op == Op::constant && node.as<ConstantAttr>().tensor.count() == 1;
      return (number ? to_string(node.attr) : "weight") + " : " + to_string(node.type);
    }
    const std::string attr = to_string(node.attr);
    return fmt::format("{}{} : {}", name(node.op), attr.empty() ? "" : " {" + attr + "}",
                       to_string(node.type));
  }

  // Operands in an order that does not depend on the graph's.
  std::vector<NodeId> operands(NodeId id) const {
    if (is_weight_[id.index]) return {};
    std::vector<NodeId> operands = graph_[id].inputs;
    if (is_commutative(graph_[id].op))
      std::ranges::stable_sort(operands, {}, [&](NodeId x) { return hashes_[x.index]; });
    return operands;
  }

  std::vector<std::string> lines() {
    for (const GraphOutput& output : graph_.outputs) print(output.node);
    return std::move(lines_);
  }

  // Every needed node's text with its operands' texts, counted.
  std::map<std::string, int> count() {
    std::map<std::string, int> counts;
    lines();
    for (const auto& [id, number] : numbers_) {
      std::string line = text(id);
      std::vector<std::string> read;
      for (NodeId operand : operands(id)) read.push_back("\n      of " + text(operand));
      if (is_commutative(graph_[id].op)) std::ranges::sort(read);
      line += fmt::format("{}", fmt::join(read, ""));
      ++counts[line];
    }
    return counts;
  }

 private:
  bool find_weight(const Node& node) const {
    if (node.op == Op::constant) return true;
    const auto* type = std::get_if<TensorType>(&node.type);
    const bool fixed =
        type && std::ranges::all_of(type->shape, [](Dim d) { return d.is_constant(); });
    return fixed && !node.inputs.empty() &&
           std::ranges::all_of(node.inputs, [&](NodeId x) { return is_weight_[x.index]; });
  }

  size_t hash(NodeId id) const {
    size_t result = std::hash<std::string>{}(text(id));
    for (NodeId operand : operands(id)) result = result * 1000003 ^ hashes_[operand.index];
    return result;
  }

  int print(NodeId id) {
    if (const auto known = numbers_.find(id); known != numbers_.end()) return known->second;
    std::string reads;
    for (NodeId operand : operands(id)) reads += fmt::format(" %{}", print(operand));
    const int number = static_cast<int>(lines_.size());
    lines_.push_back(fmt::format("%{} ={} {}", number, reads, text(id)));
    return numbers_[id] = number;
  }

  const Graph& graph_;
  std::vector<bool> is_weight_;
  std::vector<size_t> hashes_;
  std::map<NodeId, int> numbers_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> canonical_lines(const Graph& graph) { return Canonical(graph).lines(); }

std::string canonical_difference(const Graph& first, const Graph& second) {
  std::map<std::string, int> change = Canonical(second).count();
  for (const auto& [line, count] : Canonical(first).count()) change[line] -= count;
  std::string text;
  for (const auto& [line, count] : change)
    if (count != 0) text += fmt::format("{} {} {}\n", count < 0 ? '-' : '+', std::abs(count), line);
  return text;
}

}  // namespace onrush
