#include "ir/fold_floats.h"

#include <algorithm>
#include <cmath>

#include "base/numeric.h"
#include "ir/fold_elements.h"

namespace onrush {
namespace {

constexpr int kMaxDepth = 12;  // nodes between the casts

// A number, or what the steps make of a dim.
struct FloatElement {
  double number = 0;
  Dim dim;
  std::vector<FloatStep> steps;
  bool is_number = true;
};
using FloatElements = std::vector<FloatElement>;

class FloatFolder {
 public:
  FloatFolder(const Graph& graph, DType dtype, const IntegerElements& integers)
      : graph_(graph), dtype_(dtype), integers_(integers) {}

  std::optional<FloatElements> elements(NodeId id, int depth = 0) const {
    const Node& node = graph_[id];
    if (depth > kMaxDepth || !small(id) || graph_.dtype(id) != dtype_) return std::nullopt;
    switch (class_of(node.op)) {
      case OpClass::source: return constant(node);
      case OpClass::cast: return from_integers(node);
      case OpClass::unary: return rounded(node, depth);
      case OpClass::binary: return with_number(node, depth);
      case OpClass::movement:
      case OpClass::indexed: return moved(id, depth);
      default: return std::nullopt;
    }
  }

 private:
  bool small(NodeId id) const {
    int64_t count = 1;
    for (Dim dim : graph_.shape(id)) {
      if (!dim.is_constant() || dim.value() > kMaxFoldedElements) return false;
      count *= dim.value();
    }
    return count <= kMaxFoldedElements;
  }
  Shape shape(NodeId id) const {
    Shape shape;
    for (Dim dim : graph_.shape(id)) shape.push_back(dim.value());
    return shape;
  }

  std::optional<FloatElements> constant(const Node& node) const {
    if (node.op != Op::constant) return std::nullopt;
    const Tensor& tensor = node.as<ConstantAttr>().tensor;
    FloatElements result;
    for (int64_t i = 0; i < tensor.count(); ++i)
      result.push_back({.number = load_f64(dtype_, tensor.data(), i)});
    return result;
  }

  std::optional<FloatElements> from_integers(const Node& node) const {
    if (node.op != Op::cast || !is_integer(graph_.dtype(node.inputs[0]))) return std::nullopt;
    const auto dims = integers_(node.inputs[0]);
    if (!dims) return std::nullopt;
    FloatElements result;
    for (Dim dim : *dims) result.push_back({.dim = dim, .is_number = false});
    return result;
  }

  static std::optional<FloatElement> with_step(FloatElement x, FloatStep step) {
    if (x.is_number) return std::nullopt;  // numbers are folded as tensors
    x.steps.push_back(step);
    return x;
  }

  std::optional<FloatElements> rounded(const Node& node, int depth) const {
    FloatStep step{};
    switch (node.op) {
      case Op::floor: step.kind = FloatStep::Kind::floor; break;
      case Op::ceil: step.kind = FloatStep::Kind::ceil; break;
      case Op::round: step.kind = FloatStep::Kind::round; break;
      case Op::trunc: step.kind = FloatStep::Kind::truncate; break;
      default: return std::nullopt;
    }
    auto result = elements(node.inputs[0], depth + 1);
    if (!result) return std::nullopt;
    for (FloatElement& x : *result) {
      auto next = with_step(std::move(x), step);
      if (!next) return std::nullopt;
      x = std::move(*next);
    }
    return result;
  }

  // A sum, difference, product or quotient with a number.
  static std::optional<FloatElement> combine(Op op, const FloatElement& a, const FloatElement& b) {
    using Kind = FloatStep::Kind;
    if (op == Op::div) return b.is_number ? with_step(a, {Kind::divide, b.number}) : std::nullopt;
    if (op == Op::sub) return b.is_number ? with_step(a, {Kind::add, -b.number}) : std::nullopt;
    if (op != Op::mul && op != Op::add) return std::nullopt;
    const Kind kind = op == Op::mul ? Kind::multiply : Kind::add;
    if (b.is_number) return with_step(a, {kind, b.number});
    return a.is_number ? with_step(b, {kind, a.number}) : std::nullopt;
  }

  std::optional<FloatElements> with_number(const Node& node, int depth) const {
    const auto a = elements(node.inputs[0], depth + 1);
    const auto b = a ? elements(node.inputs[1], depth + 1) : std::nullopt;
    if (!b) return std::nullopt;
    FloatElements result;
    for (size_t i = 0; i < a->size(); ++i) {
      auto x = combine(node.op, (*a)[i], (*b)[i]);
      if (!x) return std::nullopt;
      result.push_back(std::move(*x));
    }
    return result;
  }

  // Where each element comes from is found by moving their numbers.
  std::optional<FloatElements> moved(NodeId id, int depth) const {
    const Node& node = graph_[id];
    FloatElements sources;
    std::vector<ElementTensor> numbers;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const NodeId operand = node.inputs[i];
      if (node.op == Op::gather && i > 0) {
        auto indices = integers_(operand);
        if (!indices) return std::nullopt;
        numbers.push_back({std::move(*indices), shape(operand)});
        continue;
      }
      auto known = elements(operand, depth + 1);
      if (!known) return std::nullopt;
      Dims places;
      for (FloatElement& x : *known) {
        places.push_back(static_cast<int64_t>(sources.size()));
        sources.push_back(std::move(x));
      }
      numbers.push_back({std::move(places), shape(operand)});
    }
    const auto places = node.op == Op::pad ? std::nullopt : fold_elements(node, numbers, shape(id));
    if (!places) return std::nullopt;
    FloatElements result;
    for (Dim place : *places) result.push_back(sources[static_cast<size_t>(place.value())]);
    return result;
  }

  const Graph& graph_;
  DType dtype_;
  const IntegerElements& integers_;
};

}  // namespace

std::optional<Dims> fold_float_cast(const Graph& graph, const Node& cast,
                                    const IntegerElements& integers) {
  const DType from = graph.dtype(cast.inputs[0]);
  const DType to = std::get<TensorType>(cast.type).dtype;
  if ((from != DType::f32 && from != DType::f64) || (to != DType::i32 && to != DType::i64))
    return std::nullopt;
  const auto elements = FloatFolder(graph, from, integers).elements(cast.inputs[0]);
  if (!elements) return std::nullopt;
  Dims result;
  for (const FloatElement& x : *elements) {
    if (x.is_number && !(std::fabs(x.number) < 9e18)) return std::nullopt;
    result.push_back(x.is_number ? Dim(static_cast<int64_t>(x.number))
                                 : float_arithmetic(x.dim, x.steps, from == DType::f32));
  }
  return result;
}

}  // namespace onrush
