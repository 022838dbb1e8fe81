// Step 1 of layout: every value in the order of axes of its producer, permutations owed.
#include <algorithm>
#include <tuple>

#include "optimize/axis_blocks.h"
#include "optimize/layout_parts.h"

namespace onrush {
namespace {

struct Value {
  NodeId stored;
  Axes owed;  // the value is transpose(stored, owed); empty for a tuple
};

Axes free_axes(int rank, const Axes& batch, const Axes& contract) {
  Axes free;
  for (int axis = 0; axis < rank; ++axis)
    if (!contains(batch, axis) && !contains(contract, axis)) free.push_back(axis);
  return free;
}

// The permutation of a dot's left operand that gives the demanded one of its result, if that moves
// axes of this operand only. Empty otherwise.
Axes demanded_of_lhs(const Graph& graph, const Node& dot, const Axes& demanded) {
  const auto& a = dot.as<DotAttr>();
  if (!a.lhs_batch.empty() || demanded.empty()) return {};
  Axes permutation = identity(graph.rank(dot.inputs[0]));
  const Axes free = free_axes(graph.rank(dot.inputs[0]), {}, a.lhs_contract);
  for (size_t i = 0; i < demanded.size(); ++i) {
    const auto axis = static_cast<size_t>(demanded[i]);
    if (i >= free.size() ? axis != i : axis >= free.size()) return {};
    if (i < free.size()) permutation[free[i]] = free[axis];
  }
  return permutation;
}

// The permutations that users apply to each value, looking through what keeps the order of axes.
// Empty where none does.
std::vector<Axes> demanded_permutations(const Graph& graph) {
  std::vector<Axes> demanded(graph.nodes.size());
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    const Node& node = graph.nodes[i];
    if (node.op == Op::transpose) {
      demanded[node.inputs[0].index] = node.as<TransposeAttr>().permutation;
      continue;
    }
    if (node.op == Op::dot) {
      const Axes of_lhs = demanded_of_lhs(graph, node, demanded[i]);
      if (!of_lhs.empty()) demanded[node.inputs[0].index] = of_lhs;
    }
    const bool keeps_axes = is_elementwise(node.op) || node.op == Op::reduce ||
                            node.op == Op::window || node.op == Op::slice || node.op == Op::pad ||
                            node.op == Op::concat;
    if (!keeps_axes || demanded[i].empty()) continue;
    for (NodeId operand : node.inputs)
      if (graph.rank(operand) == graph.rank(NodeId{static_cast<uint32_t>(i)}))
        demanded[operand.index] = demanded[i];
  }
  return demanded;
}

class Sink {
 public:
  explicit Sink(const Graph& source)
      : source_(source),
        b_(source, pass_folder()),
        facts_(b_.graph()),
        demanded_(demanded_permutations(source)) {}

  Graph run() {
    for (uint32_t i = 0; i < source_.nodes.size(); ++i) {
      b_.set_origins(source_.nodes[i].origins);
      values_.push_back(visit(source_.nodes[i], demanded_[i]));
    }
    for (const GraphOutput& output : source_.outputs) b_.output(output.name, plain(output.node));
    return b_.finish();
  }

 private:
  Value visit(const Node& node, const Axes& demanded);
  Value pay_all(const Node& node);
  Value elementwise(const Node& node, const Axes& demanded);
  Value concat(const Node& node, const Axes& demanded);
  Value window(const Node& node);
  Value reshape(const Node& node, const Axes& demanded);
  Value pay_in_order(const Node& node, const std::vector<AxisBlock>& blocks, const Axes& demanded);
  Value gather(const Node& node);
  Value dot(const Node& node);

  const Value& value(NodeId source) const { return values_[source.index]; }
  NodeId provide(const Value& value, const Axes& owed);
  NodeId plain(NodeId source);
  Axes common_order(const std::vector<NodeId>& operands, const Axes& demanded);
  double cost(const Value& value, const Axes& owed);

