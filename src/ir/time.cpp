#include "ir/time.h"

#include <algorithm>

namespace onrush {
namespace {

bool all_constant(const Dims& dims) {
  return std::ranges::all_of(dims, [](Dim dim) { return dim.is_constant(); });
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
        if constexpr (requires { a.limit; }) constant &= a.limit.is_constant();
        return constant;
      },
      attr);
}

bool has_constant_sizes(const Node& node) {
  const auto* type = std::get_if<TensorType>(&node.type);
  return (!type || all_constant(type->shape)) && has_constant_sizes(node.attr);
}

}  // namespace

Time time_of(const Node& node, Time operands) {
  switch (node.op) {
    case Op::input:
    case Op::random_bits:
    case Op::loop: return Time::run;  // its body may read anything
    case Op::call:
      if (node.inputs.empty()) return Time::run;
      break;
    default: break;
  }
  const bool sizes = node.op == Op::dims || !has_constant_sizes(node);
  return std::max(operands, sizes ? Time::bind : Time::prepare);
}

std::vector<Time> times_of(const Graph& graph) {
  std::vector<Time> times;
  for (const Node& node : graph.nodes) {
    Time operands = Time::prepare;
    for (NodeId operand : node.inputs) operands = std::max(operands, times[operand.index]);
    times.push_back(time_of(node, operands));
  }
  return times;
}

}  // namespace onrush
