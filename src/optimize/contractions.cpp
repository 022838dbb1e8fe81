#include "optimize/contractions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "optimize/axis_blocks.h"
#include "optimize/rewriter.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

// --- padding

// The padding of the spatial axes of a channels-last operand; nullopt if others are padded too.
Result pad_of_conv(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::conv) || !r.is(r.operand(id, 0), Op::pad)) return std::nullopt;
  const NodeId pad = r.operand(id, 0), x = r.operand(pad, 0);
  if (!r.facts.is_splat(r.operand(pad, 1), 0)) return std::nullopt;
  ConvAttr attr = b.node(id).as<ConvAttr>();
  const PadAttr padding = b.node(pad).as<PadAttr>();
  const size_t last = padding.low.size() - 1;
  for (size_t outer : {size_t{0}, last})
    if (!is_zero(padding.low[outer]) || !is_zero(padding.high[outer])) return std::nullopt;
  for (size_t axis = 0; axis + 1 < last; ++axis) {
    attr.low[axis] = attr.low[axis] + padding.low[axis + 1] * attr.input_dilation[axis];
    attr.high[axis] = attr.high[axis] + padding.high[axis + 1] * attr.input_dilation[axis];
  }
  return b.conv(x, r.operand(id, 1), std::move(attr));
}

Result pad_of_window(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::window) || !r.is(r.operand(id, 0), Op::pad)) return std::nullopt;
  const NodeId pad = r.operand(id, 0), x = r.operand(pad, 0);
  WindowAttr attr = b.node(id).as<WindowAttr>();
  const auto value = r.facts.splat(r.operand(pad, 1));
  const bool neutral =
      value &&
      ((attr.kind == ReduceKind::sum && *value == 0) ||
       (attr.kind == ReduceKind::max && *value == -std::numeric_limits<double>::infinity()));
  if (!neutral) return std::nullopt;
  const PadAttr& padding = b.node(pad).as<PadAttr>();
  for (size_t axis = 0; axis < padding.low.size(); ++axis) {
    attr.low[axis] = attr.low[axis] + padding.low[axis];
    attr.high[axis] = attr.high[axis] + padding.high[axis];
  }
  return b.window(x, std::move(attr));
}

// --- transposed convolution

// One element of x makes one tile of the result, and no two tiles meet.
bool makes_tiles(const Builder& b, NodeId conv) {
  const auto& a = b.node(conv).as<ConvAttr>();
  const Dims& w = b.shape(b.node(conv).inputs[1]);
  bool tiles = a.groups == 1;
  bool dilated = false;
  for (size_t axis = 0; axis < a.stride.size(); ++axis) {
    const int64_t size = a.input_dilation[axis];
    dilated |= size > 1;
    tiles &= a.stride[axis] == 1 && a.dilation[axis] == 1 && same(w[axis + 1], size) &&
             same(a.low[axis], size - 1) && same(a.high[axis], size - 1);
  }
  return tiles && dilated;
}

// w [O, kernel..., C] with its kernel turned round, as [kernel..., O, C].
NodeId tile_weights(Builder& b, NodeId w) {
  const Dims shape = b.shape(w);
  Dims start(shape.size(), Dim(0));
  std::vector<int64_t> step(shape.size(), 1);
  Axes order;
  for (size_t axis = 1; axis + 1 < shape.size(); ++axis) {
    start[axis] = shape[axis] - 1;
    step[axis] = -1;
    order.push_back(static_cast<int>(axis));
  }
  order.push_back(0);
  order.push_back(static_cast<int>(shape.size()) - 1);
  return b.transpose(b.slice(w, start, step, shape), order);
}

