// Gathers whose indices are known: what they do is slice, transpose and repeat.
#include <algorithm>

#include "optimize/axis_blocks.h"
#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

// 0, 1, 2 ... along one axis of a table that exporters store.
Result stored_progression(Rewriter& r, NodeId id) {
  const Tensor* table = r.b.constant_tensor(id);
  const bool integer = table && (table->dtype() == DType::i64 || table->dtype() == DType::i32);
  if (!integer || table->count() <= 4) return std::nullopt;
  const int axis =
      static_cast<int>(std::ranges::find_if(table->shape(), [](int64_t e) { return e != 1; }) -
                       table->shape().begin());
  if (table->shape()[axis] != table->count()) return std::nullopt;
  const auto elements = [&](int64_t i) {
    return table->dtype() == DType::i64 ? table->as<int64_t>()[i] : table->as<int32_t>()[i];
  };
  for (int64_t i = 0; i < table->count(); ++i)
    if (elements(i) != i) return std::nullopt;
  return r.b.iota(table->dtype(), Dims(r.b.shape(id)), axis);
}

// The result's axis whose coordinate the index is.
std::optional<int> coordinate(const Builder& b, NodeId index) {
  const NodeId iota = before_broadcast(b, index);
  if (b.node(iota).op != Op::iota) return std::nullopt;
  const int axis = b.node(iota).as<IotaAttr>().axis;
  const bool repeated = !always_equal(b.shape(iota)[axis], b.shape(index)[axis]);
  return repeated ? std::nullopt : std::optional(axis);
}

Result gather_by_coordinate(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::gather)) return std::nullopt;
  const Dims shape = b.shape(id);
  std::vector<int> source = b.node(id).as<IndexAttr>().source;
  for (size_t axis = 0; axis < source.size(); ++axis) {
    if (source[axis] >= 0) continue;
    const auto from = coordinate(b, r.operand(id, 1 + ~source[axis]));
    if (!from) continue;
    std::vector<NodeId> indices(b.node(id).inputs.begin() + 1, b.node(id).inputs.end());
    indices.erase(indices.begin() + ~source[axis]);
    for (int& other : source)
      if (other < source[axis]) ++other;
    source[axis] = *from;
    const NodeId data = b.slice_axis(r.operand(id, 0), static_cast<int>(axis), 0, shape[*from]);
    return b.gather(data, indices, source, shape);
  }
  return std::nullopt;
}

// All elements read the same place along an axis.
Result gather_of_one_place(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::gather)) return std::nullopt;
  const Dims shape = b.shape(id);
  std::vector<int> source = b.node(id).as<IndexAttr>().source;
  for (size_t axis = 0; axis < source.size(); ++axis) {
    if (source[axis] >= 0) continue;
    const auto place = b.elements(before_broadcast(b, r.operand(id, 1 + ~source[axis])));
    if (!place || place->size() != 1) continue;
    std::vector<NodeId> indices(b.node(id).inputs.begin() + 1, b.node(id).inputs.end());
    indices.erase(indices.begin() + ~source[axis]);
    const int index = source[axis];
    source.erase(source.begin() + static_cast<std::ptrdiff_t>(axis));
    for (int& other : source)
      if (other < index) ++other;
    const int at = static_cast<int>(axis);
    const NodeId data = b.squeeze(b.slice_axis(r.operand(id, 0), at, (*place)[0], 1), {at});
    return b.gather(data, indices, source, shape);
  }
  return std::nullopt;
}

// Without indices, a gather transposes and repeats.
Result gather_without_index(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::gather) || b.node(id).inputs.size() != 1) return std::nullopt;
  const Dims shape = b.shape(id);
  const std::vector<int> source = b.node(id).as<IndexAttr>().source;
  NodeId data = r.operand(id, 0);
  Axes order(source.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int>(i);
  std::ranges::sort(order, {}, [&](int axis) { return source[axis]; });
  Dims narrow(shape.size(), Dim(1));
  for (size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && source[order[i]] == source[order[i - 1]]) return std::nullopt;  // a diagonal
    if (!always_equal(b.shape(data)[order[i]], shape[source[order[i]]])) return std::nullopt;
    narrow[source[order[i]]] = b.shape(data)[order[i]];
  }
  return b.broadcast(b.reshape(b.transpose(data, order), narrow), shape);
}

// --- indices into flattened axes

// The elements of an index, as a sum over result axes of coordinate times stride.
class Strides {
 public:
  explicit Strides(const Builder& b) : b_(b) {}

