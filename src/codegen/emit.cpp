#include "codegen/emit.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "base/check.h"
#include "codegen/emitter.h"

namespace onrush {
namespace {

using Part = Domain::Part;

// Builds the kernel, and again over finer axes as long as a reshape asks for a split.
Loops with_splits(Domain& domain, const Schedule& schedule, const Group& group,
                  const std::function<void(Emitter&)>& build) {
  while (true) {
    Emitter emitter(schedule, group, domain);
    build(emitter);
    bool split = false;
    for (const SplitRequest& request : emitter.splits())
      if (!split) split = domain.split(request.axis, request.inner);
    if (split) continue;
    internal_check(!emitter.incomplete(), "results are stored at affine coordinates");
    return emitter.finish();
  }
}

std::vector<Part> parts_of(const Dims& shape) {
  std::vector<Part> parts;
  for (Dim dim : shape) parts.push_back({dim});
  return parts;
}

Loops emit_pointwise(const Schedule& schedule, const Group& group) {
  Domain domain(parts_of(schedule.graph.shape(group.outputs[0])));
  return with_splits(domain, schedule, group, [&](Emitter& e) {
    for (NodeId output : group.outputs) e.store(output, domain.coordinates());
  });
}

Loops emit_reduction(const Schedule& schedule, const Group& group) {
  const Graph& graph = schedule.graph;
  const Node& anchor = graph[group.anchor];
  std::vector<Part> parts = parts_of(graph.shape(anchor.inputs[0]));
  for (int axis : anchor.as<ReduceAttr>().axes) parts[static_cast<size_t>(axis)].reduce = true;
  Domain domain(parts);
  return with_splits(domain, schedule, group, [&](Emitter& e) {
    for (NodeId member : group.members)
      if (graph[member].op == Op::reduce) e.define_reduction(member, domain.coordinates());
    for (NodeId output : group.outputs) {
      Coordinates at = domain.coordinates();
      for (size_t i = 0; i < at.size(); ++i)
        if (is_one(graph.shape(output)[i])) at[i] = constant_coordinate(0);
      e.store(output, at);
    }
  });
}

// What padding contributes: nothing.
ConstantValue identity(ReduceKind kind, DType dtype) {
  if (kind == ReduceKind::sum) return {0, 0};
  internal_check(kind == ReduceKind::max || kind == ReduceKind::argmax,
                 "windows sum or take the maximum");
  const int width = bits(dtype);
  const bool is_signed = is_signed_integer(dtype);
  const int64_t lowest = !is_signed    ? 0
                         : width == 64 ? std::numeric_limits<int64_t>::min()
                                       : -(int64_t{1} << (width - 1));
  return {-std::numeric_limits<double>::infinity(), lowest};
}

Loops emit_window(const Schedule& schedule, const Group& group) {
  const Graph& graph = schedule.graph;
  const Node& anchor = graph[group.anchor];
  const auto& attr = anchor.as<WindowAttr>();
  const NodeId x = anchor.inputs[0];
  const size_t rank = attr.size.size();
  std::vector<Part> parts = parts_of(graph.shape(group.anchor));
  for (int64_t size : attr.size) parts.push_back({Dim(size), true});
  Domain domain(parts);
  return with_splits(domain, schedule, group, [&](Emitter& e) {
    Coordinates source, out;
    std::vector<Bound> bounds;
    Coordinate position;  // within the window
    for (size_t i = 0; i < rank; ++i) {
      out.push_back(domain.coordinates()[i]);
      const Coordinate& step = domain.coordinates()[rank + i];
      position = position * attr.size[i] + step;
      source.push_back(out[i] * attr.stride[i] + step * attr.dilation[i] +
                       constant_coordinate(Dim(0) - attr.low[i]));
      if (!is_zero(attr.low[i]) || !is_zero(attr.high[i]))
        bounds.push_back({source[i].affine, graph.shape(x)[i]});
    }
    const DType dtype = graph.dtype(x);
    const ValueId v = e.value_within(bounds, identity(attr.kind, dtype), x, source);
    e.define(
        group.anchor, out,
        e.append(ReduceValue{attr.kind, v, false, position.affine}, graph.dtype(group.anchor)));
    for (NodeId output : group.outputs) e.store(output, out);
  });
}

Loops emit_concat_part(const Schedule& schedule, const Group& group, NodeId part, Dim start) {
  const Graph& graph = schedule.graph;
  const auto axis = static_cast<size_t>(graph[group.anchor].as<ConcatAttr>().axis);
  Domain domain(parts_of(graph.shape(part)));
  return with_splits(domain, schedule, group, [&](Emitter& e) {
    const Dims strides = row_major_strides(graph.shape(group.anchor));
    Affine address;
    for (size_t i = 0; i < strides.size(); ++i)
      address = address + domain.coordinates()[i].affine * strides[i];
    address.offset = address.offset + start * strides[axis];
    const ValueId v = e.value(part, domain.coordinates());
    e.store_to(e.buffer(group.anchor), std::move(address), v);
  });
}

// --- contractions

struct ContractionSpace {
  std::vector<Part> parts;  // batch, m, n, k
  size_t batch = 0, m = 0, n = 0, k = 0;
  size_t m_begin() const { return batch; }
  size_t n_begin() const { return batch + m; }
  size_t k_begin() const { return batch + m + n; }
};

bool contains(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

Axes free_axes(int rank, const Axes& batch, const Axes& contract) {
  Axes axes;
  for (int i = 0; i < rank; ++i)
    if (!contains(batch, i) && !contains(contract, i)) axes.push_back(i);
  return axes;
}

// How one kind of contraction maps its space to its operands and its result.
class ContractionShape {
 public:
  virtual ~ContractionShape() = default;
  ContractionSpace space;
  virtual ValueId lhs(Emitter& e, const Coordinates& at) const = 0;
  virtual ValueId rhs(Emitter& e, const Coordinates& at) const = 0;
  virtual Coordinates result(const Coordinates& at) const = 0;
};

class DotShape final : public ContractionShape {
 public:
  DotShape(const Graph& graph, NodeId id) : node_(graph[id]), attr_(node_.as<DotAttr>()) {
    const Dims& l = graph.shape(node_.inputs[0]);
    const Dims& r = graph.shape(node_.inputs[1]);
    lhs_free_ = free_axes(static_cast<int>(l.size()), attr_.lhs_batch, attr_.lhs_contract);
    rhs_free_ = free_axes(static_cast<int>(r.size()), attr_.rhs_batch, attr_.rhs_contract);
    add(attr_.lhs_batch, l), add(lhs_free_, l), add(rhs_free_, r), add(attr_.lhs_contract, l);
    space.batch = attr_.lhs_batch.size(), space.m = lhs_free_.size();
    space.n = rhs_free_.size(), space.k = attr_.lhs_contract.size();
  }
  ValueId lhs(Emitter& e, const Coordinates& at) const override {
    return e.value(node_.inputs[0],
                   operand(at, attr_.lhs_batch, lhs_free_, space.m_begin(), attr_.lhs_contract));
  }
  ValueId rhs(Emitter& e, const Coordinates& at) const override {
    return e.value(node_.inputs[1],
                   operand(at, attr_.rhs_batch, rhs_free_, space.n_begin(), attr_.rhs_contract));
  }
  Coordinates result(const Coordinates& at) const override {
    return {at.begin(), at.begin() + static_cast<std::ptrdiff_t>(space.k_begin())};
  }

 private:
  void add(const Axes& axes, const Dims& shape) {
    for (int axis : axes) space.parts.push_back({shape[static_cast<size_t>(axis)]});
  }
  Coordinates operand(const Coordinates& at, const Axes& batch, const Axes& free, size_t free_begin,
                      const Axes& contract) const {
    Coordinates c(batch.size() + free.size() + contract.size());
    for (size_t i = 0; i < batch.size(); ++i) c[static_cast<size_t>(batch[i])] = at[i];
    for (size_t i = 0; i < free.size(); ++i) c[static_cast<size_t>(free[i])] = at[free_begin + i];
    for (size_t i = 0; i < contract.size(); ++i)
      c[static_cast<size_t>(contract[i])] = at[space.k_begin() + i];
    return c;
  }
  const Node& node_;
  const DotAttr& attr_;
  Axes lhs_free_, rhs_free_;
};

class ConvShape final : public ContractionShape {
 public:
  ConvShape(const Schedule& schedule, NodeId id)
      : graph_(schedule.graph),
        node_(graph_[id]),
        attr_(node_.as<ConvAttr>()),
        spatial_(attr_.stride.size()) {
    const Graph& graph = graph_;
    const Dims& out = graph.shape(id);
    const Dims& w = graph.shape(node_.inputs[1]);
    if (attr_.groups > 1) space.parts.push_back({Dim(attr_.groups)});
    for (size_t i = 0; i <= spatial_; ++i) space.parts.push_back({out[i]});
    const auto per_group = exact_quotient(out.back(), attr_.groups);
    internal_check(per_group.has_value(), "output channels divide by the groups");
    out_channels_ = *per_group;
    space.parts.push_back({out_channels_});
    // The innermost part of k is what lies side by side in the image: the channels, or the last
    // spatial axis of one that is read channels-first.
    for (size_t i = 0; i <= spatial_; ++i) k_part_.push_back(i);
    if (reads_channels_first(schedule)) std::swap(k_part_[spatial_ - 1], k_part_[spatial_]);
    for (size_t i = 0; i <= spatial_; ++i) space.parts.push_back({w[1 + k_part_[i]]});
    space.batch = attr_.groups > 1 ? 1 : 0, space.m = spatial_ + 1, space.n = 1,
    space.k = spatial_ + 1;
  }

  ValueId lhs(Emitter& e, const Coordinates& at) const override {
    const NodeId x = node_.inputs[0];
    Coordinates source = {at[space.m_begin()]};
    std::vector<Bound> bounds;
    ValueId mask = -1;
    for (size_t i = 0; i < spatial_; ++i) {
      const Dim extent = graph_.shape(x)[i + 1];
      Coordinate c = at[space.m_begin() + 1 + i] * attr_.stride[i] + k(at, i) * attr_.dilation[i] +
                     constant_coordinate(Dim(0) - attr_.low[i]);
      if (attr_.input_dilation[i] != 1) c = undilate(e, c, attr_.input_dilation[i], extent, mask);
      else if (!is_zero(attr_.low[i]) || !is_zero(attr_.high[i]))
        bounds.push_back({c.affine, extent});
      source.push_back(std::move(c));
    }
    const Dim channels = graph_.shape(node_.inputs[1]).back();
    source.push_back(group(at) * channels + k(at, spatial_));
    ValueId v = e.value_within(bounds, {0, 0}, x, source);
    const DType dtype = graph_.dtype(x);
    if (mask >= 0) v = e.op(Op::select, {mask, v, e.constant(dtype, 0, 0)}, dtype);
    return v;
  }

  ValueId rhs(Emitter& e, const Coordinates& at) const override {
    Coordinates source = {group(at) * out_channels_ + at[space.n_begin()]};
    for (size_t i = 0; i <= spatial_; ++i) source.push_back(k(at, i));
    return e.value(node_.inputs[1], source);
  }

  Coordinates result(const Coordinates& at) const override {
    Coordinates c;
    for (size_t i = 0; i <= spatial_; ++i) c.push_back(at[space.m_begin() + i]);
    c.push_back(group(at) * out_channels_ + at[space.n_begin()]);
    return c;
  }

 private:
  bool reads_channels_first(const Schedule& schedule) const {
    const NodeId x = node_.inputs[0];
    if (schedule.materialised[x.index] || graph_[x].op != Op::transpose) return false;
    const Axes& permutation = graph_[x].as<TransposeAttr>().permutation;
    return permutation[spatial_] == static_cast<int>(spatial_) + 1;
  }
  // Along spatial axis i of the window, or its channels.
  const Coordinate& k(const Coordinates& at, size_t i) const {
    return at[space.k_begin() + k_part_[i]];
  }
  Coordinate group(const Coordinates& at) const {
    return space.batch ? at[0] : constant_coordinate(0);
  }

  // The element of x at `position` among inserted zeros; `mask` becomes false between elements.
  Coordinate undilate(Emitter& e, const Coordinate& position, int64_t dilation, Dim extent,
                      ValueId& mask) const {
    const auto number = [&](Dim value) { return e.append(SizeValue{value}, DType::i64); };
    const ValueId p = e.index(position);
    const ValueId zero = e.constant(DType::i64, 0, 0);
    const ValueId step = e.constant(DType::i64, 0, dilation);
    const ValueId whole =
        e.op(Op::equal, {e.op(Op::mod, {p, step}, DType::i64), zero}, DType::boolean);
    const ValueId low = e.op(Op::less_equal, {zero, p}, DType::boolean);
    const ValueId high = e.op(Op::less, {p, number(extent * dilation)}, DType::boolean);
    const ValueId inside =
        e.op(Op::bit_and, {whole, e.op(Op::bit_and, {low, high}, DType::boolean)}, DType::boolean);
    mask = mask < 0 ? inside : e.op(Op::bit_and, {mask, inside}, DType::boolean);
    const ValueId q = e.op(Op::div, {p, step}, DType::i64);
    const ValueId last = number(extent - 1);
    const ValueId clamped = e.op(Op::max, {e.op(Op::min, {q, last}, DType::i64), zero}, DType::i64);
    return {{}, {{clamped, Dim(1)}}};
  }

  const Graph& graph_;
  const Node& node_;
  const ConvAttr& attr_;
  size_t spatial_;
  std::vector<size_t> k_part_;  // by spatial axis, then channels: its own inverse
  Dim out_channels_;
};

// Coordinates of a member's result, from the contraction's own through what follows it.
class ForwardCoordinates {
 public:
  ForwardCoordinates(Emitter& e, const Schedule& schedule, const Group& group, Coordinates anchor)
      : e_(e), schedule_(schedule), group_(group), anchor_(std::move(anchor)) {}

  Coordinates of(NodeId id) const {
    const Graph& graph = schedule_.graph;
    if (id == group_.anchor) return anchor_;
    const Node& node = graph[id];
    for (NodeId operand : node.inputs) {
      if (!leads_here(operand)) continue;
      const Coordinates from = of(operand);
      if (node.op == Op::reshape) return e_.reshape(from, graph.shape(operand), graph.shape(id));
      if (node.op != Op::transpose) return from;
      Coordinates to;
      for (int axis : node.as<TransposeAttr>().permutation)
        to.push_back(from[static_cast<size_t>(axis)]);
      return to;
    }
    internal_error("a member of a contraction's group depends on it");
  }

 private:
  bool leads_here(NodeId id) const {
    const int home = schedule_.home[id.index];
    if (home >= 0) return &schedule_.groups[static_cast<size_t>(home)] == &group_;
    const Node& node = schedule_.graph[id];
    return (node.op == Op::reshape || node.op == Op::transpose) && leads_here(node.inputs[0]);
  }
  Emitter& e_;
  const Schedule& schedule_;
  const Group& group_;
  Coordinates anchor_;
};

}  // namespace

std::vector<Loops> emit_loops(const Schedule& schedule, const Group& group) {
  switch (group.kind) {
    case Group::Kind::pointwise: return {emit_pointwise(schedule, group)};
    case Group::Kind::reduction: return {emit_reduction(schedule, group)};
    case Group::Kind::window: return {emit_window(schedule, group)};
    case Group::Kind::concat: {
      std::vector<Loops> parts;
      Dim start = 0;
      const auto axis = static_cast<size_t>(schedule.graph[group.anchor].as<ConcatAttr>().axis);
      for (NodeId part : schedule.graph[group.anchor].inputs) {
        const auto& inside = schedule.inside[part.index];
        if (!inside || inside->whole != group.anchor)
          parts.push_back(emit_concat_part(schedule, group, part, start));
        start = start + schedule.graph.shape(part)[axis];
      }
      return parts;
    }
    default: internal_error("this group is not made of loops");
  }
}

Contraction emit_contraction(const Schedule& schedule, const Group& group) {
  const Graph& graph = schedule.graph;
  const Node& anchor = graph[group.anchor];
  std::unique_ptr<ContractionShape> shape;
  if (anchor.op == Op::dot) shape = std::make_unique<DotShape>(graph, group.anchor);
  else shape = std::make_unique<ConvShape>(schedule, group.anchor);
  const ContractionSpace& space = shape->space;
  Domain domain(space.parts);
  Contraction result;
  result.operand = graph.dtype(anchor.inputs[0]);
  result.rhs_operand = graph.dtype(anchor.inputs[1]);
  // A split asked for by one of the three kernels holds for all of them.
  size_t axes;
  do {
    axes = domain.axes().size();
    result.epilogue = with_splits(domain, schedule, group, [&](Emitter& e) {
      const Coordinates own = shape->result(domain.coordinates());
      e.define(group.anchor, own, e.append(AccumulatorValue{}, graph.dtype(group.anchor)));
      const ForwardCoordinates forward(e, schedule, group, own);
      for (NodeId output : group.outputs) e.store(output, forward.of(output));
    });
    const auto operand = [&](bool lhs) {
      return with_splits(domain, schedule, group, [&](Emitter& e) {
        const Coordinates& at = domain.coordinates();
        e.store_to(-1, {}, lhs ? shape->lhs(e, at) : shape->rhs(e, at));
      });
    };
    result.lhs = operand(true);
    result.rhs = operand(false);
  } while (domain.axes().size() != axes);
  result.batch_axes = domain.axis_count(0, space.m_begin());
  result.m_axes = domain.axis_count(space.m_begin(), space.n_begin());
  result.n_axes = domain.axis_count(space.n_begin(), space.k_begin());
  result.k_axes = domain.axis_count(space.k_begin(), space.parts.size());
  const DType out = graph.dtype(group.anchor);
  result.accumulator = out == DType::f16 || out == DType::bf16 ? DType::f32 : out;
  return result;
}

}  // namespace onrush
