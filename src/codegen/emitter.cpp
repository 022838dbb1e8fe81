#include "codegen/emitter.h"

#include <algorithm>

#include "base/check.h"
#include "base/numeric.h"

namespace onrush {

// --- Domain

Domain::Domain(std::vector<Part> parts) : parts_(std::move(parts)) {
  for (const Part& part : parts_)
    extents_.push_back(is_one(part.extent) ? std::vector<Dim>{} : std::vector<Dim>{part.extent});
  number();
}

void Domain::number() {
  axes_.clear();
  coordinates_.clear();
  for (size_t p = 0; p < parts_.size(); ++p) {
    Coordinate c;
    const Dims strides = row_major_strides(extents_[p]);
    for (size_t i = 0; i < extents_[p].size(); ++i) {
      c.affine.terms.emplace_back(static_cast<int>(axes_.size()), strides[i]);
      axes_.push_back({extents_[p][i], parts_[p].reduce});
    }
    coordinates_.push_back(std::move(c));
  }
  internal_check(axes_.size() <= 64, "a kernel has at most 64 axes");
}

int Domain::axis_count(size_t begin, size_t end) const {
  size_t count = 0;
  for (size_t p = begin; p < end; ++p) count += extents_[p].size();
  return static_cast<int>(count);
}

bool Domain::split(int axis, Dim inner) {
  size_t first = 0;
  for (auto& extents : extents_) {
    const size_t position = static_cast<size_t>(axis) - first;
    first += extents.size();
    if (static_cast<size_t>(axis) >= first) continue;
    const auto outer = exact_quotient(extents[position], inner);
    if (!outer || is_one(*outer) || is_one(inner)) return false;
    extents[position] = *outer;
    extents.insert(extents.begin() + static_cast<std::ptrdiff_t>(position) + 1, inner);
    number();
    return true;
  }
  return false;
}

// --- Emitter: values

Emitter::Emitter(const Schedule& schedule, const Group& group, const Domain& domain)
    : graph_(schedule.graph), schedule_(schedule), group_(group) {
  loops_.axes = domain.axes();
}

uint64_t Emitter::axes_of(const Affine& affine) const {
  uint64_t mask = 0;
  for (const auto& [axis, stride] : affine.terms) mask |= uint64_t{1} << axis;
  return mask;
}

uint64_t Emitter::axes_of(const decltype(LoopValue::data)& data) const {
  const auto of = [&](ValueId v) { return loops_.body[static_cast<size_t>(v)].axes; };
  uint64_t mask = 0;
  const auto add_bounds = [&](const std::vector<Bound>& bounds) {
    for (const Bound& bound : bounds) mask |= axes_of(bound.index);
  };
  if (const auto* v = std::get_if<IndexValue>(&data)) mask = axes_of(v->index);
  if (const auto* v = std::get_if<BoundsValue>(&data)) add_bounds(v->bounds);
  if (const auto* v = std::get_if<ConvertValue>(&data)) mask = of(v->operand);
  if (const auto* v = std::get_if<OpValue>(&data))
    for (ValueId operand : v->operands) mask |= of(operand);
  if (const auto* v = std::get_if<LoadValue>(&data)) {
    mask = axes_of(v->address);
    for (const DynamicTerm& term : v->dynamic) mask |= of(term.value);
    add_bounds(v->bounds);
  }
  if (const auto* v = std::get_if<ReduceValue>(&data)) mask = of(v->operand);
  const bool drops = std::holds_alternative<ReduceValue>(data);
  for (size_t i = 0; drops && i < loops_.axes.size(); ++i)
    if (loops_.axes[i].reduce) mask &= ~(uint64_t{1} << i);
  if (std::holds_alternative<AccumulatorValue>(data))
    mask = (loops_.axes.size() == 64 ? 0 : uint64_t{1} << loops_.axes.size()) - 1;
  return mask;
}

ValueId Emitter::append(decltype(LoopValue::data) data, DType dtype) {
  const uint64_t axes = axes_of(data);
  loops_.body.push_back({std::move(data), dtype, axes});
  return static_cast<ValueId>(loops_.body.size()) - 1;
}

ValueId Emitter::constant(DType dtype, double f, int64_t i) {
  return append(ConstantValue{f, i}, dtype);
}

ValueId Emitter::op(Op op, std::vector<ValueId> operands, DType dtype) {
  return append(OpValue{op, std::move(operands)}, dtype);
}

ValueId Emitter::index(const Coordinate& c) {
  if (c.affine.terms.empty() && same(c.affine.offset, 0) && c.dynamic.size() == 1 &&
      same(c.dynamic[0].second, 1))
    return c.dynamic[0].first;
  ValueId sum = append(IndexValue{c.affine}, DType::i64);
  for (const auto& [value, stride] : c.dynamic) {
    const ValueId size = append(SizeValue{stride}, DType::i64);
    sum = op(Op::add, {sum, op(Op::mul, {value, size}, DType::i64)}, DType::i64);
  }
  return sum;
}

void Emitter::define(NodeId node, const Coordinates& at, ValueId value) {
  std::string key = fmt::format("{}@{}", node.index, "");
  append_key(key, at);
  values_[key] = value;
}

ValueId Emitter::value(NodeId node, const Coordinates& at) {
  std::string key = fmt::format("{}@", node.index);
  append_key(key, at);
  // What was defined outside of all bounds holds inside as well.
  if (const auto found = values_.find(key); found != values_.end()) return found->second;
  key.insert(key.find('@'), contexts_.back().key);
  if (const auto found = values_.find(key); found != values_.end()) return found->second;
  return values_[key] = compute(node, at);
}

bool Emitter::is_buffer(NodeId id) const {
  const Node& node = graph_[id];
  if (node.op == Op::constant) return node.as<ConstantAttr>().tensor.count() != 1;
  if (node.op == Op::dims) return node.as<DimsAttr>().elements.size() != 1;
  if (node.op == Op::input) return true;
  const int home = schedule_.home[id.index];
  return schedule_.materialised[id.index] &&
         (home < 0 || &schedule_.groups[static_cast<size_t>(home)] != &group_);
}

ValueId Emitter::compute(NodeId id, const Coordinates& at) {
  const Node& node = graph_[id];
  if (is_buffer(id)) return load(id, graph_.shape(id), at);
  const DType dtype = graph_.dtype(id);
  switch (class_of(node.op)) {
    case OpClass::source:
      if (node.op == Op::constant) {
        const Tensor& t = node.as<ConstantAttr>().tensor;
        return is_float(dtype) ? constant(dtype, load_f64(dtype, t.data(), 0), 0)
                               : constant(dtype, 0, load_i64(dtype, t.data(), 0));
      }
      if (node.op == Op::dims) return append(SizeValue{node.as<DimsAttr>().elements[0]}, dtype);
      if (node.op == Op::iota) {
        const ValueId i = index(at[static_cast<size_t>(node.as<IotaAttr>().axis)]);
        return dtype == DType::i64 ? i : append(ConvertValue{i, true}, dtype);
      }
      break;
    case OpClass::cast:
      if (node.op == Op::cast)
        return append(ConvertValue{value(node.inputs[0], at), node.as<CastAttr>().saturate}, dtype);
      break;
    case OpClass::unary:
    case OpClass::predicate:
    case OpClass::binary:
    case OpClass::comparison:
    case OpClass::select: {
      std::vector<ValueId> operands;
      for (NodeId operand : node.inputs) operands.push_back(value(operand, at));
      return op(node.op, std::move(operands), dtype);
    }
    case OpClass::movement: return movement(node, at);
    case OpClass::reduction:
      if (reductions_.contains(id.index)) return reduction(id, at);
      break;
    case OpClass::indexed:
      if (node.op == Op::gather) return gather(node, at);
      break;
    default: break;
  }
  internal_error(fmt::format("%{} {} cannot be computed inside a kernel", id.index, name(node.op)));
}

// --- movement

ValueId Emitter::movement(const Node& node, const Coordinates& at) {
  const NodeId x = node.inputs[0];
  switch (node.op) {
    case Op::reshape: {
      const Dims& from = std::get<TensorType>(node.type).shape;
      if (is_buffer(x)) return load(x, from, at);  // the same elements in the same order
      return value(x, reshape(at, from, graph_.shape(x)));
    }
    case Op::transpose: {
      Coordinates source(at.size());
      const Axes& permutation = node.as<TransposeAttr>().permutation;
      for (size_t i = 0; i < at.size(); ++i) source[static_cast<size_t>(permutation[i])] = at[i];
      return value(x, source);
    }
    case Op::broadcast: {
      Coordinates source = at;
      for (size_t i = 0; i < at.size(); ++i)
        if (is_one(graph_.shape(x)[i])) source[i] = constant_coordinate(0);
      return value(x, source);
    }
    case Op::slice: {
      Coordinates source;
      const auto& attr = node.as<SliceAttr>();
      for (size_t i = 0; i < at.size(); ++i)
        source.push_back(at[i] * attr.step[i] + constant_coordinate(attr.start[i]));
      return value(x, source);
    }
    case Op::pad: return pad(node, at);
    case Op::concat: return concat(node, at);
    default: internal_error("unknown movement");
  }
}

Emitter::Bounded Emitter::bounded(const std::vector<Bound>& bounds, ConstantValue fill, NodeId node,
                                  const Coordinates& at) {
  if (bounds.empty()) return {value(node, at), true};
  Context context = contexts_.back();
  context.bounds.insert(context.bounds.end(), bounds.begin(), bounds.end());
  context.fill = fill;
  context.key = fmt::format("#{}", ++context_count_);
  const size_t depth = context.bounds.size();
  contexts_.push_back(std::move(context));
  const ValueId v = value(node, at);
  contexts_.pop_back();
  // A load that was made here, or under further bounds that fill with the same.
  const auto* load = std::get_if<LoadValue>(&loops_.body[static_cast<size_t>(v)].data);
  return {v,
          load && load->bounds.size() >= depth && load->fill.f == fill.f && load->fill.i == fill.i};
}

ValueId Emitter::select_within(const std::vector<Bound>& bounds, ValueId inside, ValueId outside) {
  const DType dtype = loops_.body[static_cast<size_t>(inside)].dtype;
  return op(Op::select, {append(BoundsValue{bounds}, DType::boolean), inside, outside}, dtype);
}

ValueId Emitter::value_within(const std::vector<Bound>& bounds, ConstantValue fill, NodeId node,
                              const Coordinates& at) {
  const Bounded inside = bounded(bounds, fill, node, at);
  if (inside.filled) return inside.value;
  return select_within(bounds, inside.value, constant(graph_.dtype(node), fill.f, fill.i));
}

namespace {
std::optional<ConstantValue> constant_value(const Loops& loops, ValueId id) {
  const auto* constant = std::get_if<ConstantValue>(&loops.body[static_cast<size_t>(id)].data);
  return constant ? std::optional(*constant) : std::nullopt;
}
}  // namespace

ValueId Emitter::pad(const Node& node, const Coordinates& at) {
  const auto& attr = node.as<PadAttr>();
  const NodeId x = node.inputs[0];
  const DType dtype = graph_.dtype(x);
  const ValueId outside = value(node.inputs[1], {});
  Coordinates source;
  std::vector<Bound> bounds;
  ValueId mask = -1;  // of coordinates that are not affine
  for (size_t i = 0; i < at.size(); ++i) {
    Coordinate c = at[i] + constant_coordinate(Dim(0) - attr.low[i]);
    const Dim extent = graph_.shape(x)[i];
    const bool padded = !same(attr.low[i], 0) || !same(attr.high[i], 0);
    if (padded && c.is_affine()) bounds.push_back({c.affine, extent});
    if (padded && !c.is_affine()) {
      const ValueId position = index(c);
      const ValueId zero = constant(DType::i64, 0, 0);
      const ValueId last = append(SizeValue{extent - 1}, DType::i64);
      ValueId inside = op(Op::bit_and,
                          {op(Op::less_equal, {zero, position}, DType::boolean),
                           op(Op::less_equal, {position, last}, DType::boolean)},
                          DType::boolean);
      mask = mask < 0 ? inside : op(Op::bit_and, {mask, inside}, DType::boolean);
      const ValueId clamped =
          op(Op::max, {op(Op::min, {position, last}, DType::i64), zero}, DType::i64);
      c = {{}, {{clamped, Dim(1)}}};
      // Of an axis without elements even the clamped position is outside.
      if (prove(less(0, extent)) != true) bounds.push_back({{}, extent});
    }
    source.push_back(std::move(c));
  }
  const auto fill = constant_value(loops_, outside);
  const Bounded inside = bounded(bounds, fill.value_or(ConstantValue{0, 0}), x, source);
  const bool filled = bounds.empty() || (fill && inside.filled);
  ValueId result = filled ? inside.value : select_within(bounds, inside.value, outside);
  if (mask >= 0) result = op(Op::select, {mask, result, outside}, dtype);
  return result;
}

ValueId Emitter::concat(const Node& node, const Coordinates& at) {
  const auto axis = static_cast<size_t>(node.as<ConcatAttr>().axis);
  Dim start = 0;
  ValueId result = -1;
  for (NodeId part : node.inputs) {
    const Dim extent = graph_.shape(part)[axis];
    Coordinates source = at;
    source[axis] = source[axis] + constant_coordinate(Dim(0) - start);
    internal_check(source[axis].is_affine(),
                   "a concatenation inside a kernel is at affine coordinates");
    const std::vector<Bound> bounds = {{source[axis].affine, extent}};
    const ValueId inside = bounded(bounds, {0, 0}, part, source).value;
    result = result < 0 ? inside : select_within(bounds, inside, result);
    start = start + extent;
  }
  return result;
}

ValueId Emitter::gather(const Node& node, const Coordinates& at) {
  const NodeId data = node.inputs[0];
  const std::vector<int>& source = node.as<IndexAttr>().source;
  Coordinates coordinates;
  for (size_t axis = 0; axis < source.size(); ++axis) {
    if (source[axis] >= 0) {
      coordinates.push_back(at[static_cast<size_t>(source[axis])]);
      continue;
    }
    const NodeId indices = node.inputs[static_cast<size_t>(~source[axis]) + 1];
    ValueId v = value(indices, at);
    if (graph_.dtype(indices) != DType::i64) v = append(ConvertValue{v, true}, DType::i64);
    coordinates.push_back({{}, {{v, Dim(1)}}});
  }
  return value(data, coordinates);
}

// --- coordinates

Coordinate Emitter::divided(Op op_, const Coordinate& a, Dim divisor) {
  // A whole axis divides evenly once it is split; ask for that and go on with run-time arithmetic.
  if (a.is_affine() && a.affine.terms.size() == 1 && same(a.affine.terms[0].second, 1) &&
      same(a.affine.offset, 0))
    splits_.push_back({a.affine.terms[0].first, divisor});
  const ValueId size = append(SizeValue{divisor}, DType::i64);
  return {{}, {{op(op_, {index(a), size}, DType::i64), Dim(1)}}};
}

Coordinate Emitter::quotient(const Coordinate& a, Dim divisor) {
  if (is_one(divisor)) return a;
  if (a.is_affine())
    if (auto division = divide(a.affine, divisor, loops_.axes)) return {division->quotient, {}};
  return divided(Op::div, a, divisor);
}

Coordinate Emitter::remainder(const Coordinate& a, Dim divisor) {
  if (is_one(divisor)) return constant_coordinate(0);
  if (a.is_affine())
    if (auto division = divide(a.affine, divisor, loops_.axes)) return {division->remainder, {}};
  return divided(Op::mod, a, divisor);
}

Coordinates Emitter::reshape(const Coordinates& at, const Dims& from, const Dims& to) {
  Coordinates result(to.size());
  for (const ReshapeSegment& s : reshape_segments(from, to)) {
    Coordinate linear;
    Dim stride = 1;
    for (size_t i = s.from_end; i-- > s.from_begin;) {
      linear = linear + at[i] * stride;
      stride = stride * from[i];
    }
    Dim inner = 1;
    for (size_t j = s.to_end; j-- > s.to_begin;) {
      const Coordinate outer = quotient(linear, inner);
      result[j] = j == s.to_begin ? outer : remainder(outer, to[j]);
      inner = inner * to[j];
    }
  }
  return result;
}

// --- memory

int Emitter::buffer(NodeId node) {
  if (const auto& inside = schedule_.inside[node.index]) node = inside->whole;
  const auto [entry, is_new] =
      buffers_.try_emplace(node.index, static_cast<int>(loops_.buffers.size()));
  if (is_new) loops_.buffers.push_back({graph_.dtype(node), node});
  return entry->second;
}

Emitter::Layout Emitter::layout(NodeId node, const Dims& shape) const {
  const auto& inside = schedule_.inside[node.index];
  if (!inside) return {row_major_strides(shape), 0};
  const Dims of_whole = row_major_strides(graph_.shape(inside->whole));
  const Dim offset = inside->start * of_whole[static_cast<size_t>(inside->axis)];
  return {inside->dense ? row_major_strides(shape) : of_whole, offset};
}

ValueId Emitter::load(NodeId node, const Dims& shape, const Coordinates& at) {
  const auto& inside = schedule_.inside[node.index];
  if (inside && !inside->dense && !same(shape, graph_.shape(node)))
    return load(node, graph_.shape(node), reshape(at, shape, graph_.shape(node)));
  const auto [strides, offset] = layout(node, shape);
  LoadValue load{buffer(node), {offset, {}}, {}, contexts_.back().bounds, contexts_.back().fill};
  for (size_t i = 0; i < shape.size(); ++i) {
    if (at[i].is_affine()) load.address = load.address + at[i].affine * strides[i];
    else load.dynamic.push_back({index(at[i]), strides[i], shape[i]});
  }
  return append(std::move(load), graph_.dtype(node));
}

void Emitter::store(NodeId node, const Coordinates& at) {
  const auto [strides, offset] = layout(node, graph_.shape(node));
  Affine address{offset, {}};
  for (size_t i = 0; i < at.size(); ++i) {
    if (!at[i].is_affine()) return void(incomplete_ = true);
    address = address + at[i].affine * strides[i];
  }
  const ValueId stored = value(node, at);
  loops_.stores.push_back({buffer(node), std::move(address), stored});
}

ValueId Emitter::reduction(NodeId id, const Coordinates& at) {
  const Node& node = graph_[id];
  const Coordinates& source = reductions_.at(id.index);
  const Dims& shape = graph_.shape(id);
  for (size_t i = 0; i < at.size(); ++i)
    internal_check(is_one(shape[i]) || same(Coordinates{at[i]}, Coordinates{source[i]}) ||
                       node.op == Op::window,
                   "a reduction is read at the coordinates of its kernel");
  const bool window = node.op == Op::window;
  const ReduceKind kind = window ? node.as<WindowAttr>().kind : node.as<ReduceAttr>().kind;
  ReduceValue reduce{
      kind, value(node.inputs[0], source), !window && node.as<ReduceAttr>().last, {}};
  if (!window && (kind == ReduceKind::argmax || kind == ReduceKind::argmin))
    reduce.position = source[static_cast<size_t>(node.as<ReduceAttr>().axes[0])].affine;
  return append(std::move(reduce), graph_.dtype(id));
}

}  // namespace onrush
