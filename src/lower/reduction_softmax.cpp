// The softmax family.
#include "lower/family_parts.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// One axis, the last by default; before opset 13 all axes from one on, by default the second, as
// if the operand were a matrix.
Axes softmax_axes(const OpContext& c) {
  const int rank = c.rank(0);
  if (c.opset() >= 13) return {c.axis(c.attr("axis", -1), rank)};
  const int64_t axis = c.attr("axis", int64_t{1});
  return axis_range(axis == rank ? rank : c.axis(axis, rank), rank);
}

Results lower_softmax(OpContext& c) { return softmax(c.b, c.in(0), softmax_axes(c)); }

Results lower_log_softmax(OpContext& c) { return log_softmax(c.b, c.in(0), softmax_axes(c)); }

// 1 at the first maximum, else 0.
Results lower_hardmax(OpContext& c) {
  Builder& b = c.b;
  const Axes axes = softmax_axes(c);
  if (axes.empty()) return full(b, c.dtype(0), 1, c.shape(0));
  const int axis = axes.front();
  NodeId x = c.in(0);
  if (axes.size() > 1) {  // as one axis
    const auto first = c.shape(0).begin() + axis;
    Dims shape(c.shape(0).begin(), first);
    shape.push_back(product(std::span(first, c.shape(0).end())));
    x = b.reshape(x, std::move(shape));
  }
  const NodeId place = b.reduce(ReduceKind::argmax, x, {axis});
  const NodeId chosen = b.equal(b.iota(DType::i64, b.shape(x), axis), place);
  return b.reshape(b.cast(chosen, c.dtype(0)), c.shape(0));
}

constexpr OpRow kOps[] = {
    {"Softmax", lower_softmax},
    {"LogSoftmax", lower_log_softmax},
    {"Hardmax", lower_hardmax},
};

}  // namespace

std::span<const OpRow> softmax_ops() { return kOps; }

}  // namespace onrush
