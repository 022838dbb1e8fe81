#include "optimize/facts.h"

#include <algorithm>
#include <cmath>

#include "base/numeric.h"
#include "reference/evaluate.h"

namespace onrush {
namespace {

bool is_number(DType dtype) {
  return is_float(dtype) || is_integer(dtype) || dtype == DType::boolean;
}

std::optional<double> common_element(const Tensor& tensor) {
  if (!is_number(tensor.dtype()) || tensor.count() == 0 || !tensor.data()) return std::nullopt;
  if (tensor.bytes() > kMaxInspectedBytes) return std::nullopt;
  const double first = load_f64(tensor.dtype(), tensor.data(), 0);
  for (int64_t i = 1; i < tensor.count(); ++i)
    if (load_f64(tensor.dtype(), tensor.data(), i) != first) return std::nullopt;
  return std::isnan(first) ? std::nullopt : std::optional(first);
}

}  // namespace

Time NodeFacts::find_time(const Node& node) const {
  Time operands = Time::prepare;
  for (NodeId operand : node.inputs) operands = std::max(operands, known_[operand.index].time);
  return time_of(node, operands);
}

std::optional<double> NodeFacts::find_splat(const Node& node) const {
  switch (node.op) {
    case Op::constant: return common_element(node.as<ConstantAttr>().tensor);
    case Op::reshape:
    case Op::transpose:
    case Op::broadcast:
    case Op::slice: return known_[node.inputs[0].index].splat;
    default: return std::nullopt;
  }
}

int NodeFacts::find_depth(const Node& node) const {
  int depth = 0;
  for (NodeId operand : node.inputs) depth = std::max(depth, known_[operand.index].depth + 1);
  return depth;
}

const NodeFacts::Facts& NodeFacts::facts(NodeId id) {
  while (known_.size() <= id.index) {
    const Node& node = graph_.nodes[known_.size()];
    known_.push_back({find_time(node), find_splat(node), find_depth(node)});
  }
  return known_[id.index];
}

Time NodeFacts::time(NodeId id) { return facts(id).time; }
std::optional<double> NodeFacts::splat(NodeId id) { return facts(id).splat; }

Folder pass_folder() {
  return [fold = constant_folder()](const Graph& graph, const Node& node) {
    return node.op == Op::broadcast ? std::nullopt : fold(graph, node);
  };
}

double element_cost(const TensorType& type) {
  double count = 1;
  for (Dim dim : type.shape)
    if (!dim.is_unknown()) count *= static_cast<double>(dim.value());
  return count;
}

bool contains(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

}  // namespace onrush