Result tiles_are_a_dot(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::conv) || !makes_tiles(b, id)) return std::nullopt;
  const NodeId x = r.operand(id, 0);
  const Dims shape = b.shape(id);
  const DType dtype = b.dtype(id);
  const int axes = b.rank(x) - 2;
  const NodeId w = tile_weights(b, r.operand(id, 1));
  // [N, spatial..., kernel..., O]
  const NodeId tiles = b.dot(x, w, {{}, {}, {axes + 1}, {axes + 1}, dtype});
  Axes order = {0};
  for (int axis = 0; axis < axes; ++axis) order.insert(order.end(), {1 + axis, 1 + axes + axis});
  order.push_back(1 + 2 * axes);
  return b.reshape(b.transpose(tiles, order), shape);
}

// A transposed convolution of stride s, along one axis, as s plain ones that share their window
// over x. With p = s - 1 - m, result s q + p of the full one, `cut` of which come too early, is the
// sum over j of x[q + j - low] by element s j + m of the kernel.
struct Phases {
  int64_t stride, taps, cut, low, high;
  Dim extent;  // of q
};

// nullopt if the axis is cut so far that the window would begin inside x.
std::optional<Phases> phases_of_axis(const ConvAttr& a, size_t axis, int64_t kernel, Dim extent) {
  if (a.stride[axis] != 1 || a.dilation[axis] != 1) return std::nullopt;
  if (!a.low[axis].is_constant() || !a.high[axis].is_constant()) return std::nullopt;
  const int64_t s = a.input_dilation[axis], low = a.low[axis].value(), high = a.high[axis].value();
  Phases phases{s, (kernel + s - 1) / s, s - 1 - low % s};
  phases.low = low / s;
  // So many more than elements of x.
  const int64_t more = (low + phases.cut + high - kernel + 1 + s) / s - 1;
  phases.high = more - phases.low + phases.taps - 1;
  phases.extent = extent + more;
  if (low < 0 || phases.high < 0 || low + phases.cut + high - kernel + 1 < 0) return std::nullopt;
  return phases;
}

std::optional<std::vector<Phases>> phases_of(const Builder& b, NodeId conv) {
  const auto& a = b.node(conv).as<ConvAttr>();
  const Dims& x = b.shape(b.node(conv).inputs[0]);
  const Dims& w = b.shape(b.node(conv).inputs[1]);
  std::vector<Phases> result;
  bool dilated = false;
  for (size_t axis = 0; axis < a.stride.size(); ++axis) {
    if (!w[axis + 1].is_constant()) return std::nullopt;
    const auto phases = phases_of_axis(a, axis, w[axis + 1].value(), x[axis + 1]);
    if (!phases) return std::nullopt;
    dilated |= phases->stride > 1;
    result.push_back(*phases);
  }
  if (!dilated) return std::nullopt;
  return result;
}

// w [g O, kernel..., C] as [g p... O, taps..., C]; zeros where the kernel ends before the window.
NodeId phase_weights(Builder& b, NodeId w, const std::vector<Phases>& phases, int64_t groups) {
  const Dims shape = b.shape(w);
  const int axes = static_cast<int>(phases.size());
  const Dim outputs = floordiv(shape[0], groups);
  Dims low(shape.size(), Dim(0)), high = low, split = {groups, outputs}, merged = {shape[0]};
  Axes order = {0};
  for (int i = 0; i < axes; ++i) {
    const Phases& p = phases[static_cast<size_t>(i)];
    high[static_cast<size_t>(i + 1)] = Dim(p.taps * p.stride) - shape[static_cast<size_t>(i + 1)];
    split.insert(split.end(), {Dim(p.taps), Dim(p.stride)});
    merged[0] = merged[0] * p.stride;
    merged.emplace_back(p.taps);
    order.push_back(3 + 2 * i);
  }
  split.push_back(shape.back());
  merged.push_back(shape.back());
  order.push_back(1);
  for (int i = 0; i < axes; ++i) order.push_back(2 + 2 * i);
  order.push_back(2 + 2 * axes);
  const NodeId zero = b.like(w, 0);
  w = b.reshape(b.pad(w, zero, std::move(low), std::move(high)), split);
  // Phases in ascending order are elements of the kernel in descending order.
  Dims start(split.size(), Dim(0));
  std::vector<int64_t> step(split.size(), 1);
  for (int i = 0; i < axes; ++i) {
    start[static_cast<size_t>(3 + 2 * i)] = phases[static_cast<size_t>(i)].stride - 1;
    step[static_cast<size_t>(3 + 2 * i)] = -1;
  }
  return b.reshape(b.transpose(b.slice(w, start, step, split), order), merged);
}

