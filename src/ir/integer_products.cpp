#include "ir/integer_products.h"

#include <algorithm>
#include <utility>

#include "base/numeric.h"

namespace onrush {
namespace {

NodeId to_i32(Builder& b, NodeId x) { return b.cast(x, DType::i32); }

// The tensor whose elements these are, moved about and widened.
const Tensor* constant_of(const Builder& b, NodeId x) {
  while ((is_movement(b.node(x).op) || b.node(x).op == Op::cast) && b.node(x).inputs.size() == 1)
    x = b.node(x).inputs[0];
  return b.constant_tensor(x);
}

bool all_equal(const Builder& b, NodeId x, int64_t value) {
  const Tensor* tensor = constant_of(b, x);
  if (!tensor || !is_integer(tensor->dtype())) return false;
  for (int64_t i = 0; i < tensor->count(); ++i)
    if (load_i64(tensor->dtype(), tensor->data(), i) != value) return false;
  return true;
}

// Without a zero point of 0; a weight of u8 around 128 as one of i8 around 0.
ShiftedInteger simplest(Builder& b, ShiftedInteger x) {
  if (!x.zero || all_equal(b, *x.zero, 0)) return {x.x, std::nullopt};
  if (b.dtype(x.x) == DType::u8 && all_equal(b, *x.zero, 128) && constant_of(b, x.x))
    return {b.cast(b.sub(to_i32(b, x.x), b.scalar(DType::i32, 128)), DType::i8), std::nullopt};
  return {x.x, to_i32(b, *x.zero)};
}

bool contains(const Axes& axes, int axis) { return std::ranges::find(axes, axis) != axes.end(); }

Axes free_axes(int rank, const Axes& batch, const Axes& contract) {
  Axes free;
  for (int axis = 0; axis < rank; ++axis)
    if (!contains(batch, axis) && !contains(contract, axis)) free.push_back(axis);
  return free;
}

NodeId sum_of(Builder& b, NodeId x, Axes axes) {
  std::ranges::sort(axes);
  return b.reduce(ReduceKind::sum, to_i32(b, x), std::move(axes));
}

NodeId count_of(Builder& b, const Dims& shape, const Axes& axes) {
  Dim count = 1;
  for (int axis : axes) count = count * shape[static_cast<size_t>(axis)];
  return b.cast(b.dims(DType::i64, {count}, {}), DType::i32);
}

}  // namespace

NodeId beside_dot(Builder& b, NodeId x, const DotAttr& attr, bool lhs, int other_free_axes) {
  const Axes& batch = lhs ? attr.lhs_batch : attr.rhs_batch;
  const Axes& contract = lhs ? attr.lhs_contract : attr.rhs_contract;
  if (b.rank(x) == 0) return x;
  const Axes free = free_axes(b.rank(x), batch, contract);
  Axes order = batch;
  order.insert(order.end(), free.begin(), free.end());
  order.insert(order.end(), contract.begin(), contract.end());
  const Dims given = b.shape(x);
  const auto extents = [&](const Axes& axes, Dims& into) {
    for (int axis : axes) into.push_back(given[static_cast<size_t>(axis)]);
  };
  const Dims ones(static_cast<size_t>(other_free_axes), Dim(1));
  Dims shape;
  extents(batch, shape);
  if (!lhs) shape.insert(shape.end(), ones.begin(), ones.end());
  extents(free, shape);
  if (lhs) shape.insert(shape.end(), ones.begin(), ones.end());
  return b.reshape(b.transpose(x, std::move(order)), std::move(shape));
}

NodeId integer_dot(Builder& b, ShiftedInteger x, ShiftedInteger y, const DotAttr& attr) {
  x = simplest(b, x), y = simplest(b, y);
  const auto free_of = [](int rank, const Axes& batch, const Axes& contract) {
    return rank - static_cast<int>(batch.size() + contract.size());
  };
  const int lhs_free = free_of(b.rank(x.x), attr.lhs_batch, attr.lhs_contract);
  const int rhs_free = free_of(b.rank(y.x), attr.rhs_batch, attr.rhs_contract);
  const auto beside = [&](NodeId node, bool lhs) {
    return beside_dot(b, node, attr, lhs, lhs ? rhs_free : lhs_free);
  };
  NodeId sums = b.dot(x.x, y.x, attr);
  std::optional<NodeId> x0, y0;
  if (x.zero) x0 = beside(*x.zero, true);
  if (y.zero) y0 = beside(*y.zero, false);
  if (x0) sums = b.sub(sums, b.mul(*x0, beside(sum_of(b, y.x, attr.rhs_contract), false)));
  if (y0) sums = b.sub(sums, b.mul(*y0, beside(sum_of(b, x.x, attr.lhs_contract), true)));
  if (x0 && y0)
    sums = b.add(sums, b.mul(b.mul(*x0, *y0), count_of(b, b.shape(x.x), attr.lhs_contract)));
  return sums;
}

NodeId integer_conv(Builder& b, ShiftedInteger x, ShiftedInteger w, ConvAttr attr) {
  const NodeId padding =
      x.zero ? b.reshape(*x.zero, {}) : b.scalar(b.dtype(x.x), 0);  // of x's dtype
  x = simplest(b, x), w = simplest(b, w);
  const auto padded = [](const Dims& sides) {
    return std::ranges::any_of(sides, [](Dim d) { return !is_zero(d); });
  };
  if (x.zero && (padded(attr.low) || padded(attr.high))) {
    Dims low = {0}, high = {0};
    for (size_t i = 0; i < attr.low.size(); ++i) {
      low.push_back(std::exchange(attr.low[i], 0));
      high.push_back(std::exchange(attr.high[i], 0));
    }
    low.emplace_back(0), high.emplace_back(0);
    x.x = b.pad(x.x, padding, std::move(low), std::move(high));
  }
  NodeId sums = b.conv(x.x, w.x, attr);
  const Dims weight = b.shape(w.x);
  Axes within;
  for (int axis = 1; axis < b.rank(w.x); ++axis) within.push_back(axis);
  const auto by_channel = [&](NodeId node) {
    const bool one = b.rank(node) == 0 || is_one(b.shape(node)[0]);
    return b.reshape(node, one ? Dims{} : Dims{weight[0]});
  };
  if (x.zero) sums = b.sub(sums, b.mul(b.reshape(*x.zero, {}), by_channel(sum_of(b, w.x, within))));
  if (!w.zero) return sums;
  // The sum of each window: one more output channel a group.
  Dims ones = weight;
  ones[0] = attr.groups;
  NodeId windows = b.conv(x.x, b.broadcast(b.scalar(DType::i8, 1), std::move(ones)), attr);
  if (attr.groups > 1) {
    const Dims shape = b.shape(windows);
    Dims repeated = shape;
    repeated.push_back(floordiv(weight[0], attr.groups));
    windows = b.broadcast(b.unsqueeze(windows, {b.rank(windows)}), std::move(repeated));
    windows = b.reshape(windows, b.shape(sums));
  }
  const NodeId w0 = by_channel(*w.zero);
  sums = b.sub(sums, b.mul(w0, windows));
  if (x.zero)
    sums = b.add(sums, b.mul(b.mul(b.reshape(*x.zero, {}), w0), count_of(b, weight, within)));
  return sums;
}

}  // namespace onrush
