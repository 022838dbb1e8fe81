#include "reference/contraction.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

// The elements of x with its axes in the order first, second, third.
template <class A>
std::vector<A> packed(const Tensor& x, const Axes& first, const Axes& second, const Axes& third) {
  const std::vector<A> values = load_all<A>(x);
  const Strides from = row_major(x.shape());
  Shape shape;
  Strides strides;
  for (const Axes* axes : {&first, &second, &third}) {
    for (int axis : *axes) {
      shape.push_back(x.shape()[static_cast<size_t>(axis)]);
      strides.push_back(from[static_cast<size_t>(axis)]);
    }
  }
  if (strides == from) return values;
  std::vector<A> result(values.size());
  walk<2>(shape, {strides, row_major(shape)}, [&](const Offsets<2>& at) {
    result[static_cast<size_t>(at[1])] = values[static_cast<size_t>(at[0])];
  });
  return result;
}

Axes free_axes(int rank, const Axes& batch, const Axes& contract) {
  Axes axes;
  for (int axis = 0; axis < rank; ++axis)
    if (std::ranges::count(batch, axis) + std::ranges::count(contract, axis) == 0)
      axes.push_back(axis);
  return axes;
}

int64_t extent(const Tensor& x, const Axes& axes) {
  int64_t count = 1;
  for (int axis : axes) count *= x.shape()[static_cast<size_t>(axis)];
  return count;
}

}  // namespace

Tensor evaluate_dot(const Node& node, Operands operands, const SizeFunction& size) {
  const auto& attr = node.as<DotAttr>();
  const Tensor &lhs = operands[0], &rhs = operands[1];
  const Axes lhs_free = free_axes(lhs.rank(), attr.lhs_batch, attr.lhs_contract);
  const Axes rhs_free = free_axes(rhs.rank(), attr.rhs_batch, attr.rhs_contract);
  const int64_t batches = extent(lhs, attr.lhs_batch), depth = extent(lhs, attr.lhs_contract);
  const int64_t rows = extent(lhs, lhs_free), columns = extent(rhs, rhs_free);
  const TensorType& type = std::get<TensorType>(node.type);
  Tensor result;
  visit_products(lhs.dtype(), [&]<class A>() {
    const std::vector<A> a = packed<A>(lhs, attr.lhs_batch, lhs_free, attr.lhs_contract);
    const std::vector<A> b = packed<A>(rhs, attr.rhs_batch, attr.rhs_contract, rhs_free);
    std::vector<A> sums(static_cast<size_t>(batches * rows * columns));
    for (int64_t batch = 0; batch < batches; ++batch)
      multiply_add(rows, depth, columns, a.data() + batch * rows * depth,
                   b.data() + batch * depth * columns, sums.data() + batch * rows * columns);
    result = store_sums(type.dtype, shape_of(type.shape, size), sums);
  });
  return result;
}

}  // namespace onrush::reference
