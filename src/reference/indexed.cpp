#include <algorithm>

#include "reference/arithmetic.h"
#include "reference/element.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

// Calls f(element of the data, coordinate's flat index) for every coordinate of `shape` in order.
// Throws Error{invalid_argument} for an index outside its axis.
template <class F>
void walk_indexed(const Shape& shape, const Shape& data, const std::vector<int>& source,
                  Operands indices, F f) {
  const Strides data_strides = row_major(data);
  Strides direct(shape.size());  // what the coordinates that address an axis themselves contribute
  struct Indexed {
    std::vector<int64_t> index;  // one a coordinate
    int64_t extent, stride;
  };
  std::vector<Indexed> indexed;
  for (size_t axis = 0; axis < source.size(); ++axis) {
    if (source[axis] >= 0) {
      direct[static_cast<size_t>(source[axis])] += data_strides[axis];
      continue;
    }
    const int operand = ~source[axis];
    const Tensor& index = indices[static_cast<size_t>(operand)];
    internal_check(index.shape() == shape, "an index for every coordinate");
    indexed.push_back({load_all<int64_t>(index), data[axis], data_strides[axis]});
  }
  walk<2>(shape, {direct, row_major(shape)}, [&](Offsets<2> at) {
    for (const Indexed& i : indexed) {
      const int64_t index = i.index[static_cast<size_t>(at[1])];
      if (index < 0 || index >= i.extent)
        fail(ErrorCode::invalid_argument, "index {} is out of range for an axis of extent {}",
             index, i.extent);
      at[0] += index * i.stride;
    }
    f(static_cast<size_t>(at[0]), static_cast<size_t>(at[1]));
  });
}

Tensor scatter_set(const ScatterAttr& attr, const Tensor& data, const Tensor& updates,
                   Operands indices) {
  Tensor out(data.dtype(), data.shape());
  visit_storage(data.dtype(), [&]<class T>() {
    const std::span<T> from = updates.as<T>(), to = out.as<T>();
    std::ranges::copy(data.as<T>(), to.begin());
    walk_indexed(updates.shape(), data.shape(), attr.source, indices,
                 [&](size_t element, size_t update) { to[element] = from[update]; });
  });
  return out;
}

ReduceKind reduction_of(ScatterKind kind) {
  switch (kind) {
    case ScatterKind::add: return ReduceKind::sum;
    case ScatterKind::mul: return ReduceKind::product;
    case ScatterKind::max: return ReduceKind::max;
    case ScatterKind::min: return ReduceKind::min;
    case ScatterKind::set: break;
  }
  internal_error("a scatter that sets does not reduce");
}

Tensor scatter_reduce(const ScatterAttr& attr, const Tensor& data, const Tensor& updates,
                      Operands indices) {
  return visit_compute(data.dtype(), [&]<class T>() {
    using A = Accumulator<T>;
    std::vector<A> results = load_all<A>(data);
    const std::vector<A> values = load_all<A>(updates);
    visit_reduction<A>(reduction_of(attr.kind), data.dtype(), [&](auto combine, A) {
      walk_indexed(updates.shape(), data.shape(), attr.source, indices,
                   [&](size_t element, size_t update) {
                     results[element] = combine(results[element], values[update]);
                   });
    });
    return make_tensor(data.dtype(), data.shape(), results);
  });
}

}  // namespace

Tensor evaluate_gather(const Node& node, Operands operands, const SizeFunction& size) {
  const Tensor data = widen(operands[0]);
  const Shape shape = shape_of(std::get<TensorType>(node.type).shape, size);
  Tensor out(data.dtype(), shape);
  visit_storage(data.dtype(), [&]<class T>() {
    const std::span<T> from = data.as<T>(), to = out.as<T>();
    walk_indexed(shape, data.shape(), node.as<IndexAttr>().source, operands.subspan(1),
                 [&](size_t element, size_t result) { to[result] = from[element]; });
  });
  return narrow(operands[0].dtype(), out);
}

Tensor evaluate_scatter(const Node& node, Operands operands) {
  const auto& attr = node.as<ScatterAttr>();
  const Tensor &data = operands[0], &updates = operands[1];
  const Operands indices = operands.subspan(2);
  if (attr.kind != ScatterKind::set) return scatter_reduce(attr, data, updates, indices);
  return narrow(data.dtype(), scatter_set(attr, widen(data), widen(updates), indices));
}

}  // namespace onrush::reference