  // One stride an axis, 0 where it has no part in it.
  std::optional<Dims> of(NodeId id, int depth = 0) const {
    const Node& node = b_.node(id);
    Dims none(b_.shape(id).size(), Dim(0));
    if (depth == 8) return std::nullopt;
    switch (node.op) {
      case Op::iota: none[node.as<IotaAttr>().axis] = 1; return none;
      case Op::broadcast: return repeated(node, depth);
      case Op::reshape: return reshaped(node, std::move(none), depth);
      case Op::add: {
        const auto first = of(node.inputs[0], depth + 1);
        auto sum = first ? of(node.inputs[1], depth + 1) : std::nullopt;
        for (size_t i = 0; sum && i < sum->size(); ++i) (*sum)[i] = (*sum)[i] + (*first)[i];
        return sum;
      }
      case Op::mul: {
        const auto factor = b_.elements(before_broadcast(b_, node.inputs[1]));
        if (!factor || factor->size() != 1) return std::nullopt;
        auto product = of(node.inputs[0], depth + 1);
        for (size_t i = 0; product && i < product->size(); ++i)
          (*product)[i] = (*product)[i] * (*factor)[0];
        return product;
      }
      default: return std::nullopt;
    }
  }

 private:
  std::optional<Dims> repeated(const Node& node, int depth) const {
    auto strides = of(node.inputs[0], depth + 1);
    const Dims& narrow = b_.shape(node.inputs[0]);
    for (size_t i = 0; strides && i < narrow.size(); ++i)
      if (!always_equal(narrow[i], node.as<BroadcastAttr>().shape[i])) (*strides)[i] = 0;
    return strides;
  }

  std::optional<Dims> reshaped(const Node& node, Dims result, int depth) const {
    const auto strides = of(node.inputs[0], depth + 1);
    const auto& shape = node.as<ReshapeAttr>().shape;
    const auto blocks = strides ? axis_blocks(b_.shape(node.inputs[0]), shape) : std::nullopt;
    if (!blocks) return std::nullopt;
    for (const AxisBlock& block : *blocks) {
      const bool moved = block.from.size() == 1 && block.to.size() == 1;
      const auto unused = [&](int axis) { return is_zero((*strides)[axis]); };
      if (moved) result[block.to[0]] = (*strides)[block.from[0]];
      else if (!std::ranges::all_of(block.from, unused)) return std::nullopt;
    }
    return result;
  }

  const Builder& b_;
};

// The result axes, outermost first, whose coordinates in row-major order the strides count; nullopt
// unless they count exactly `total`.
std::optional<Axes> row_major(const Dims& strides, const Dims& shape, Dim total) {
  Axes axes;
  Dim next = 1;
  for (bool found = true; found;) {
    found = false;
    for (int axis = 0; axis < static_cast<int>(strides.size()) && !found; ++axis) {
      if (contains(axes, axis) || is_zero(strides[axis]) || !always_equal(strides[axis], next))
        continue;
      axes.insert(axes.begin(), axis);
      next = next * shape[axis];
      found = true;
    }
  }
  const auto used = std::ranges::count_if(strides, [](Dim stride) { return !is_zero(stride); });
  const bool complete = used > 1 && static_cast<std::ptrdiff_t>(axes.size()) == used;
  return complete && always_equal(next, total) ? std::optional(axes) : std::nullopt;
}

// Flattening an axis and indexing it by its coordinates.
Result gather_of_flat_index(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::gather)) return std::nullopt;
  const Dims shape = b.shape(id);
  std::vector<int> source = b.node(id).as<IndexAttr>().source;
  for (size_t axis = 0; axis < source.size(); ++axis) {
    if (source[axis] >= 0) continue;
    const auto strides = Strides(b).of(r.operand(id, 1 + ~source[axis]));
    Dims data_shape = b.shape(r.operand(id, 0));
    const auto axes = strides ? row_major(*strides, shape, data_shape[axis]) : std::nullopt;
    if (!axes) continue;
    std::vector<NodeId> indices(b.node(id).inputs.begin() + 1, b.node(id).inputs.end());
    indices.erase(indices.begin() + ~source[axis]);
    const int index = source[axis];
    const auto at = static_cast<std::ptrdiff_t>(axis);
    source.erase(source.begin() + at);
    for (int& other : source)
      if (other < index) ++other;
    source.insert(source.begin() + at, axes->begin(), axes->end());
    data_shape.erase(data_shape.begin() + at);
    for (size_t i = 0; i < axes->size(); ++i)
      data_shape.insert(data_shape.begin() + at + static_cast<std::ptrdiff_t>(i),
                        shape[(*axes)[i]]);
    return b.gather(b.reshape(r.operand(id, 0), data_shape), indices, source, shape);
  }
  return std::nullopt;
}

constexpr Rule kRules[] = {
    {"stored_progression", stored_progression, true},
    {"gather_by_coordinate", gather_by_coordinate},
    {"gather_of_one_place", gather_of_one_place},
    {"gather_of_flat_index", gather_of_flat_index},
    {"gather_without_index", gather_without_index},
};

}  // namespace

std::span<const Rule> gather_rules() { return kRules; }

}  // namespace onrush
