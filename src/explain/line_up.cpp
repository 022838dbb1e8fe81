#include "explain/line_up.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <unordered_map>

namespace onrush::explain {
namespace {

const std::string& label(const onnx::Node& node) {
  return node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name;
}

using Producers = std::unordered_map<std::string, const onnx::Node*>;  // by tensor

Producers producers_of(const onnx::Graph& graph) {
  Producers producers;
  for (const onnx::Node& node : graph.nodes)
    for (const std::string& output : node.outputs) producers.emplace(output, &node);
  return producers;
}

// ONNX Runtime calls a convolution in blocked layout after the tensor that it would write, and
// gives what it writes a new name.
std::string blocked_result(const onnx::Node& node) {
  constexpr std::string_view kSuffix = "_nchwc";
  return node.name.ends_with(kSuffix) ? node.name.substr(0, node.name.size() - kSuffix.size()) : "";
}

class Matcher {
 public:
  Matcher(const onnx::Graph& model, const onnx::Graph& ran)
      : producers_(producers_of(model)), ran_(producers_of(ran)) {
    for (const onnx::Node& node : model.nodes) by_name_.emplace(label(node), &node);
    for (const onnx::Node& node : ran.nodes) ran_by_name_.emplace(node.name, &node);
    for (const onnx::Initializer& weight : ran.initializers) weights_.insert(weight.name);
    for (const onnx::Node& node : model.nodes)
      for (const std::string& input : node.inputs) users_[input].push_back(&node);
    collect_results(ran);
    for (const onnx::Node& node : ran.nodes)
      if (const std::string blocked = blocked_result(node); producers_.contains(blocked))
        blocked_ends_[blocked] = end_of(blocked, has_sum(node));
    collect_results(ran);  // with the ends known now
  }

  NodeNames match(const std::string& name) const {
    NodeNames nodes;
    const auto found = ran_by_name_.find(name);
    if (found == ran_by_name_.end()) return nodes;
    std::set<std::string> inputs;
    for (const std::string& input : found->second->inputs) inputs.insert(original(input));
    for (const std::string& output : found->second->outputs)
      collect(original(output), inputs, nodes);
    if (nodes.empty() && by_name_.contains(name)) nodes.insert(name);
    return nodes;
  }

 private:
  void collect_results(const onnx::Graph& ran) {
    results_.clear();
    for (const onnx::Node& node : ran.nodes)
      for (const std::string& output : node.outputs) results_.insert(original(output));
  }

  // The model's tensor that this one of the peer's graph holds, in whatever layout.
  std::string original(const std::string& tensor) const {
    if (producers_.contains(tensor)) return tensor;
    const auto found = ran_.find(tensor);
    if (found == ran_.end()) return tensor;
    const onnx::Node& node = *found->second;
    if (const std::string blocked = blocked_result(node); producers_.contains(blocked)) {
      const auto end = blocked_ends_.find(blocked);
      return end == blocked_ends_.end() ? blocked : end->second;
    }
    const auto same = by_name_.find(node.name);
    if (same != by_name_.end() && !same->second->outputs.empty()) return same->second->outputs[0];
    return node.inputs.empty() ? tensor : original(node.inputs[0]);  // a copy of its operand
  }

  // A convolution in blocked layout that adds its fourth operand.
  static bool has_sum(const onnx::Node& node) {
    return node.inputs.size() > 3 && !node.inputs[3].empty();
  }

  // A convolution keeps its name when what follows becomes part of it: the last tensor in a row of
  // single users that no other kernel computes. `sums`: these may be sums with another tensor.
  std::string end_of(std::string tensor, bool sums) const {
    for (;;) {
      const auto users = users_.find(tensor);
      if (users == users_.end() || users->second.size() != 1) return tensor;
      const onnx::Node& user = *users->second[0];
      if (user.outputs.size() != 1 || results_.contains(user.outputs[0])) return tensor;
      if (user.inputs.size() > 1 && !(sums && user.op_type == "Add")) return tensor;
      tensor = user.outputs[0];
    }
  }

  // The nodes that lead to the tensor, back to `inputs`, to results of other kernels, and to what
  // is no node's result.
  void collect(const std::string& tensor, const std::set<std::string>& inputs,
               NodeNames& nodes) const {
    if (inputs.contains(tensor)) return;
    const auto found = producers_.find(tensor);
    if (found == producers_.end() || !nodes.insert(label(*found->second)).second) return;
    for (const std::string& input : found->second->inputs)
      // What the peer computed before the run is a weight of its graph.
      if (!weights_.contains(input) && !results_.contains(input)) collect(input, inputs, nodes);
  }