  const Graph& source_;
  Builder b_;
  NodeFacts facts_;
  std::vector<Axes> demanded_;
  std::vector<Value> values_;
};

// --- paying

// The stored form that `value` has when it owes `owed`.
NodeId Sink::provide(const Value& value, const Axes& owed) {
  return cheap_transpose(b_, facts_, value.stored, then(value.owed, inverse(owed)));
}

NodeId Sink::plain(NodeId source) {
  const Value& v = value(source);
  return v.owed.empty() ? v.stored : provide(v, identity(b_.rank(v.stored)));
}

double Sink::cost(const Value& value, const Axes& owed) {
  return transpose_cost(b_, facts_, value.stored, then(value.owed, inverse(owed)));
}

// The permutation that all operands are to owe.
Axes Sink::common_order(const std::vector<NodeId>& operands, const Axes& demanded) {
  std::vector<Axes> choices = {identity(b_.rank(value(operands[0]).stored))};
  for (NodeId operand : operands)
    if (std::ranges::find(choices, value(operand).owed) == choices.end())
      choices.push_back(value(operand).owed);
  const auto price = [&](const Axes& owed) {
    double sum = 0;
    for (NodeId operand : operands) sum += cost(value(operand), owed);
    const bool undone = !demanded.empty() && is_identity(then(owed, demanded));
    return std::pair(sum, undone ? 0 : 1);
  };
  return *std::ranges::min_element(choices, {}, price);
}

Value Sink::pay_all(const Node& node) {
  std::vector<NodeId> operands;
  for (NodeId operand : node.inputs) operands.push_back(plain(operand));
  const NodeId id = b_.rebuild(node, std::move(operands));
  const bool tensor = std::holds_alternative<TensorType>(node.type);
  return {id, tensor ? identity(b_.rank(id)) : Axes{}};
}

// --- what works in any order of axes

Value Sink::visit(const Node& node, const Axes& demanded) {
  if (is_elementwise(node.op)) return elementwise(node, demanded);
  if (node.inputs.empty()) return pay_all(node);
  const Value x = value(node.inputs[0]);
  if (node.op == Op::transpose)
    return {x.stored, then(x.owed, node.as<TransposeAttr>().permutation)};
  if (node.op == Op::concat) return concat(node, demanded);
  if (node.op == Op::dot) return dot(node);
  if (x.owed.empty() || is_identity(x.owed)) return pay_all(node);
  switch (node.op) {
    case Op::reshape: return reshape(node, demanded);
    case Op::gather: return gather(node);
    case Op::window: return window(node);
    case Op::bitcast: return {b_.bitcast(x.stored, node.as<CastAttr>().dtype), x.owed};
    case Op::broadcast:
      return {b_.broadcast(x.stored, to_stored(node.as<BroadcastAttr>().shape, x.owed)), x.owed};
    case Op::slice: {
      const auto& a = node.as<SliceAttr>();
      return {b_.slice(x.stored, to_stored(a.start, x.owed), to_stored(a.step, x.owed),
                       to_stored(a.shape, x.owed)),
              x.owed};
    }
    case Op::pad: {
      const auto& a = node.as<PadAttr>();
      return {b_.pad(x.stored, plain(node.inputs[1]), to_stored(a.low, x.owed),
                     to_stored(a.high, x.owed)),
              x.owed};
    }
    case Op::reduce: {
      const auto& a = node.as<ReduceAttr>();
      return {b_.reduce(a.kind, x.stored, map_axes_sorted(a.axes, x.owed), a.last), x.owed};
    }
    case Op::scan: {
      ScanAttr a = node.as<ScanAttr>();
      a.axis = x.owed[a.axis];
      return {b_.scan(x.stored, a), x.owed};
    }
    default: return pay_all(node);
  }
}

Value Sink::elementwise(const Node& node, const Axes& demanded) {
  const Axes owed = common_order(node.inputs, demanded);
  std::vector<NodeId> operands;
  for (NodeId operand : node.inputs) operands.push_back(provide(value(operand), owed));
  return {b_.rebuild(node, std::move(operands)), owed};
}

Value Sink::concat(const Node& node, const Axes& demanded) {
  const Axes owed = common_order(node.inputs, demanded);
  std::vector<NodeId> parts;
  for (NodeId operand : node.inputs) parts.push_back(provide(value(operand), owed));
  return {b_.concat(parts, owed[node.as<ConcatAttr>().axis]), owed};
}

Value Sink::window(const Node& node) {
  const Value x = value(node.inputs[0]);
  WindowAttr a = node.as<WindowAttr>();
  if (a.kind == ReduceKind::argmax) {  // counts places in the order of axes
    int last = -1;
    for (size_t axis = 0; axis < a.size.size(); ++axis) {
      if (a.size[axis] == 1) continue;
      if (x.owed[axis] < last) return pay_all(node);
      last = x.owed[axis];
    }
  }
  for (auto* list : {&a.size, &a.stride, &a.dilation}) *list = to_stored(*list, x.owed);
  for (auto* list : {&a.low, &a.high}) *list = to_stored(*list, x.owed);
  return {b_.window(x.stored, std::move(a)), x.owed};
}

// --- reshape

// The blocks as `axes` (of that side of them) come to them: their indices, if the axes of each come
// in one piece and in order.
std::optional<std::vector<size_t>> block_order(const std::vector<AxisBlock>& blocks,
                                               Axes AxisBlock::*side, const Axes& axes) {
  std::vector<size_t> result;
  for (size_t next = 0; next < axes.size();) {
    const auto starts_here = [&](const AxisBlock& block) {
      return !(block.*side).empty() && (block.*side)[0] == axes[next];
    };
    const auto block = std::ranges::find_if(blocks, starts_here);
    if (block == blocks.end()) return std::nullopt;
    for (int axis : (*block).*side)
      if (next == axes.size() || axes[next++] != axis) return std::nullopt;
    result.push_back(static_cast<size_t>(block - blocks.begin()));
  }
  return result;
}

Axes without_unit_axes(Axes axes, const Dims& shape) {
  std::erase_if(axes, [&](int axis) { return is_one(shape[axis]); });
  return axes;
}

Value Sink::reshape(const Node& node, const Axes& demanded) {
  const Value x = value(node.inputs[0]);
  const Dims& from = source_.shape(node.inputs[0]);
  const Dims& to = node.as<ReshapeAttr>().shape;
  const auto blocks = axis_blocks(from, to);
  if (!blocks) return pay_all(node);
  const auto order =
      block_order(*blocks, &AxisBlock::from, without_unit_axes(inverse(x.owed), from));
  if (!order) return pay_in_order(node, *blocks, demanded);
  Axes axes;  // of the result, in stored order
  for (size_t block : *order)
    axes.insert(axes.end(), (*blocks)[block].to.begin(), (*blocks)[block].to.end());
  // An axis of extent 1 stays behind the one that it followed.
  for (int axis = 0; axis < static_cast<int>(to.size()); ++axis) {
    if (contains(axes, axis)) continue;
    const auto before = std::ranges::find(axes, axis - 1);
    axes.insert(before == axes.end() ? axes.begin() : before + 1, axis);
  }
  Dims shape;
  for (int axis : axes) shape.push_back(to[axis]);
  return {b_.reshape(x.stored, std::move(shape)), inverse(axes)};
}

// Pays for a reshape that mixes moved axes, so that the result is in the order that users demand.
Value Sink::pay_in_order(const Node& node, const std::vector<AxisBlock>& blocks,
                         const Axes& demanded) {
  const Value x = value(node.inputs[0]);
  const Dims& from = source_.shape(node.inputs[0]);
  const Dims& to = node.as<ReshapeAttr>().shape;
  const auto order = block_order(blocks, &AxisBlock::to, without_unit_axes(demanded, to));
  if (demanded.empty() || !order) return pay_all(node);
  Axes axes;  // of the operand
  for (size_t block : *order)
    axes.insert(axes.end(), blocks[block].from.begin(), blocks[block].from.end());
  for (int axis = 0; axis < static_cast<int>(from.size()); ++axis)
    if (!contains(axes, axis)) axes.push_back(axis);
  Dims shape;
  for (int axis : demanded) shape.push_back(to[axis]);
  const NodeId paid = cheap_transpose(b_, facts_, x.stored, then(x.owed, axes));
  return {b_.reshape(paid, std::move(shape)), inverse(demanded)};
}

// --- gather and dot, which address axes by number

Value Sink::gather(const Node& node) {
  const Value data = value(node.inputs[0]);
  const std::vector<int>& source = node.as<IndexAttr>().source;
  const Dims& shape = std::get<TensorType>(node.type).shape;
  // The result takes over the order of the data where each of its axes stems from one of them.
  bool aligned = source.size() == shape.size();
  for (size_t axis = 0; axis < source.size(); ++axis)
    aligned &= source[axis] < 0 || source[axis] == static_cast<int>(axis);
  const Axes owed = aligned ? data.owed : identity(static_cast<int>(shape.size()));
  std::vector<int> stored_source = to_stored(source, data.owed);
  for (int& coordinate : stored_source)
    if (coordinate >= 0) coordinate = owed[coordinate];
  std::vector<NodeId> indices;
  for (size_t i = 1; i < node.inputs.size(); ++i)
    indices.push_back(provide(value(node.inputs[i]), owed));
  return {b_.gather(data.stored, indices, std::move(stored_source), to_stored(shape, owed)), owed};
}

Value Sink::dot(const Node& node) {
  const Value lhs = value(node.inputs[0]), rhs = value(node.inputs[1]);
  DotAttr a = node.as<DotAttr>();
  // Places in the result of the free axes: theirs among the stored ones.
  Axes owed = identity(static_cast<int>(a.lhs_batch.size()));
  for (const auto& [v, batch, contract] :
       {std::tie(lhs, a.lhs_batch, a.lhs_contract), std::tie(rhs, a.rhs_batch, a.rhs_contract)}) {
    const Axes free = map_axes(free_axes(b_.rank(v.stored), batch, contract), v.owed);
    const int first = static_cast<int>(owed.size());
    for (int axis : free)
      owed.push_back(first + static_cast<int>(std::ranges::count_if(
                                 free, [&](int other) { return other < axis; })));
  }
  a.lhs_batch = map_axes(a.lhs_batch, lhs.owed);
  a.lhs_contract = map_axes(a.lhs_contract, lhs.owed);
  a.rhs_batch = map_axes(a.rhs_batch, rhs.owed);
  a.rhs_contract = map_axes(a.rhs_contract, rhs.owed);
  return {b_.dot(lhs.stored, rhs.stored, std::move(a)), owed};
}

}  // namespace

Graph sink_transposes(const Graph& graph) { return Sink(graph).run(); }

}  // namespace onrush
