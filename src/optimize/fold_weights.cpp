#include "optimize/fold_weights.h"

#include <algorithm>

#include "optimize/axis_blocks.h"
#include "optimize/permutation.h"
#include "optimize/rewriter.h"
#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

constexpr int kMaxDepth = 12;

bool is_scalar(const Dims& shape) { return std::ranges::all_of(shape, is_one); }

Dims ones(int rank) { return Dims(static_cast<size_t>(rank), Dim(1)); }

// Multiplies a value at the place where it comes from.
class Scaling {
 public:
  explicit Scaling(Rewriter& r) : r_(r), b_(r.b) {}

  // y * factor without work in the run. The factor is a weight of y's rank, with extent 1 along the
  // axes that it repeats along.
  Result scaled(NodeId y, NodeId factor, int depth = 0) {
    if (r_.is(y, Op::broadcast) && r_.facts.is_weight(r_.operand(y, 0)))
      return b_.broadcast(b_.mul(r_.operand(y, 0), factor), Dims(b_.shape(y)));
    if (r_.facts.is_weight(y)) return b_.mul(y, factor);
    if (!r_.used_once(y) || depth == kMaxDepth) return std::nullopt;
    switch (b_.node(y).op) {
      case Op::conv: return scaled_conv(y, factor);
      case Op::dot: return scaled_dot(y, factor, depth);
      case Op::add:
      case Op::sub: return scaled_sum(y, factor, depth);
      case Op::mul:
      case Op::div: return scaled_product(y, factor, depth);
      default: return scaled_movement(y, factor, depth);
    }
  }

  // The weight times a factor along `axis` of it. Nullopt unless it is a weight of ours alone.
  Result scaled_weight(NodeId w, int axis, NodeId factor) {
    if (!r_.facts.is_weight(w) || !r_.used_once(w)) return std::nullopt;
    Dims shape = ones(b_.rank(w));
    if (!is_scalar(b_.shape(factor))) shape[axis] = b_.shape(w)[axis];
    return b_.mul(w, b_.reshape(factor, std::move(shape)));
  }

 private:
  // The only axis along which the factor does not repeat; -1 for a number, nullopt for several.
  std::optional<int> axis_of(NodeId factor) const {
    std::optional<int> found = -1;
    for (int axis = 0; axis < b_.rank(factor); ++axis) {
      if (is_one(b_.shape(factor)[axis])) continue;
      if (found != -1) return std::nullopt;
      found = axis;
    }
    return found;
  }

  Result scaled_conv(NodeId y, NodeId factor) {
    const auto axis = axis_of(factor);
    const NodeId x = r_.operand(y, 0), w = r_.operand(y, 1);
    if (!axis || (*axis != -1 && *axis != b_.rank(y) - 1) || b_.dtype(w) != b_.dtype(y))
      return std::nullopt;
    const auto scaled = scaled_weight(w, 0, factor);
    if (!scaled) return std::nullopt;
    return b_.conv(x, *scaled, ConvAttr(b_.node(y).as<ConvAttr>()));
  }

  Result scaled_dot(NodeId y, NodeId factor, int depth) {
    const auto axis = axis_of(factor);
    const NodeId lhs = r_.operand(y, 0), rhs = r_.operand(y, 1);
    if (!axis || b_.dtype(lhs) != b_.dtype(y) || b_.dtype(rhs) != b_.dtype(y)) return std::nullopt;
    const DotAttr a = b_.node(y).as<DotAttr>();
    const int batch = static_cast<int>(a.lhs_batch.size());
    const Axes lhs_axes = result_axes(b_.rank(lhs), a.lhs_batch, a.lhs_contract);
    const Axes rhs_axes = result_axes(b_.rank(rhs), a.rhs_batch, a.rhs_contract);
    const int rhs_first = static_cast<int>(lhs_axes.size());
    const bool any = *axis < batch;  // -1, or of both operands
    if (any || *axis >= rhs_first) {
      const int place = *axis < 0 ? 0 : rhs_axes[any ? *axis : *axis - rhs_first + batch];
      if (const auto w = scaled_weight(rhs, place, factor)) return b_.dot(lhs, *w, a);
    }
    if (any || *axis < rhs_first) {
      const int place = *axis < 0 ? 0 : lhs_axes[*axis];
      if (const auto w = scaled_weight(lhs, place, factor)) return b_.dot(*w, rhs, a);
    }
    if (*axis != -1) return std::nullopt;
    if (const auto x = scaled(lhs, b_.reshape(factor, ones(b_.rank(lhs))), depth + 1))
      return b_.dot(*x, rhs, a);
    if (const auto x = scaled(rhs, b_.reshape(factor, ones(b_.rank(rhs))), depth + 1))
      return b_.dot(lhs, *x, a);
    return std::nullopt;
  }

