#include "optimize/simplify.h"

#include <cmath>

#include "optimize/simplify_rules.h"

namespace onrush {

std::optional<WithNumber> with_number(Rewriter& r, NodeId id, Op op) {
  if (!r.is(id, op)) return std::nullopt;
  const NodeId x = r.operand(id, 0);
  const auto value = r.facts.splat(r.operand(id, 1));
  return value ? std::optional(WithNumber{x, *value}) : std::nullopt;
}

bool nearly(double a, double b, DType dtype) {
  const double tolerance = bits(dtype) >= 32 ? 2e-6 : dtype == DType::f16 ? 1e-3 : 8e-3;
  return std::abs(a - b) <= tolerance * std::abs(b);
}

NodeId before_broadcast(const Builder& b, NodeId id) {
  return b.node(id).op == Op::broadcast ? b.node(id).inputs[0] : id;
}

Graph simplify(Graph graph, const OptimizeOptions&) {
  static const std::vector<Rule> rules = [] {
    std::vector<Rule> all;
    for (const auto family :
         {arithmetic_rules(), broadcast_rules(), power_rules(), activation_rules(),
          movement_rules(), slice_rules(), gather_rules(), reduction_rules()})
      all.insert(all.end(), family.begin(), family.end());
    return all;
  }();
  return rewrite(std::move(graph), rules);
}

}  // namespace onrush
