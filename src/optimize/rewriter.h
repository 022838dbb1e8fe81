// Rewriting by local rules: the graph is rebuilt node by node in topological order, every rule is
// tried on each new node, and this is repeated until no rule applies. Looking whether one does
// needs no new graph: most passes change nothing.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "ir/builder.h"
#include "optimize/facts.h"

namespace onrush {

// What a rule sees.
class Rewriter {
 public:
  explicit Rewriter(Builder builder);

  Builder b;
  NodeFacts facts;

  bool is(NodeId id, Op op) const { return b.node(id).op == op; }
  NodeId operand(NodeId id, int i) const { return b.node(id).inputs[i]; }
  // Whether x comes before y in the canonical order of a commutative primitive's operands: one
  // repeated number last, then run before bind before prepare, then the one with the shorter way
  // from the sources, then the one made first.
  bool in_order(NodeId x, NodeId y);
  // With its operands in that order.
  NodeId commutative(Op op, NodeId x, NodeId y);
  NodeId add(NodeId x, NodeId y) { return commutative(Op::add, x, y); }
  NodeId mul(NodeId x, NodeId y) { return commutative(Op::mul, x, y); }
  // One user at most. Nodes that a rule has just made count as used often until the next sweep.
  bool used_once(NodeId id) const;
  void count_uses(NodeId id, int uses);

 private:
  std::vector<int> uses_;
};

// A node that computes the same, or nothing where the rule does not apply: it makes no node then,
// save ones that are equal to existing nodes or dropped.
struct Rule {
  std::string_view name;
  std::optional<NodeId> (*apply)(Rewriter& r, NodeId id);
  bool of_constants = false;  // Only such are tried on constants: half of a graph's nodes are.
};

// Nodes that a rule makes carry the origins of all nodes they replace.
Graph rewrite(Graph graph, std::span<const Rule> rules);

}  // namespace onrush
