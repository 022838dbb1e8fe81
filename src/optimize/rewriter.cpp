#include "optimize/rewriter.h"

#include <climits>
#include <tuple>
#include <unordered_map>

#include "base/check.h"

namespace onrush {
namespace {

constexpr int kMaxSweeps = 32;  // each removes something or brings it nearer to its form
constexpr int kMaxRewritesOfANode = 64;
constexpr int kMaxMatchDepth = 16;

// Gathers the origins of the nodes that `result` replaces: those on a path from `match` to a node
// that the new ones read. Nodes from `first_new` on are new.
class ReplacedOrigins {
 public:
  ReplacedOrigins(const Graph& graph, NodeId match, NodeId result, size_t first_new)
      : graph_(graph), first_new_(first_new), origins_(graph[match].origins) {
    collect_leaves(result);
    visit(match, 0);
  }
  const Origins& origins() const { return origins_; }

 private:
  void collect_leaves(NodeId id) {
    if (id.index < first_new_) {
      const Op op = graph_[id].op;  // constants are everywhere
      if (op != Op::constant && op != Op::dims) leaves_[id.index] = true;
      return;
    }
    if (!seen_new_.emplace(id.index, true).second) return;
    for (NodeId operand : graph_[id].inputs) collect_leaves(operand);
  }

  // Whether `id` is or leads to a leaf.
  bool visit(NodeId id, int depth) {
    if (leaves_.contains(id.index)) return true;
    if (depth == kMaxMatchDepth) return false;
    if (const auto known = reaches_.find(id.index); known != reaches_.end()) return known->second;
    bool reaches = false;
    for (NodeId operand : graph_[id].inputs) reaches |= visit(operand, depth + 1);
    if (reaches) merge(origins_, graph_[id].origins);
    return reaches_[id.index] = reaches;
  }

  const Graph& graph_;
  size_t first_new_;
  Origins origins_;
  std::unordered_map<uint32_t, bool> leaves_, seen_new_, reaches_;
};

// What the first rule that applies makes of a node.
std::optional<NodeId> apply_first(Rewriter& r, std::span<const Rule> rules, NodeId id) {
  const bool is_constant = r.is(id, Op::constant);
  for (const Rule& rule : rules) {
    if (is_constant && !rule.of_constants) continue;
    r.b.mark();
    const auto result = rule.apply(r, id);
    if (result && *result != id) return result;
  }
  return std::nullopt;
}

// Whether a rule applies to a node of the graph, which is as before when this returns.
bool applies(Graph& graph, std::span<const Rule> rules) {
  const size_t nodes = graph.nodes.size();
  const std::vector<int> uses = use_counts(graph);
  Rewriter r(Builder::continuing(std::move(graph), pass_folder()));
  bool found = false;
  for (uint32_t i = 0; i < nodes; ++i) r.count_uses({i}, uses[i]);
  for (uint32_t i = 0; i < nodes && !found; ++i) found = apply_first(r, rules, {i}).has_value();
  graph = r.b.give_back(nodes);
  return found;
}

// One walk over the graph.
class Sweep {
 public:
  Sweep(const Graph& source, std::span<const Rule> rules)
      : source_(source), rules_(rules), rewriter_(Builder(source, pass_folder())) {}

  Graph run() {
    const std::vector<int> uses = use_counts(source_);
    std::vector<NodeId> made;
    made.reserve(source_.nodes.size());
    for (uint32_t i = 0; i < source_.nodes.size(); ++i) {
      const Node& node = source_.nodes[i];
      std::vector<NodeId> operands;
      operands.reserve(node.inputs.size());
      for (NodeId operand : node.inputs) operands.push_back(made[operand.index]);
      rewriter_.b.set_origins(node.origins);
      made.push_back(rewrite_node(rewriter_.b.rebuild(node, std::move(operands))));
      rewriter_.count_uses(made.back(), uses[i]);
    }
    for (const GraphOutput& output : source_.outputs)
      rewriter_.b.output(output.name, made[output.node.index]);
    return rewriter_.b.finish();
  }

 private:
  NodeId rewrite_node(NodeId id) {
    for (int i = 0; i < kMaxRewritesOfANode; ++i) {
      Builder& b = rewriter_.b;
      const size_t first_new = b.graph().nodes.size();
      const auto next = apply_first(rewriter_, rules_, id);
      if (!next) return id;
      b.add_origins(ReplacedOrigins(b.graph(), id, *next, first_new).origins());
      id = *next;
    }
    return id;
  }

  const Graph& source_;
  std::span<const Rule> rules_;
  Rewriter rewriter_;
};

}  // namespace

Rewriter::Rewriter(Builder builder) : b(std::move(builder)), facts(b.graph()) {}

bool Rewriter::in_order(NodeId x, NodeId y) {
  const auto key = [&](NodeId operand) {
    return std::tuple(facts.splat(operand).has_value(), -static_cast<int>(facts.time(operand)),
                      facts.depth(operand), operand);
  };
  return !(key(y) < key(x));
}

NodeId Rewriter::commutative(Op op, NodeId x, NodeId y) {
  return in_order(x, y) ? b.binary(op, x, y) : b.binary(op, y, x);
}

bool Rewriter::used_once(NodeId id) const {
  return id.index < uses_.size() && uses_[id.index] == 1;
}

void Rewriter::count_uses(NodeId id, int uses) {
  if (uses_.size() <= id.index) uses_.resize(id.index + 1, INT_MAX / 2);
  if (uses_[id.index] == INT_MAX / 2) uses_[id.index] = 0;
  uses_[id.index] += uses;
}

Graph rewrite(Graph graph, std::span<const Rule> rules) {
  for (int i = 0; i < kMaxSweeps && applies(graph, rules); ++i) graph = Sweep(graph, rules).run();
  return graph;
}

}  // namespace onrush