  // An operand's batch and free axes, in the order of the result's.
  static Axes result_axes(int rank, const Axes& batch, const Axes& contract) {
    Axes axes = batch;
    for (int axis = 0; axis < rank; ++axis)
      if (!contains(batch, axis) && !contains(contract, axis)) axes.push_back(axis);
    return axes;
  }

  Result scaled_sum(NodeId y, NodeId factor, int depth) {
    const Op op = b_.node(y).op;
    const NodeId first = r_.operand(y, 0), second = r_.operand(y, 1);
    const auto a = scaled(first, factor, depth + 1);
    const auto b = a ? scaled(second, factor, depth + 1) : std::nullopt;
    return b ? Result(b_.binary(op, *a, *b)) : std::nullopt;
  }

  Result scaled_product(NodeId y, NodeId factor, int depth) {
    const Op op = b_.node(y).op;
    const NodeId first = r_.operand(y, 0), second = r_.operand(y, 1);
    if (const auto a = scaled(first, factor, depth + 1)) return b_.binary(op, *a, second);
    if (op == Op::div) return std::nullopt;
    const auto b = scaled(second, factor, depth + 1);
    return b ? Result(b_.mul(first, *b)) : std::nullopt;
  }

  Result scaled_movement(NodeId y, NodeId factor, int depth) {
    const Op op = b_.node(y).op;
    Node node = b_.node(y);
    if (op == Op::neg) {
      // as it is
    } else if (op == Op::transpose) {
      factor = b_.transpose(factor, inverse(node.as<TransposeAttr>().permutation));
    } else if (op == Op::reshape) {
      const Dims& from = b_.shape(node.inputs[0]);
      auto narrow = narrow_reshape(b_.shape(y), from, b_.shape(factor));
      if (is_scalar(b_.shape(factor))) narrow = ones(static_cast<int>(from.size()));
      if (!narrow) return std::nullopt;
      factor = b_.reshape(factor, std::move(*narrow));
    } else if ((op != Op::slice && op != Op::concat) || !is_scalar(b_.shape(factor))) {
      return std::nullopt;
    }
    for (NodeId& operand : node.inputs) {
      const auto moved = scaled(operand, factor, depth + 1);
      if (!moved) return std::nullopt;
      operand = *moved;
    }
    return b_.rebuild(node, node.inputs);
  }

  Rewriter& r_;
  Builder& b_;
};

// The weight that is repeated to the node's shape.
Result repeated_weight(Rewriter& r, NodeId id) {
  const NodeId weight = before_broadcast(r.b, id);
  return r.facts.is_weight(weight) ? Result(weight) : std::nullopt;
}

// --- rules

Result fold_output_scale(Rewriter& r, NodeId id) {
  const Op op = r.b.node(id).op;
  if ((op != Op::mul && op != Op::div) || !is_float(r.b.dtype(id))) return std::nullopt;
  const NodeId y = r.operand(id, 0);
  auto factor = repeated_weight(r, r.operand(id, 1));
  if (!factor || r.facts.is_weight(y)) return std::nullopt;
  if (op == Op::div) factor = r.b.div(r.b.like(*factor, 1), *factor);
  return Scaling(r).scaled(y, *factor);
}

