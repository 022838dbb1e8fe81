#include "optimize/layout.h"

#include "optimize/layout_parts.h"

namespace onrush {

bool moves_nothing(const Dims& shape, const Axes& permutation) {
  int last = -1;
  for (int axis : permutation) {
    if (is_one(shape[axis])) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

double transpose_cost(const Builder& b, NodeFacts& facts, NodeId x, const Axes& permutation) {
  if (facts.is_weight(x) || facts.splat(x) || moves_nothing(b.shape(x), permutation)) return 0;
  const Node& node = b.node(x);
  switch (node.op) {
    case Op::iota:
    case Op::dims: return 0;
    case Op::broadcast: return transpose_cost(b, facts, node.inputs[0], permutation);
    case Op::transpose:
      return moves_nothing(b.shape(node.inputs[0]),
                           then(node.as<TransposeAttr>().permutation, permutation))
                 ? 0
                 : element_cost(b.type(x));
    default: return element_cost(b.type(x));
  }
}

NodeId cheap_transpose(Builder& b, NodeFacts& facts, NodeId x, const Axes& permutation) {
  if (is_identity(permutation)) return x;
  Dims shape;
  for (int axis : permutation) shape.push_back(b.shape(x)[axis]);
  if (moves_nothing(b.shape(x), permutation)) return b.reshape(x, std::move(shape));
  if (b.node(x).op == Op::iota) {
    const int axis = inverse(permutation)[b.node(x).as<IotaAttr>().axis];
    return b.iota(b.dtype(x), std::move(shape), axis);
  }
  if (b.node(x).op == Op::broadcast) {
    const NodeId source = b.node(x).inputs[0];
    return b.broadcast(cheap_transpose(b, facts, source, permutation), std::move(shape));
  }
  return b.transpose(x, permutation);
}

Graph layout(Graph graph, const OptimizeOptions&) {
  return hoist_transposes(sink_transposes(std::move(graph)));
}

}  // namespace onrush
