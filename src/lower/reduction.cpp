// Reductions along axes.
#include <limits>

#include "lower/family_parts.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

// The reduced axes, from an input since opset 13 or 18 and from an attribute before. Where none
// are named, all of them, or none if noop_with_empty_axes says so.
Axes reduced_axes(const OpContext& c) {
  const auto axes = c.ints_input_or_attr(1, "axes");
  if (axes && !axes->empty()) return c.axes(*axes, c.rank(0));
  return c.attr("noop_with_empty_axes", 0) != 0 ? Axes{} : axis_range(0, c.rank(0));
}

NodeId drop_axes(const OpContext& c, NodeId reduced, Axes axes) {
  return c.attr("keepdims", 1) != 0 ? reduced : c.b.squeeze(reduced, std::move(axes));
}

// Operators that take roots and logarithms work on floats: integers go through f64.
DType real(DType dtype) { return is_float(dtype) ? wide(dtype) : DType::f64; }

// f(builder, x, axes) on the operand as `work`; the result has the operand's dtype.
template <class F>
Results reduce_as(OpContext& c, DType work, F f) {
  const Axes axes = reduced_axes(c);
  const NodeId reduced = f(c.b, c.b.cast(c.in(0), work), axes);
  return drop_axes(c, c.b.cast(reduced, c.dtype(0)), axes);
}

NodeId sum(Builder& b, NodeId x, const Axes& axes) { return b.reduce(ReduceKind::sum, x, axes); }

template <ReduceKind kind>
Results lower_reduce(OpContext& c) {
  const DType work = c.dtype(0) == DType::boolean ? DType::u8 : c.dtype(0);
  return reduce_as(c, work,
                   [](Builder& b, NodeId x, const Axes& axes) { return b.reduce(kind, x, axes); });
}

Results lower_reduce_mean(OpContext& c) {
  return reduce_as(c, wide(c.dtype(0)), [](Builder& b, NodeId x, const Axes& axes) {
    return axes.empty() ? x : b.mean(x, axes);
  });
}

Results lower_reduce_l1(OpContext& c) {
  return reduce_as(c, wide(c.dtype(0)), [](Builder& b, NodeId x, const Axes& axes) {
    return sum(b, b.unary(Op::abs, x), axes);
  });
}

Results lower_reduce_l2(OpContext& c) {
  return reduce_as(c, real(c.dtype(0)), [](Builder& b, NodeId x, const Axes& axes) {
    return b.sqrt(sum(b, b.mul(x, x), axes));
  });
}

Results lower_reduce_sum_square(OpContext& c) {
  return reduce_as(c, wide(c.dtype(0)), [](Builder& b, NodeId x, const Axes& axes) {
    return sum(b, b.mul(x, x), axes);
  });
}

Results lower_reduce_log_sum(OpContext& c) {
  return reduce_as(c, real(c.dtype(0)), [](Builder& b, NodeId x, const Axes& axes) {
    return b.unary(Op::log, sum(b, x, axes));
  });
}

// The maximum is taken out first, unless it is infinite: then exp gives 0 or infinity anyway.
Results lower_reduce_log_sum_exp(OpContext& c) {
  return reduce_as(c, real(c.dtype(0)), [](Builder& b, NodeId x, const Axes& axes) {
    const NodeId max = b.reduce(ReduceKind::max, x, axes);
    const NodeId infinity = b.like(x, std::numeric_limits<double>::infinity());
    const NodeId shift = b.select(b.equal(b.unary(Op::abs, max), infinity), b.like(x, 0), max);
    return b.add(b.unary(Op::log, sum(b, b.exp(b.sub(x, shift)), axes)), shift);
  });
}

template <ReduceKind kind>
Results lower_arg(OpContext& c) {
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  const bool last = c.attr("select_last_index", 0) != 0;
  return drop_axes(c, c.b.reduce(kind, c.in(0), {axis}, last), {axis});
}

constexpr OpRow kOps[] = {
    {"ReduceSum", lower_reduce<ReduceKind::sum>},
    {"ReduceProd", lower_reduce<ReduceKind::product>},
    {"ReduceMax", lower_reduce<ReduceKind::max>},
    {"ReduceMin", lower_reduce<ReduceKind::min>},
    {"ReduceMean", lower_reduce_mean},
    {"ReduceL1", lower_reduce_l1},
    {"ReduceL2", lower_reduce_l2},
    {"ReduceSumSquare", lower_reduce_sum_square},
    {"ReduceLogSum", lower_reduce_log_sum},
    {"ReduceLogSumExp", lower_reduce_log_sum_exp},
    {"ArgMax", lower_arg<ReduceKind::argmax>},
    {"ArgMin", lower_arg<ReduceKind::argmin>},
};

}  // namespace

std::span<const OpRow> reduction_ops() {
  static const std::vector<OpRow> rows = join_rows({kOps, softmax_ops(), ordered_ops()});
  return rows;
}

}  // namespace onrush
