#include <algorithm>

#include "reference/element.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

// to[index . to_strides] = from[index . from_strides] for every index of `shape`.
template <class T>
void copy(const Shape& shape, const T* from, Strides from_strides, T* to, Strides to_strides) {
  const std::array<Strides, 2> strides = {std::move(from_strides), std::move(to_strides)};
  walk_rows<2>(shape, strides, [&](Offsets<2> at, int64_t count, const Offsets<2>& steps) {
    if (steps[0] == 1 && steps[1] == 1) {
      std::copy_n(from + at[0], count, to + at[1]);
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[at[1] + i * steps[1]] = from[at[0] + i * steps[0]];
  });
}

// A tensor read through strides from an element on.
Tensor strided(const Tensor& x, Shape shape, int64_t begin, Strides strides) {
  Tensor out(x.dtype(), std::move(shape));
  visit_storage(x.dtype(), [&]<class T>() {
    copy<T>(out.shape(), x.as<T>().data() + begin, std::move(strides), out.as<T>().data(),
            row_major(out.shape()));
  });
  return out;
}

Tensor transpose(const Tensor& x, const Axes& permutation) {
  const Strides from = row_major(x.shape());
  Shape shape;
  Strides strides;
  for (int axis : permutation) {
    shape.push_back(x.shape()[static_cast<size_t>(axis)]);
    strides.push_back(from[static_cast<size_t>(axis)]);
  }
  return strided(x, std::move(shape), 0, std::move(strides));
}

Tensor slice(const Tensor& x, const SliceAttr& attr, const SizeFunction& size) {
  const Shape shape = shape_of(attr.shape, size);
  Strides strides = row_major(x.shape());
  int64_t begin = 0;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    begin += size(attr.start[axis]) * strides[axis];
    strides[axis] *= attr.step[axis];
  }
  if (element_count(shape) == 0) begin = 0;  // an empty slice may start outside
  return strided(x, shape, begin, std::move(strides));
}

Tensor pad(const Tensor& x, const Tensor& value, const Shape& low, Shape shape) {
  Tensor out(x.dtype(), std::move(shape));
  const Strides strides = row_major(out.shape());
  int64_t begin = 0;
  for (size_t axis = 0; axis < low.size(); ++axis) begin += low[axis] * strides[axis];
  visit_storage(x.dtype(), [&]<class T>() {
    std::ranges::fill(out.as<T>(), value.as<T>()[0]);
    if (x.count() == 0) return;
    copy<T>(x.shape(), x.as<T>().data(), row_major(x.shape()), out.as<T>().data() + begin, strides);
  });
  return out;
}

Tensor concat(Operands parts, int axis, Shape shape) {
  Tensor out(parts[0].dtype(), std::move(shape));
  const Lines whole = lines_along(out.shape(), axis);
  visit_storage(out.dtype(), [&]<class T>() {
    T* to = out.as<T>().data();
    for (const Tensor& part : parts) {
      const int64_t run = lines_along(part.shape(), axis).extent * whole.inner;
      const T* from = part.as<T>().data();
      for (int64_t o = 0; o < whole.outer; ++o)
        std::copy_n(from + o * run, run, to + o * whole.extent * whole.inner);
      to += run;
    }
  });
  return out;
}

Tensor move(const Node& node, Operands operands, const SizeFunction& size) {
  const Tensor& x = operands[0];
  Shape shape = shape_of(std::get<TensorType>(node.type).shape, size);
  switch (node.op) {
    case Op::transpose: return transpose(x, node.as<TransposeAttr>().permutation);
    case Op::broadcast: {
      Strides strides = broadcast_strides(x.shape(), shape.size());
      return strided(x, std::move(shape), 0, std::move(strides));
    }
    case Op::slice: return slice(x, node.as<SliceAttr>(), size);
    case Op::pad:
      return pad(x, operands[1], shape_of(node.as<PadAttr>().low, size), std::move(shape));
    case Op::concat: return concat(operands, node.as<ConcatAttr>().axis, std::move(shape));
    default: internal_error("not a movement");
  }
}

}  // namespace

Tensor evaluate_movement(const Node& node, Operands operands, const SizeFunction& size) {
  if (node.op == Op::reshape)
    return operands[0].reshaped(shape_of(node.as<ReshapeAttr>().shape, size));
  const DType dtype = operands[0].dtype();
  if (!is_sub_byte(dtype)) return move(node, operands, size);
  std::vector<Tensor> codes;
  for (const Tensor& operand : operands) codes.push_back(widen(operand));
  return narrow(dtype, move(node, codes, size));
}

}  // namespace onrush::reference