// One plain convolution computes all phases side by side, and its results are put in order. Where
// the kernel is no multiple of the stride, infinities in x reach results next to those they reach
// otherwise, as NaN.
Result phases_of_transposed_conv(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::conv) || !is_float(b.dtype(id)) || makes_tiles(b, id)) return std::nullopt;
  const auto phases = phases_of(b, id);
  if (!phases) return std::nullopt;
  const Dims shape = b.shape(id);
  const int axes = static_cast<int>(phases->size());
  ConvAttr attr = b.node(id).as<ConvAttr>();
  const int64_t groups = attr.groups;
  const NodeId w = phase_weights(b, r.operand(id, 1), *phases, groups);
  Dims split = {shape[0]}, merged = split, start(shape.size(), Dim(0));
  Axes order = {0};
  for (int i = 0; i < axes; ++i) {
    const auto at = static_cast<size_t>(i);
    const Phases& p = (*phases)[at];
    attr.input_dilation[at] = 1;
    attr.low[at] = p.low, attr.high[at] = p.high;
    split.push_back(p.extent);
    merged.push_back(p.extent * p.stride);
    start[at + 1] = p.cut;
    order.insert(order.end(), {1 + i, 2 + axes + i});
  }
  split.push_back(groups);
  for (const Phases& p : *phases) split.emplace_back(p.stride);
  split.push_back(floordiv(shape.back(), groups));
  merged.push_back(shape.back());
  order.insert(order.end(), {1 + axes, 2 + 2 * axes});
  NodeId y = b.conv(r.operand(id, 0), w, std::move(attr));
  y = b.reshape(b.transpose(b.reshape(y, split), order), merged);
  return b.slice(y, start, std::vector<int64_t>(shape.size(), 1), shape);
}

// --- dot

struct Operand {
  NodeId x;
  Axes batch, contract;
};

Operand operand_of(const Rewriter& r, NodeId dot, int side) {
  const DotAttr& a = r.b.node(dot).as<DotAttr>();
  const NodeId x = r.operand(dot, side);
  return side == 0 ? Operand{x, a.lhs_batch, a.lhs_contract}
                   : Operand{x, a.rhs_batch, a.rhs_contract};
}

NodeId dot_of(Builder& b, Operand lhs, Operand rhs, DType dtype) {
  return b.dot(lhs.x, rhs.x,
               {std::move(lhs.batch), std::move(rhs.batch), std::move(lhs.contract),
                std::move(rhs.contract), dtype});
}

// The operand without an axis of extent 1.
Operand without(Builder& b, Operand operand, int axis) {
  operand.x = b.squeeze(operand.x, {axis});
  for (Axes* axes : {&operand.batch, &operand.contract}) {
    std::erase(*axes, axis);
    for (int& other : *axes) other -= other > axis;
  }
  return operand;
}

Operand without_unit_free_axes(Builder& b, Operand operand) {
  for (int axis = b.rank(operand.x) - 1; axis >= 0; --axis)
    if (is_one(b.shape(operand.x)[axis]) && !contains(operand.batch, axis) &&
        !contains(operand.contract, axis))
      operand = without(b, std::move(operand), axis);
  return operand;
}