// A number that multiplies a product of two values of the run: into what one of them is made from.
Result fold_number_into_operand(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  const Op op = b.node(id).op;
  if ((op != Op::mul && op != Op::div) || !is_float(b.dtype(id))) return std::nullopt;
  const auto c = with_number(r, id, op);
  if (!c || !r.is(c->x, Op::dot) || !r.used_once(c->x)) return std::nullopt;
  for (const int side : {0, 1}) {
    NodeId operands[] = {r.operand(c->x, 0), r.operand(c->x, 1)};
    NodeId& operand = operands[side];
    if (b.dtype(operand) != b.dtype(id) || r.facts.is_weight(operand)) continue;
    const double value = op == Op::mul ? c->value : 1 / c->value;
    const NodeId factor = b.reshape(b.like(operand, value), ones(b.rank(operand)));
    const auto scaled = Scaling(r).scaled(operand, factor);
    if (!scaled) continue;
    operand = *scaled;
    return b.dot(operands[0], operands[1], DotAttr(b.node(c->x).as<DotAttr>()));
  }
  return std::nullopt;
}

Result fold_input_scale(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  const bool is_conv = r.is(id, Op::conv);
  if (!is_conv && !r.is(id, Op::dot)) return std::nullopt;
  const NodeId scaled = r.operand(id, 0), w = r.operand(id, 1);
  if (!r.is(scaled, Op::mul) || !r.used_once(scaled) || !is_float(b.dtype(id)) ||
      b.dtype(scaled) != b.dtype(w))
    return std::nullopt;
  const auto factor = repeated_weight(r, r.operand(scaled, 1));
  if (!factor) return std::nullopt;
  const NodeId x = r.operand(scaled, 0);
  const bool number = is_scalar(b.shape(*factor));
  int x_axis = b.rank(x) - 1, w_axis = b.rank(w) - 1;
  if (!is_conv) {
    const auto& a = b.node(id).as<DotAttr>();
    if (a.lhs_contract.size() != 1) return std::nullopt;
    x_axis = a.lhs_contract[0];
    w_axis = a.rhs_contract[0];
  } else if (b.node(id).as<ConvAttr>().groups != 1 && !number) {
    return std::nullopt;
  }
  for (int axis = 0; axis < b.rank(x); ++axis)
    if (axis != x_axis && !is_one(b.shape(*factor)[axis])) return std::nullopt;
  const auto weight = Scaling(r).scaled_weight(w, w_axis, *factor);
  if (!weight) return std::nullopt;
  if (is_conv) return b.conv(x, *weight, ConvAttr(b.node(id).as<ConvAttr>()));
  return b.dot(x, *weight, DotAttr(b.node(id).as<DotAttr>()));
}

Result merge_biases(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::add) || !r.is(r.operand(id, 0), Op::add) || !is_float(r.b.dtype(id)))
    return std::nullopt;
  const NodeId inner = r.operand(id, 0);
  const auto second = repeated_weight(r, r.operand(id, 1));
  const auto first = second ? repeated_weight(r, r.operand(inner, 1)) : std::nullopt;
  if (!first || r.facts.is_weight(r.operand(inner, 0))) return std::nullopt;
  return r.b.add(r.operand(inner, 0), r.b.add(*first, *second));
}

Result subtracted_bias(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::sub) || !is_float(r.b.dtype(id))) return std::nullopt;
  const auto bias = repeated_weight(r, r.operand(id, 1));
  if (!bias || r.facts.is_weight(r.operand(id, 0))) return std::nullopt;
  const NodeId negated = r.b.neg(*bias);
  return r.b.add(r.operand(id, 0), negated);
}

constexpr Rule kRules[] = {
    {"fold_output_scale", fold_output_scale},
    {"subtracted_bias", subtracted_bias},
    {"merge_biases", merge_biases},
    {"fold_input_scale", fold_input_scale},
    {"fold_number_into_operand", fold_number_into_operand},
};

}  // namespace

Graph fold_weights(Graph graph, const OptimizeOptions&) {
  return rewrite(std::move(graph), kRules);
}

}  // namespace onrush
