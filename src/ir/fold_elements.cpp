#include "ir/fold_elements.h"

#include <algorithm>

#include "base/check.h"

namespace onrush {
namespace {

using Index = std::vector<int64_t>;
constexpr std::string_view kOrigin = "shape arithmetic";

bool advance(Index& index, const Shape& shape) {
  for (size_t axis = shape.size(); axis-- > 0;) {
    if (++index[axis] < shape[axis]) return true;
    index[axis] = 0;
  }
  return false;
}

int64_t flat(const Index& index, const Shape& shape) {
  int64_t offset = 0;
  for (size_t axis = 0; axis < shape.size(); ++axis) offset = offset * shape[axis] + index[axis];
  return offset;
}

// Calls element(index) for every index of `shape`, in order.
template <class F>
std::optional<Dims> for_each(const Shape& shape, F element) {
  Dims result;
  const int64_t count = element_count(shape);
  if (count == 0) return result;
  Index index(shape.size(), 0);
  do {
    const std::optional<Dim> value = element(index);
    if (!value) return std::nullopt;
    result.push_back(*value);
  } while (advance(index, shape));
  return result;
}

bool truth(Dim value) { return !decide(equal(value, 0), kOrigin); }

std::optional<Dim> unary(const Node& node, Dim x) {
  const DType dtype = std::get<TensorType>(node.type).dtype;
  switch (node.op) {
    case Op::neg: return 0 - x;
    case Op::abs: return decide(less_equal(0, x), kOrigin) ? x : 0 - x;
    case Op::sign: return truth(x) ? (decide(less(0, x), kOrigin) ? 1 : -1) : 0;
    case Op::bit_not:
      if (dtype == DType::boolean) return truth(x) ? 0 : 1;
      return 0 - x - 1;
    case Op::cast:
      if (dtype == DType::boolean) return truth(x) ? 1 : 0;
      if (bits(dtype) >= 32 || x.is_constant()) return x;
      return std::nullopt;
    case Op::ceil:
    case Op::floor:
    case Op::round:
    case Op::trunc: return x;
    default: return std::nullopt;
  }
}

std::optional<Dim> divide(Dim a, Dim b) {
  if (!truth(b)) return 0;
  const bool negative_a = !decide(less_equal(0, a), kOrigin);
  const bool negative_b = !decide(less_equal(0, b), kOrigin);
  const Dim quotient = floordiv(negative_a ? 0 - a : a, negative_b ? 0 - b : b);
  return negative_a == negative_b ? quotient : 0 - quotient;
}

std::optional<Dim> binary(Op op, bool boolean, Dim a, Dim b) {
  switch (op) {
    case Op::add: return a + b;
    case Op::sub: return a - b;
    case Op::mul: return a * b;
    case Op::div: return divide(a, b);
    case Op::mod: return truth(b) ? mod(a, b) : 0;
    case Op::rem: {
      const auto quotient = divide(a, b);
      return a - *quotient * b;
    }
    case Op::min: return min(a, b);
    case Op::max: return max(a, b);
    case Op::equal: return decide(equal(a, b), kOrigin) ? 1 : 0;
    case Op::less: return decide(less(a, b), kOrigin) ? 1 : 0;
    case Op::less_equal: return decide(less_equal(a, b), kOrigin) ? 1 : 0;
    case Op::bit_and:
      if (boolean) return truth(a) && truth(b) ? 1 : 0;
      return std::nullopt;
    case Op::bit_or:
      if (boolean) return truth(a) || truth(b) ? 1 : 0;
      return std::nullopt;
    case Op::bit_xor:
      if (boolean) return truth(a) != truth(b) ? 1 : 0;
      return std::nullopt;
    default: return std::nullopt;
  }
}

Dim combine(ReduceKind kind, Dim a, Dim b) {
  switch (kind) {
    case ReduceKind::sum: return a + b;
    case ReduceKind::product: return a * b;
    case ReduceKind::max: return max(a, b);
    case ReduceKind::min: return min(a, b);
    default: internal_error("argmax is not folded");
  }
}

std::optional<Dims> reduce(const ReduceAttr& attr, const ElementTensor& x, const Shape& shape) {
  if (attr.kind == ReduceKind::argmax || attr.kind == ReduceKind::argmin || x.elements.empty())
    return std::nullopt;
  std::vector<std::optional<Dim>> sums(static_cast<size_t>(element_count(shape)));
  Index index(x.shape.size(), 0);
  size_t position = 0;
  do {
    Index target = index;
    for (int axis : attr.axes) target[static_cast<size_t>(axis)] = 0;
    std::optional<Dim>& sum = sums[static_cast<size_t>(flat(target, shape))];
    const Dim value = x.elements[position++];
    sum = sum ? combine(attr.kind, *sum, value) : value;
  } while (advance(index, x.shape));
  Dims result;
  for (const auto& sum : sums) result.push_back(*sum);
  return result;
}

// Where the element at `index` of a movement's result stands in its operand.
std::optional<Index> source_index(const Node& node, const ElementTensor& x, const Index& index) {
  Index source = index;
  switch (node.op) {
    case Op::transpose:
      for (size_t i = 0; i < index.size(); ++i)
        source[static_cast<size_t>(node.as<TransposeAttr>().permutation[i])] = index[i];
      return source;
    case Op::broadcast:
      for (size_t i = 0; i < index.size(); ++i)
        if (x.shape[i] == 1) source[i] = 0;
      return source;
    case Op::slice:
      for (size_t i = 0; i < index.size(); ++i) {
        const Dim start = node.as<SliceAttr>().start[i];
        source[i] = fix(start, kOrigin) + index[i] * node.as<SliceAttr>().step[i];
      }
      return source;
    default: return std::nullopt;
  }
}

Dims concat(int axis, std::span<const ElementTensor> parts, const Shape& shape) {
  const size_t a = static_cast<size_t>(axis);
  return *for_each(shape, [&](Index index) -> std::optional<Dim> {
    size_t part = 0;
    while (index[a] >= parts[part].shape[a]) index[a] -= parts[part++].shape[a];
    return parts[part].elements[static_cast<size_t>(flat(index, parts[part].shape))];
  });
}

std::optional<Dims> gather(const IndexAttr& attr, std::span<const ElementTensor> operands,
                           const Shape& shape) {
  const ElementTensor& data = operands[0];
  return for_each(shape, [&](const Index& index) -> std::optional<Dim> {
    Index source(attr.source.size());
    for (size_t axis = 0; axis < source.size(); ++axis) {
      const int from = attr.source[axis];
      if (from >= 0) {
        source[axis] = index[static_cast<size_t>(from)];
        continue;
      }
      const Dim at = operands[static_cast<size_t>(~from) + 1]
                         .elements[static_cast<size_t>(flat(index, shape))];
      source[axis] = fix(at, kOrigin);
      if (source[axis] < 0 || source[axis] >= data.shape[axis]) return std::nullopt;
    }
    return data.elements[static_cast<size_t>(flat(source, data.shape))];
  });
}

}  // namespace

std::optional<Dims> fold_elements(const Node& node, std::span<const ElementTensor> operands,
                                  const Shape& shape) {
  const auto operand = [&](size_t i, const Index& index) {
    return operands[i].elements[static_cast<size_t>(flat(index, shape))];
  };
  switch (class_of(node.op)) {
    case OpClass::unary:
    case OpClass::cast:
      return for_each(shape, [&](const Index& index) { return unary(node, operand(0, index)); });
    case OpClass::binary:
    case OpClass::comparison: {
      const bool boolean = std::get<TensorType>(node.type).dtype == DType::boolean;
      return for_each(shape, [&](const Index& index) {
        return binary(node.op, boolean, operand(0, index), operand(1, index));
      });
    }
    case OpClass::select:
      return for_each(shape, [&](const Index& index) -> std::optional<Dim> {
        return truth(operand(0, index)) ? operand(1, index) : operand(2, index);
      });
    case OpClass::movement:
      if (node.op == Op::reshape) return operands[0].elements;
      if (node.op == Op::concat) return concat(node.as<ConcatAttr>().axis, operands, shape);
      return for_each(shape, [&](const Index& index) -> std::optional<Dim> {
        const auto source = source_index(node, operands[0], index);
        if (!source) return std::nullopt;
        return operands[0].elements[static_cast<size_t>(flat(*source, operands[0].shape))];
      });
    case OpClass::reduction:
      if (node.op != Op::reduce) return std::nullopt;
      return reduce(node.as<ReduceAttr>(), operands[0], shape);
    case OpClass::indexed:
      if (node.op != Op::gather) return std::nullopt;
      return gather(node.as<IndexAttr>(), operands, shape);
    default: return std::nullopt;
  }
}

}  // namespace onrush
