// What is repeated is stored and computed once.
#include <algorithm>
#include <cstring>

#include "optimize/simplify_rules.h"
#include "reference/evaluate.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

// Whether all elements along `axis` are equal.
bool repeats_along(const Tensor& tensor, size_t axis) {
  const auto& shape = tensor.shape();
  const auto* bytes = static_cast<const char*>(tensor.data());
  size_t inner = static_cast<size_t>(bits(tensor.dtype())) / 8, outer = 1;
  for (size_t i = 0; i < axis; ++i) outer *= static_cast<size_t>(shape[i]);
  for (size_t i = axis + 1; i < shape.size(); ++i) inner *= static_cast<size_t>(shape[i]);
  const auto extent = static_cast<size_t>(shape[axis]);
  for (size_t i = 0; i < outer; ++i)
    for (size_t k = 1; k < extent; ++k)
      if (std::memcmp(bytes + (i * extent) * inner, bytes + (i * extent + k) * inner, inner) != 0)
        return false;
  return true;
}

Result stored_repetition(Rewriter& r, NodeId id) {
  const Tensor* tensor = r.b.constant_tensor(id);
  if (!tensor || !tensor->data() || tensor->dtype() == DType::string || tensor->count() <= 1 ||
      bits(tensor->dtype()) < 8 || tensor->bytes() > kMaxInspectedBytes)
    return std::nullopt;
  const Dims shape = r.b.shape(id);
  Dims narrow = shape;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (!is_one(shape[axis]) && repeats_along(*tensor, axis)) narrow[axis] = 1;
  if (always_equal(shape, narrow)) return std::nullopt;
  const Dims start(shape.size(), Dim(0));
  const std::vector<int64_t> step(shape.size(), 1);
  return r.b.broadcast(r.b.slice(id, start, step, narrow), shape);
}

// Constants and repeated constants give a constant, if it is small.
Result fold_repeated(Rewriter& r, NodeId id) {
  const Node& node = r.b.node(id);
  if (class_of(node.op) == OpClass::source || node.op == Op::broadcast || !r.facts.is_weight(id) ||
      !std::holds_alternative<TensorType>(node.type))
    return std::nullopt;
  const auto constant = [&](NodeId x) { return r.b.constant_tensor(before_broadcast(r.b, x)); };
  if (!std::ranges::all_of(node.inputs, constant)) return std::nullopt;
  Builder folding(constant_folder());
  std::vector<NodeId> operands;
  for (NodeId operand : node.inputs)
    operands.push_back(
        folding.broadcast(folding.constant(*constant(operand)), Dims(r.b.shape(operand))));
  const Tensor* folded = folding.constant_tensor(folding.rebuild(node, std::move(operands)));
  return folded ? Result(r.b.constant(*folded)) : std::nullopt;
}

// Whether ONNX's rule broadcasts `from` to `to` without a new guard.
bool broadcasts_to(const Dims& from, const Dims& to) {
  return std::equal(from.begin(), from.end(), to.begin(), to.end(),
                    [](Dim x, Dim y) { return is_one(x) || always_equal(x, y); });
}

// The shape without the axes along which all operands repeat.
Dims unrepeated_shape(Rewriter& r, NodeId id) {
  Dims narrow = r.b.shape(id);
  for (size_t axis = 0; axis < narrow.size(); ++axis) {
    const auto repeats = [&](NodeId operand) {
      return r.facts.splat(operand) || is_one(r.b.shape(before_broadcast(r.b, operand))[axis]);
    };
    if (std::ranges::all_of(r.b.node(id).inputs, repeats)) narrow[axis] = 1;
  }
  return narrow;
}

Result compute_before_broadcast(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!is_elementwise(b.node(id).op)) return std::nullopt;
  const Dims shape = b.shape(id), narrow = unrepeated_shape(r, id);
  if (always_equal(shape, narrow)) return std::nullopt;
  Node node = b.node(id);
  for (NodeId& operand : node.inputs) {
    const NodeId source = before_broadcast(b, operand);
    if (broadcasts_to(b.shape(source), narrow)) {
      operand = b.broadcast(source, narrow);
    } else {  // one number, stored with its repetitions
      const Dims start(shape.size(), Dim(0));
      operand = b.slice(operand, start, std::vector<int64_t>(shape.size(), 1), narrow);
    }
  }
  return b.broadcast(b.rebuild(node, node.inputs), shape);
}

constexpr Rule kRules[] = {
    {"stored_repetition", stored_repetition, true},
    {"fold_repeated", fold_repeated},
    {"compute_before_broadcast", compute_before_broadcast},
};

}  // namespace

std::span<const Rule> broadcast_rules() { return kRules; }

}  // namespace onrush
