#include "reference/evaluate.h"

#include "base/check.h"
#include "reference/calls.h"
#include "reference/element.h"
#include "reference/kernels.h"

namespace onrush {
namespace reference {

Shape shape_of(const Dims& dims, const SizeFunction& size) {
  Shape shape;
  for (const Dim& dim : dims) shape.push_back(size(dim));
  return shape;
}

Tensor result_of(const Node& node, const SizeFunction& size) {
  const TensorType& type = std::get<TensorType>(node.type);
  return allocate(type.dtype, shape_of(type.shape, size));
}

namespace {

std::vector<Tensor> dispatch(const Node& node, Operands operands, const SizeFunction& size) {
  if (is_elementwise(node.op)) return {evaluate_elementwise(node, operands)};
  if (is_movement(node.op)) return {evaluate_movement(node, operands, size)};
  switch (node.op) {
    case Op::constant:
    case Op::dims:
    case Op::iota:
    case Op::random_bits: return {evaluate_source(node, size)};
    case Op::bitcast: return {evaluate_elementwise(node, operands)};
    case Op::reduce: return {evaluate_reduce(node, operands[0], size)};
    case Op::window: return {evaluate_window(node, operands[0], size)};
    case Op::scan: return {evaluate_scan(node, operands[0])};
    case Op::sort: return evaluate_sort(node, operands[0], size);
    case Op::gather: return {evaluate_gather(node, operands, size)};
    case Op::scatter: return {evaluate_scatter(node, operands)};
    case Op::dot: return {evaluate_dot(node, operands, size)};
    case Op::conv: return {evaluate_conv(node, operands, size)};
    case Op::loop: return evaluate_loop(node, operands, size);
    case Op::call: return run_call(node.as<CallAttr>(), operands);
    case Op::get: return {operands[static_cast<size_t>(node.as<GetAttr>().index)]};
    default: internal_error(fmt::format("{} cannot be evaluated", name(node.op)));
  }
}

bool has_type(const Tensor& tensor, const TensorType& type, const SizeFunction& size) {
  if (tensor.dtype() != type.dtype || tensor.rank() != type.rank()) return false;
  for (size_t axis = 0; axis < type.shape.size(); ++axis)
    if (!type.shape[axis].is_unknown() && tensor.shape()[axis] != size(type.shape[axis]))
      return false;
  return true;
}

void check_results(const Node& node, Operands results, const SizeFunction& size) {
  const auto* tensor = std::get_if<TensorType>(&node.type);
  const std::span<const TensorType> types =
      tensor ? std::span(tensor, 1) : std::span(std::get<TupleType>(node.type).parts);
  internal_check(results.size() == types.size(), "a tensor for every part of the type");
  for (size_t i = 0; i < types.size(); ++i)
    if (!has_type(results[i], types[i], size))
      internal_error(fmt::format("{} gives {}{}, but its type is {}", name(node.op),
                                 name(results[i].dtype()), to_string(results[i].shape()),
                                 to_string(types[i])));
}

void check_inputs(const Graph& graph, Operands inputs, const SizeFunction& size) {
  if (inputs.size() != graph.inputs.size())
    fail(ErrorCode::invalid_argument, "the graph has {} inputs, not {}", graph.inputs.size(),
         inputs.size());
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!has_type(inputs[i], graph.inputs[i].type, size))
      fail(ErrorCode::invalid_argument, "input '{}' is {}{}, but its type is {}",
           graph.inputs[i].name, name(inputs[i].dtype()), to_string(inputs[i].shape()),
           to_string(graph.inputs[i].type));
}

// For every node the last node that reads it; graph outputs are never released.
std::vector<uint32_t> last_uses(const Graph& graph) {
  std::vector<uint32_t> last(graph.nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i)
    for (NodeId operand : graph.nodes[i].inputs) last[operand.index] = i;
  for (const GraphOutput& output : graph.outputs) last[output.node.index] = UINT32_MAX;
  return last;
}

}  // namespace

std::vector<Tensor> run_graph(const Graph& graph, Operands inputs, const SizeFunction& size) {
  check_inputs(graph, inputs, size);
  const std::vector<uint32_t> last = last_uses(graph);
  std::vector<std::vector<Tensor>> values(graph.nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (node.op == Op::input) {
      values[i] = {inputs[static_cast<size_t>(node.as<InputAttr>().index)]};
      continue;
    }
    std::vector<Tensor> operands;
    for (NodeId operand : node.inputs)
      operands.insert(operands.end(), values[operand.index].begin(), values[operand.index].end());
    values[i] = evaluate_node(node, operands, size);
    for (NodeId operand : node.inputs)
      if (last[operand.index] == i) values[operand.index].clear();
  }
  std::vector<Tensor> outputs;
  for (const GraphOutput& output : graph.outputs)
    outputs.push_back(values[output.node.index].at(0));
  return outputs;
}

}  // namespace reference

std::vector<Tensor> evaluate_node(const Node& node, std::span<const Tensor> operands,
                                  const SizeFunction& size) {
  std::vector<Tensor> results = reference::dispatch(node, operands, size);
  reference::check_results(node, results, size);
  return results;
}

std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs,
                             const SizeTable& sizes) {
  return reference::run_graph(graph, inputs, std::cref(sizes));
}

std::vector<Tensor> evaluate(const Graph& graph, std::span<const Tensor> inputs) {
  return reference::run_graph(graph, inputs, [](Dim dim) {
    internal_check(!dim.is_unknown(), "a size not known yet is read");
    return dim.value();
  });
}

}  // namespace onrush
