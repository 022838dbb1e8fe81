#include <algorithm>

#include "base/check.h"
#include "reference/evaluate.h"

namespace onrush {
namespace {

constexpr size_t kResultBytes = 64 << 10;
constexpr size_t kOperandBytes = 1 << 20;

bool all_constant(const Dims& dims) {
  return std::ranges::all_of(dims, [](const Dim& dim) { return dim.is_constant(); });
}

// Whether no size in the attribute depends on the inputs.
bool has_constant_sizes(const Attr& attr) {
  return std::visit(
      [](const auto& a) {
        bool constant = true;
        if constexpr (requires { a.shape; }) constant &= all_constant(a.shape);
        if constexpr (requires { a.start; }) constant &= all_constant(a.start);
        if constexpr (requires { a.low; }) constant &= all_constant(a.low);
        if constexpr (requires { a.high; }) constant &= all_constant(a.high);
        return constant;
      },
      attr);
}

bool is_small(const Node& node) {
  const auto* type = std::get_if<TensorType>(&node.type);
  if (!type || type->dtype == DType::undefined || !all_constant(type->shape)) return false;
  double elements = 1;  // may exceed any integer
  for (const Dim& dim : type->shape) elements *= static_cast<double>(dim.value());
  return elements * bits(type->dtype) / 8 <= kResultBytes;
}

std::optional<std::vector<Tensor>> constant_operands(const Graph& graph, const Node& node) {
  std::vector<Tensor> operands;
  size_t bytes = 0;
  for (NodeId id : node.inputs) {
    if (graph[id].op != Op::constant) return std::nullopt;
    operands.push_back(graph[id].as<ConstantAttr>().tensor);
    bytes += operands.back().bytes();
  }
  if (operands.empty() || bytes > kOperandBytes) return std::nullopt;
  return operands;
}

// A quantised weight: products of integers read it as it is.
bool is_widened_weight(const Graph& graph, const Node& node) {
  if (node.op != Op::cast || !is_float(std::get<TensorType>(node.type).dtype)) return false;
  const TensorType& from = graph.type(node.inputs[0]);
  return is_integer(from.dtype) && bits(from.dtype) <= 8 && from.rank() > 1;
}

std::optional<Tensor> fold(const Graph& graph, const Node& node) {
  if (is_widened_weight(graph, node)) return std::nullopt;
  if (!is_small(node) || !has_constant_sizes(node.attr)) return std::nullopt;
  const auto operands = constant_operands(graph, node);
  if (!operands) return std::nullopt;
  try {
    return evaluate_node(node, *operands, [](Dim dim) { return dim.value(); })[0];
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) throw;
    return std::nullopt;
  }
}

}  // namespace

Folder constant_folder() { return fold; }

}  // namespace onrush