Result drop_unit_axes(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::dot)) return std::nullopt;
  Operand lhs = operand_of(r, id, 0), rhs = operand_of(r, id, 1);
  for (size_t i = lhs.batch.size(); i-- > 0;) {
    const int l = lhs.batch[i], k = rhs.batch[i];
    if (!is_one(b.shape(lhs.x)[l]) || !is_one(b.shape(rhs.x)[k])) continue;
    lhs = without(b, std::move(lhs), l);
    rhs = without(b, std::move(rhs), k);
  }
  lhs = without_unit_free_axes(b, std::move(lhs));
  rhs = without_unit_free_axes(b, std::move(rhs));
  if (lhs.x == r.operand(id, 0) && rhs.x == r.operand(id, 1)) return std::nullopt;
  const Dims shape = b.shape(id);
  return b.reshape(dot_of(b, std::move(lhs), std::move(rhs), b.dtype(id)), shape);
}

// The operand with its free axes as they are before a reshape, less those of extent 1; nullopt if
// nothing changes.
std::optional<Operand> before_reshape(Rewriter& r, const Operand& operand) {
  Builder& b = r.b;
  if (!r.is(operand.x, Op::reshape) || r.facts.is_weight(operand.x)) return std::nullopt;
  const NodeId x = r.operand(operand.x, 0);
  const auto blocks = axis_blocks(b.shape(x), b.shape(operand.x));
  if (!blocks) return std::nullopt;
  const auto is_free = [&](int axis) {
    return !contains(operand.batch, axis) && !contains(operand.contract, axis);
  };
  Dims shape;
  std::map<int, int> kept;  // batch and contracted axes, and what they become
  for (const AxisBlock& block : *blocks) {
    const bool free = std::ranges::all_of(block.to, is_free);
    for (int axis : free ? block.from : block.to) {
      if (!free) kept[axis] = static_cast<int>(shape.size());
      shape.push_back(b.shape(free ? x : operand.x)[axis]);
    }
  }
  Operand before{{}, operand.batch, operand.contract};
  for (Axes* axes : {&before.batch, &before.contract})
    for (int& axis : *axes) {
      if (!kept.contains(axis)) return std::nullopt;  // of extent 1
      axis = kept[axis];
    }
  before.x = b.reshape(x, std::move(shape));
  return before.x == operand.x ? std::nullopt : std::optional(std::move(before));
}

Result reshape_after_dot(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::dot)) return std::nullopt;
  const Dims shape = b.shape(id);
  Operand lhs = operand_of(r, id, 0), rhs = operand_of(r, id, 1);
  auto lhs_before = before_reshape(r, lhs), rhs_before = before_reshape(r, rhs);
  if (!lhs_before && !rhs_before) return std::nullopt;
  return b.reshape(dot_of(b, std::move(lhs_before).value_or(std::move(lhs)),
                          std::move(rhs_before).value_or(std::move(rhs)), b.dtype(id)),
                   shape);
}

// The axes that were merged into one.
const Axes* merged_axes(const std::vector<AxisBlock>& blocks, int axis) {
  for (const AxisBlock& block : blocks)
    if (block.to == Axes{axis} && block.from.size() > 1) return &block.from;
  return nullptr;
}

// The operand with a batch axis split.
Operand split_batch_axis(Builder& b, Operand operand, int axis, const Dims& extents) {
  Dims shape = b.shape(operand.x);
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, extents.begin(), extents.end());
  operand.x = b.reshape(operand.x, std::move(shape));
  const int added = static_cast<int>(extents.size()) - 1;
  for (Axes* axes : {&operand.batch, &operand.contract})
    for (int& other : *axes)
      if (other > axis) other += added;
  const auto next = std::ranges::find(operand.batch, axis) - operand.batch.begin() + 1;
  for (int i = added; i > 0; --i) operand.batch.insert(operand.batch.begin() + next, axis + i);
  return operand;
}

Dims extents_of(const Dims& shape, const Axes& axes) {
  Dims extents;
  for (int axis : axes) extents.push_back(shape[axis]);
  return extents;
}

