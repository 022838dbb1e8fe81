// Reshapes, transposes and broadcasts. Broadcasts come last, reshapes before them, after what they
// can follow.
#include <algorithm>

#include "optimize/axis_blocks.h"
#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

// Only axes of extent 1 change their place.
Result transpose_of_unit_axes(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::transpose)) return std::nullopt;
  const NodeId x = r.operand(id, 0);
  int last = -1;
  for (int axis : r.b.node(id).as<TransposeAttr>().permutation) {
    if (is_one(r.b.shape(x)[axis])) continue;
    if (axis < last) return std::nullopt;
    last = axis;
  }
  return r.b.reshape(x, Dims(r.b.shape(id)));
}

Result transpose_of_broadcast(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::transpose) || !r.is(r.operand(id, 0), Op::broadcast)) return std::nullopt;
  const NodeId x = r.operand(r.operand(id, 0), 0);
  const Dims shape = r.b.shape(id);
  const Axes permutation = r.b.node(id).as<TransposeAttr>().permutation;
  return r.b.broadcast(r.b.transpose(x, permutation), shape);
}

Result reshape_of_broadcast(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::reshape) || !r.is(r.operand(id, 0), Op::broadcast)) return std::nullopt;
  const NodeId broadcast = r.operand(id, 0), x = r.operand(broadcast, 0);
  const Dims shape = r.b.shape(id);
  auto narrow = narrow_reshape(r.b.shape(broadcast), shape, r.b.shape(x));
  if (!narrow) return std::nullopt;
  return r.b.broadcast(r.b.reshape(x, std::move(*narrow)), shape);
}

// What an operand of elementwise work is before all of them are reshaped from `from`.
Result before_reshape(Rewriter& r, NodeId operand, const Dims& from) {
  Builder& b = r.b;
  if (r.is(operand, Op::reshape) && always_equal(b.shape(r.operand(operand, 0)), from))
    return r.operand(operand, 0);
  if (!r.is(operand, Op::broadcast)) return std::nullopt;
  const NodeId x = r.operand(operand, 0);
  auto narrow = narrow_reshape(b.shape(operand), from, b.shape(x));
  if (!narrow) return std::nullopt;
  return b.broadcast(b.reshape(x, std::move(*narrow)), from);
}

Result reshape_after_elementwise(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!is_elementwise(b.node(id).op)) return std::nullopt;
  const std::vector<NodeId>& inputs = b.node(id).inputs;
  const auto reshaped = std::ranges::find_if(
      inputs, [&](NodeId x) { return r.is(x, Op::reshape) && !r.facts.is_weight(x); });
  const auto fits = [&](NodeId x) { return r.is(x, Op::reshape) || r.is(x, Op::broadcast); };
  if (reshaped == inputs.end() || !std::ranges::all_of(inputs, fits)) return std::nullopt;
  std::vector<NodeId> operands = inputs;
  const Dims from = b.shape(r.operand(*reshaped, 0)), shape = b.shape(id);
  for (NodeId& operand : operands) {
    const auto before = before_reshape(r, operand, from);
    if (!before) return std::nullopt;
    operand = *before;
  }
  return b.reshape(b.rebuild(Node(b.node(id)), std::move(operands)), shape);
}

// Axes are moved before they are merged.
Result transpose_before_merge(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::transpose) || !r.is(r.operand(id, 0), Op::reshape)) return std::nullopt;
  const NodeId reshape = r.operand(id, 0), x = r.operand(reshape, 0);
  const auto steps = split_and_merge(b.shape(x), b.shape(reshape));
  const auto merges = [](const Axes& axes) { return axes.size() > 1; };
  if (!steps || std::ranges::none_of(steps->merged, merges)) return std::nullopt;
  const Dims shape = b.shape(id);
  Axes permutation;
  for (int axis : b.node(id).as<TransposeAttr>().permutation)
    permutation.insert(permutation.end(), steps->merged[axis].begin(), steps->merged[axis].end());
  return b.reshape(b.transpose(b.reshape(x, steps->split), permutation), shape);
}

// --- iota

Result transpose_of_iota(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::transpose) || !r.is(r.operand(id, 0), Op::iota)) return std::nullopt;
  const int axis = r.b.node(r.operand(id, 0)).as<IotaAttr>().axis;
  const Axes& permutation = r.b.node(id).as<TransposeAttr>().permutation;
  const auto place = std::ranges::find(permutation, axis) - permutation.begin();
  return r.b.iota(r.b.dtype(id), Dims(r.b.shape(id)), static_cast<int>(place));
}

Result reshape_of_iota(Rewriter& r, NodeId id) {
  if (!r.is(id, Op::reshape) || !r.is(r.operand(id, 0), Op::iota)) return std::nullopt;
  const NodeId iota = r.operand(id, 0);
  const int axis = r.b.node(iota).as<IotaAttr>().axis;
  const auto blocks = axis_blocks(r.b.shape(iota), r.b.shape(id));
  if (!blocks) return std::nullopt;
  for (const AxisBlock& block : *blocks)
    if (block.from == Axes{axis} && block.to.size() == 1)
      return r.b.iota(r.b.dtype(id), Dims(r.b.shape(id)), block.to[0]);
  return std::nullopt;
}

constexpr Rule kRules[] = {
    {"transpose_of_unit_axes", transpose_of_unit_axes},
    {"transpose_of_broadcast", transpose_of_broadcast},
    {"reshape_of_broadcast", reshape_of_broadcast},
    {"reshape_after_elementwise", reshape_after_elementwise},
    {"transpose_before_merge", transpose_before_merge},
    {"transpose_of_iota", transpose_of_iota},
    {"reshape_of_iota", reshape_of_iota},
};

}  // namespace

std::span<const Rule> movement_rules() { return kRules; }

}  // namespace onrush
