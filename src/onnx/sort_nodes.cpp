#include "onnx/sort_nodes.h"

#include <algorithm>
#include <functional>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace onrush::onnx {
namespace {

// For each node the indices of the nodes it uses; repetitions are kept.
using Edges = std::vector<std::vector<size_t>>;

void append_captures(const Graph& graph, std::vector<std::string_view>& names) {
  std::unordered_set<std::string_view> local;
  for (const Initializer& initializer : graph.initializers) local.insert(initializer.name);
  for (const ValueInfo& input : graph.inputs) local.insert(input.name);
  for (const Node& node : graph.nodes) local.insert(node.outputs.begin(), node.outputs.end());

  const auto append = [&](std::string_view name) {
    if (!local.contains(name)) names.push_back(name);
  };
  for (const Node& node : graph.nodes)
    for (const std::string_view name : used_names(node)) append(name);
  for (const ValueInfo& output : graph.outputs) append(output.name);
}

Edges find_edges(const std::vector<Node>& nodes) {
  std::unordered_map<std::string_view, size_t> producers;
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const std::string& output : nodes[i].outputs)
      if (!output.empty()) producers.emplace(output, i);

  Edges edges(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i)
    for (const std::string_view name : used_names(nodes[i]))
      if (const auto found = producers.find(name); found != producers.end())
        edges[i].push_back(found->second);
  return edges;
}

bool is_sorted(const Edges& edges) {
  for (size_t i = 0; i < edges.size(); ++i)
    for (const size_t used : edges[i])
      if (used >= i) return false;
  return true;
}

// Kahn's algorithm; of the nodes that are ready the first in the file comes next. Shorter than
// `edges` if there is a circle.
std::vector<size_t> order(const Edges& edges) {
  std::vector<size_t> missing(edges.size());
  std::vector<std::vector<size_t>> users(edges.size());
  std::priority_queue<size_t, std::vector<size_t>, std::greater<>> ready;
  for (size_t i = 0; i < edges.size(); ++i) {
    missing[i] = edges[i].size();
    for (const size_t used : edges[i]) users[used].push_back(i);
    if (missing[i] == 0) ready.push(i);
  }
  std::vector<size_t> sorted;
  while (!ready.empty()) {
    const size_t next = ready.top();
    ready.pop();
    sorted.push_back(next);
    for (const size_t user : users[next])
      if (--missing[user] == 0) ready.push(user);
  }
  return sorted;
}

std::string title(const Node& node, size_t index) {
  const auto position = static_cast<int64_t>(index);
  const std::string name = node.name.empty() ? fmt::format("{}", position) : quoted(node.name);
  return fmt::format("{} ({})", name, node.op_type);
}

// REQUIRES: every node outside `sorted` uses another such node, as Kahn's algorithm leaves them.
[[noreturn]] void fail_for_circle(const std::vector<Node>& nodes, const Edges& edges,
                                  const std::vector<size_t>& sorted, const Place& graph) {
  std::vector<bool> done(nodes.size());
  for (const size_t i : sorted) done[i] = true;
  const auto unsorted = [&](size_t i) { return !done[i]; };

  std::vector<size_t> path;
  std::unordered_map<size_t, size_t> position;  // in the path
  size_t at = static_cast<size_t>(std::find(done.begin(), done.end(), false) - done.begin());
  while (position.emplace(at, path.size()).second) {
    path.push_back(at);
    at = *std::find_if(edges[at].begin(), edges[at].end(), unsorted);
  }
  path.erase(path.begin(), path.begin() + static_cast<ptrdiff_t>(position[at]));
  constexpr size_t kShown = 8;
  std::string text;
  for (size_t i = 0; i < std::min(path.size(), kShown); ++i)
    text += title(nodes[path[i]], path[i]) + " uses ";
  if (path.size() > kShown) text += "... uses ";
  fail_at(graph, "nodes depend on each other in a circle: {}{}; a model must be acyclic", text,
          title(nodes[path[0]], path[0]));
}

}  // namespace

std::vector<const Graph*> subgraphs(const Attribute& attribute) {
  using GraphPtr = std::shared_ptr<const Graph>;
  std::vector<const Graph*> graphs;
  if (const auto* graph = std::get_if<GraphPtr>(&attribute.value)) graphs.push_back(graph->get());
  if (const auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value))
    for (const GraphPtr& graph : *list) graphs.push_back(graph.get());
  return graphs;
}

std::vector<std::string_view> used_names(const Node& node) {
  std::vector<std::string_view> names;
  for (const std::string& input : node.inputs)
    if (!input.empty()) names.push_back(input);
  for (const Attribute& attribute : node.attributes)
    for (const Graph* graph : subgraphs(attribute)) append_captures(*graph, names);
  return names;
}

void sort_nodes(std::vector<Node>& nodes, const Place& graph) {
  const Edges edges = find_edges(nodes);
  if (is_sorted(edges)) return;
  const std::vector<size_t> sorted = order(edges);
  if (sorted.size() < nodes.size()) fail_for_circle(nodes, edges, sorted, graph);
  std::vector<Node> result;
  result.reserve(nodes.size());
  for (const size_t i : sorted) result.push_back(std::move(nodes[i]));
  nodes = std::move(result);
}

}  // namespace onrush::onnx