// Batch axes that were merged for a product that knows one only, in both operands alike.
Result split_batch(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::dot)) return std::nullopt;
  const Operand lhs = operand_of(r, id, 0), rhs = operand_of(r, id, 1);
  if (!r.is(lhs.x, Op::reshape) || !r.is(rhs.x, Op::reshape)) return std::nullopt;
  const Dims lhs_from = b.shape(r.operand(lhs.x, 0)), rhs_from = b.shape(r.operand(rhs.x, 0));
  const auto lhs_blocks = axis_blocks(lhs_from, b.shape(lhs.x));
  const auto rhs_blocks = axis_blocks(rhs_from, b.shape(rhs.x));
  if (!lhs_blocks || !rhs_blocks) return std::nullopt;
  for (size_t i = 0; i < lhs.batch.size(); ++i) {
    const Axes* lhs_merged = merged_axes(*lhs_blocks, lhs.batch[i]);
    const Axes* rhs_merged = merged_axes(*rhs_blocks, rhs.batch[i]);
    if (!lhs_merged || !rhs_merged) continue;
    const Dims extents = extents_of(lhs_from, *lhs_merged);
    if (!always_equal(extents, extents_of(rhs_from, *rhs_merged))) continue;
    const Dims shape = b.shape(id);
    const NodeId dot = dot_of(b, split_batch_axis(b, lhs, lhs.batch[i], extents),
                              split_batch_axis(b, rhs, rhs.batch[i], extents), b.dtype(id));
    return b.reshape(dot, shape);
  }
  return std::nullopt;
}

struct Scaled {
  NodeId x;       // without the factor
  NodeId factor;  // one number, repeated
};

// A product with one number, perhaps moved about since.
std::optional<Scaled> scaled(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (r.is(id, Op::mul)) {
    const NodeId factor = r.operand(id, 1);
    if (!is_float(b.dtype(id)) || !r.facts.splat(factor)) return std::nullopt;
    return Scaled{r.operand(id, 0), factor};
  }
  if (!r.is(id, Op::reshape) && !r.is(id, Op::transpose)) return std::nullopt;
  const auto inner = scaled(r, r.operand(id, 0));
  if (!inner) return std::nullopt;
  if (r.is(id, Op::reshape)) {
    const Dims shape = b.shape(id);
    return Scaled{b.reshape(inner->x, shape), inner->factor};
  }
  const Axes permutation = b.node(id).as<TransposeAttr>().permutation;
  return Scaled{b.transpose(inner->x, permutation), inner->factor};
}

// A number by which an operand is multiplied multiplies the result instead, where it joins what
// follows; the operand is then read as it lies.
Result scale_after_dot(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::dot) || !is_float(b.dtype(id))) return std::nullopt;
  for (const int side : {0, 1}) {
    Operand lhs = operand_of(r, id, 0), rhs = operand_of(r, id, 1);
    Operand& operand = side == 0 ? lhs : rhs;
    if (r.facts.is_weight(operand.x)) continue;
    const auto found = scaled(r, operand.x);
    if (!found) continue;
    const double factor = *r.facts.splat(found->factor);
    operand.x = found->x;
    const NodeId dot = dot_of(b, std::move(lhs), std::move(rhs), b.dtype(id));
    return b.mul(dot, b.like(dot, factor));
  }
  return std::nullopt;
}

constexpr Rule kRules[] = {
    {"scale_after_dot", scale_after_dot},
    {"pad_of_conv", pad_of_conv},
    {"pad_of_window", pad_of_window},
    {"tiles_are_a_dot", tiles_are_a_dot},
    {"phases_of_transposed_conv", phases_of_transposed_conv},
    {"drop_unit_axes", drop_unit_axes},
    {"reshape_after_dot", reshape_after_dot},
    {"split_batch", split_batch},
};

}  // namespace

Graph contractions(Graph graph, const OptimizeOptions&) {
  return rewrite(std::move(graph), kRules);
}

}  // namespace onrush