  Producers producers_, ran_;
  std::unordered_map<std::string, const onnx::Node*> by_name_, ran_by_name_;
  std::unordered_map<std::string, std::vector<const onnx::Node*>> users_;  // by tensor of the model
  std::unordered_map<std::string, std::string> blocked_ends_;
  std::set<std::string> weights_, results_;  // of the peer's graph, as the model calls them
};

// Sets of things that belong together.
class Sets {
 public:
  explicit Sets(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), 0u); }
  size_t find(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(size_t a, size_t b) {
    a = find(a), b = find(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<size_t> parent_;
};

}  // namespace

bool is_of_no_node(const engines::PeerEvent& event) {
  return event.op == "synchronize" || (event.name.empty() && event.op.starts_with("Memcpy"));
}

int products_of(const std::string& op) {
  static const std::map<std::string, int> products = {{"Conv", 1},
                                                      {"ConvInteger", 1},
                                                      {"ConvTranspose", 1},
                                                      {"FusedConv", 1},
                                                      {"NhwcConv", 1},
                                                      {"NhwcFusedConv", 1},
                                                      {"QLinearConv", 1},
                                                      {"MatMul", 1},
                                                      {"FusedMatMul", 1},
                                                      {"FusedMatMulActivation", 1},
                                                      {"TransposeMatMul", 1},
                                                      {"MatMulInteger", 1},
                                                      {"QLinearMatMul", 1},
                                                      {"MatMulNBits", 1},
                                                      {"Gemm", 1},
                                                      {"FusedGemm", 1},
                                                      {"Einsum", 1},
                                                      {"GemmFastGelu", 1},
                                                      {"Attention", 2},
                                                      {"MultiHeadAttention", 2},
                                                      {"GroupQueryAttention", 2},
                                                      {"PackedAttention", 2},
                                                      {"LSTM", 1},
                                                      {"GRU", 1},
                                                      {"RNN", 1},
                                                      {"aten::conv2d", 1},
                                                      {"aten::conv1d", 1},
                                                      {"aten::conv3d", 1},
                                                      {"aten::convolution", 1},
                                                      {"aten::conv_transpose2d", 1},
                                                      {"aten::linear", 1},
                                                      {"aten::addmm", 1},
                                                      {"aten::mm", 1},
                                                      {"aten::bmm", 1},
                                                      {"aten::baddbmm", 1},
                                                      {"aten::matmul", 1},
                                                      {"aten::einsum", 1},
                                                      {"aten::scaled_dot_product_attention", 2}};
  const auto found = products.find(op);
  return found == products.end() ? 0 : found->second;
}

std::vector<NodeNames> nodes_by_event(const onnx::Graph& model, const onnx::Graph& ran,
                                      const std::vector<engines::PeerEvent>& events) {
  const Matcher matcher(model, ran);
  std::vector<NodeNames> result;
  for (const engines::PeerEvent& event : events) result.push_back(matcher.match(event.name));
  return result;
}

std::vector<NodeNames> nodes_by_products(const onnx::Graph& model,
                                         const std::vector<engines::PeerEvent>& events) {
  std::vector<NodeNames> pieces(1);  // what comes before the first product, and so on
  for (const onnx::Node& node : model.nodes) {
    for (int i = 0; i < products_of(node.op_type); ++i) pieces.emplace_back();
    pieces.back().insert(label(node));
  }
  std::vector<NodeNames> result;
  std::map<int, NodeNames> of_position;
  size_t piece = 0;
  for (const engines::PeerEvent& event : events) {
    const auto found = of_position.find(event.position);
    if (is_of_no_node(event)) {
      result.emplace_back();
      continue;
    }
    if (found != of_position.end()) {  // another kernel of the same operator
      result.push_back(found->second);
      continue;
    }
    NodeNames nodes;
    const int products = products_of(event.op);
    for (int i = 0; i < products; ++i)
      if (++piece < pieces.size()) nodes.insert(pieces[piece].begin(), pieces[piece].end());
    if (products == 0 && piece < pieces.size()) nodes = pieces[piece];
    if (event.position >= 0) of_position[event.position] = nodes;
    result.push_back(std::move(nodes));
  }
  if (piece + 1 != pieces.size()) return {};
  return result;
}

std::vector<Region> regions_of(const std::vector<StepFigures>& steps,
                               const std::vector<engines::PeerEvent>& events,
                               const std::vector<NodeNames>& nodes) {
  Sets sets(steps.size() + events.size());
  std::unordered_map<std::string, size_t> first;  // who computes the node
  const auto claim = [&](size_t who, const std::string& node) {
    const auto [found, fresh] = first.try_emplace(node, who);
    if (!fresh) sets.join(who, found->second);
  };
  for (size_t i = 0; i < steps.size(); ++i)
    for (const std::string& node : steps[i].nodes) claim(i, node);
  for (size_t i = 0; i < events.size(); ++i)
    for (const std::string& node : nodes[i]) claim(steps.size() + i, node);
  std::vector<Region> regions;
  std::unordered_map<size_t, size_t> position;
  const auto region = [&](size_t who) -> Region& {
    const auto [found, fresh] = position.try_emplace(sets.find(who), regions.size());
    if (fresh) regions.emplace_back();
    return regions[found->second];
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    Region& at = region(i);
    at.steps.push_back(i);
    at.own_us += steps[i].time_us;
    at.nodes.insert(steps[i].nodes.begin(), steps[i].nodes.end());
  }
  for (size_t i = 0; i < events.size(); ++i) {
    Region& at = region(steps.size() + i);
    at.events.push_back(i);
    at.peer_us += events[i].time_us;
    at.nodes.insert(nodes[i].begin(), nodes[i].end());
  }
  return regions;
}

}  // namespace onrush::explain
