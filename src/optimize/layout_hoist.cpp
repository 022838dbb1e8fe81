// Step 2 of layout: remaining transposes up to where they move less.
#include <algorithm>

#include "optimize/layout_parts.h"
#include "optimize/rewriter.h"

namespace onrush {
namespace {

constexpr int kMaxDepth = 32;

// Batch axes, then the free axes of lhs, then those of rhs.
struct DotResult {
  int batch, lhs_free, rhs_free;
};
DotResult parts_of(const Builder& b, const Node& dot) {
  const auto& a = dot.as<DotAttr>();
  const int batch = static_cast<int>(a.lhs_batch.size());
  const int contract = static_cast<int>(a.lhs_contract.size());
  return {batch, b.rank(dot.inputs[0]) - batch - contract,
          b.rank(dot.inputs[1]) - batch - contract};
}

// Whether the permutation reorders batch axes among themselves, and leaves the free axes or
// exchanges the two operands' as wholes.
enum class DotOrder { other, kept, exchanged };
DotOrder order_of(const DotResult& parts, const Axes& permutation) {
  const auto batch_end = permutation.begin() + parts.batch;
  if (std::any_of(permutation.begin(), batch_end, [&](int axis) { return axis >= parts.batch; }))
    return DotOrder::other;
  if (std::is_sorted(batch_end, permutation.end())) return DotOrder::kept;
  Axes exchanged(batch_end, permutation.end());
  std::rotate(exchanged.begin(), exchanged.begin() + parts.rhs_free, exchanged.end());
  const bool ordered = std::ranges::is_sorted(exchanged) && exchanged.front() == parts.batch;
  return ordered ? DotOrder::exchanged : DotOrder::other;
}

NodeId permuted_dot(Builder& b, NodeId dot, const Axes& permutation, DotOrder order) {
  const NodeId lhs = b.node(dot).inputs[0], rhs = b.node(dot).inputs[1];
  DotAttr a = b.node(dot).as<DotAttr>();
  const Axes batch(permutation.begin(),
                   permutation.begin() + static_cast<std::ptrdiff_t>(a.lhs_batch.size()));
  a.lhs_batch = map_axes(batch, a.lhs_batch);
  a.rhs_batch = map_axes(batch, a.rhs_batch);
  if (order == DotOrder::kept) return b.dot(lhs, rhs, std::move(a));
  std::swap(a.lhs_batch, a.rhs_batch);
  std::swap(a.lhs_contract, a.rhs_contract);
  return b.dot(rhs, lhs, std::move(a));
}

class Hoist {
 public:
  explicit Hoist(Rewriter& r) : r_(r) {}

  // Elements that are moved to have `x` in another order. `alone`: nobody else needs it as it is.
  double cost(NodeId x, const Axes& permutation, bool alone, int depth = 0) {
    const double here = transpose_cost(r_.b, r_.facts, x, permutation);
    if (here == 0 || !alone || depth == kMaxDepth) return here;
    return std::min(here, cost_above(x, permutation, depth));
  }

  NodeId transposed(NodeId x, const Axes& permutation, bool alone, int depth = 0) {
    const double here = transpose_cost(r_.b, r_.facts, x, permutation);
    const bool above =
        here > 0 && alone && depth < kMaxDepth && cost_above(x, permutation, depth) < here;
    return above ? move_above(x, permutation, depth)
                 : cheap_transpose(r_.b, r_.facts, x, permutation);
  }

 private:
  bool passes(NodeId x) const {
    const Op op = r_.b.node(x).op;
    return is_elementwise(op) || op == Op::broadcast || op == Op::pad || op == Op::concat ||
           op == Op::slice;
  }

  double cost_above(NodeId x, const Axes& permutation, int depth) {
    if (r_.is(x, Op::dot)) {
      const bool free = order_of(parts_of(r_.b, r_.b.node(x)), permutation) != DotOrder::other;
      return free ? 0 : element_cost(r_.b.type(x));
    }
    if (!passes(x)) return element_cost(r_.b.type(x));
    double sum = 0;
    for (size_t i = 0; i < moved_operands(x); ++i) {
      const NodeId operand = r_.operand(x, static_cast<int>(i));
      sum += cost(operand, permutation, r_.used_once(operand), depth + 1);
    }
    return sum;
  }

  // The value of a pad is a scalar.
  size_t moved_operands(NodeId x) const {
    return r_.is(x, Op::pad) ? 1 : r_.b.node(x).inputs.size();
  }

  NodeId move_above(NodeId x, const Axes& permutation, int depth) {
    Builder& b = r_.b;
    if (r_.is(x, Op::dot))
      return permuted_dot(b, x, permutation, order_of(parts_of(b, b.node(x)), permutation));
    Node node = b.node(x);
    for (size_t i = 0; i < moved_operands(x); ++i)
      node.inputs[i] =
          transposed(node.inputs[i], permutation, r_.used_once(node.inputs[i]), depth + 1);
    const Axes stored = inverse(permutation);
    if (auto* a = std::get_if<BroadcastAttr>(&node.attr)) a->shape = to_stored(a->shape, stored);
    if (auto* a = std::get_if<ConcatAttr>(&node.attr)) a->axis = stored[a->axis];
    if (auto* a = std::get_if<PadAttr>(&node.attr)) {
      a->low = to_stored(a->low, stored);
      a->high = to_stored(a->high, stored);
    }
    if (auto* a = std::get_if<SliceAttr>(&node.attr)) {
      a->start = to_stored(a->start, stored);
      a->step = to_stored(a->step, stored);
      a->shape = to_stored(a->shape, stored);
    }
    return b.rebuild(node, node.inputs);
  }

  Rewriter& r_;
};

std::optional<NodeId> hoist(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::transpose)) return std::nullopt;
  const NodeId x = r.operand(id, 0);
  const Axes permutation = r.b.node(id).as<TransposeAttr>().permutation;
  return Hoist(r).transposed(x, permutation, r.used_once(x));
}

constexpr Rule kRules[] = {{"hoist", hoist}};

}  // namespace

Graph hoist_transposes(const Graph& graph) { return rewrite(graph, kRules); }

}  // namespace onrush
