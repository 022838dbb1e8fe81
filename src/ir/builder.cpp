#include "ir/builder.h"

#define XXH_INLINE_ALL  // of xxhash.h
#include <algorithm>
#include <array>
#include <numeric>
#include <xxhash.h>

#include "base/check.h"
#include "base/numeric.h"
#include "ir/fold_elements.h"
#include "ir/fold_floats.h"

namespace onrush {
namespace {

std::optional<Shape> constant_shape(const Dims& dims) {
  Shape shape;
  for (Dim dim : dims) {
    if (!dim.is_constant()) return std::nullopt;
    shape.push_back(dim.value());
  }
  return shape;
}

// Values at hand where every extent is known for all symbol values that meet the guards.
std::optional<Shape> small_constant_shape(const Dims& dims) {
  auto shape = constant_shape(dims);
  if (!shape) return std::nullopt;
  int64_t count = 1;
  for (int64_t extent : *shape) {
    if (extent > kMaxFoldedElements) return std::nullopt;
    count *= extent;
    if (count > kMaxFoldedElements) return std::nullopt;
  }
  return shape;
}

bool contains(const Axes& axes, int axis) {
  return std::find(axes.begin(), axes.end(), axis) != axes.end();
}

bool is_integral(DType dtype) { return is_integer(dtype) || dtype == DType::boolean; }

// What two extents become when the shorter is repeated; nothing if they do not fit.
std::optional<Dim> broadcast_extent(Dim x, Dim y) {
  const auto is_one = [](Dim d) { return d.is_constant() && d.value() == 1; };
  if (same(x, y) || is_one(y)) return x;
  if (is_one(x)) return y;
  if (x.value() == y.value() && decide(equal(x, y), "broadcasting")) return x.is_constant() ? x : y;
  if (x.value() == 1 && decide(equal(x, 1), "broadcasting")) return y;
  if (y.value() == 1 && decide(equal(y, 1), "broadcasting")) return x;
  return std::nullopt;
}

}  // namespace

Dims broadcast_shapes(const Dims& a, const Dims& b) {
  const size_t rank = std::max(a.size(), b.size());
  Dims result(rank);
  for (size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.size() < rank ? Dim(1) : a[i + a.size() - rank];
    const Dim y = i + b.size() < rank ? Dim(1) : b[i + b.size() - rank];
    const std::optional<Dim> extent = broadcast_extent(x, y);
    if (!extent)
      fail(ErrorCode::invalid_model, "shapes {} and {} cannot be broadcast together",
           to_string(std::span<const Dim>(a)), to_string(std::span<const Dim>(b)));
    result[i] = *extent;
  }
  return result;
}

Dim window_extent(Dim in, Dim low, Dim high, int64_t size, int64_t stride, int64_t dilation) {
  return floordiv(in + low + high - ((size - 1) * dilation + 1), stride) + 1;
}

Builder::Builder(Folder folder) : folder_(std::move(folder)) {}

Builder::Builder(const Graph& source, Folder folder) : folder_(std::move(folder)) {
  graph_.inputs = source.inputs;
  graph_.shapes = source.shapes;
  graph_.origin_names = source.origin_names;
  by_hash_.reserve(source.nodes.size());
}

Builder Builder::continuing(Graph graph, Folder folder) {
  Builder b(std::move(folder));
  b.graph_ = std::move(graph);
  return b;
}

Builder Builder::for_body() const {
  Builder body(folder_);
  body.graph_.shapes = graph_.shapes;
  body.graph_.origin_names = graph_.origin_names;
  body.origins_ = origins_;
  return body;
}

uint32_t Builder::add_origin(std::string name) {
  graph_.origin_names->push_back(std::move(name));
  return static_cast<uint32_t>(graph_.origin_names->size() - 1);
}

void Builder::add_origins(const Origins& origins) {
  for (NodeId id : made_) merge(graph_.nodes[id.index].origins, origins);
}

Builder::Hash Builder::hash_of(const Node& node) {
  const Op op = node.op;
  std::string& key = key_;
  key.assign(1, static_cast<char>(op));
  key.append(reinterpret_cast<const char*>(node.inputs.data()),
             node.inputs.size() * sizeof(NodeId));
  append_key(key, node.attr);
  if (op == Op::iota || op == Op::random_bits || op == Op::cast || op == Op::bitcast ||
      op == Op::dims || op == Op::dot || op == Op::conv) {
    const auto& tensor = std::get<TensorType>(node.type);
    key += name(tensor.dtype);
    for (Dim dim : tensor.shape) append_key(key, dim);
  }
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  return {hash.high64, hash.low64};
}

void Builder::hash_nodes() {
  by_hash_.reserve(graph_.nodes.size());
  for (; hashed_ < graph_.nodes.size(); ++hashed_)
    by_hash_.try_emplace(hash_of(graph_.nodes[hashed_]), NodeId{static_cast<uint32_t>(hashed_)});
}

NodeId Builder::add_node(Op op, std::vector<NodeId> inputs, Attr attr, Type type) {
  Node node{op, std::move(inputs), std::move(attr), std::move(type), origins_};
  if (const auto folded = fold(node)) return *folded;
  if (hashed_ < graph_.nodes.size()) hash_nodes();
  const NodeId id{static_cast<uint32_t>(graph_.nodes.size())};
  const auto [entry, is_new] = by_hash_.try_emplace(hash_of(node), id);
  if (is_new) graph_.nodes.push_back(std::move(node)), ++hashed_;
  else merge(graph_.nodes[entry->second.index].origins, origins_);
  made_.push_back(entry->second);
  return entry->second;
}

std::optional<NodeId> Builder::fold(const Node& node) {
  if (node.inputs.empty() || !std::holds_alternative<TensorType>(node.type)) return std::nullopt;
  const auto& type = std::get<TensorType>(node.type);
  const bool sized = std::ranges::all_of(type.shape, [](Dim d) { return d.is_constant(); });
  if (sized && std::ranges::any_of(type.shape, [](Dim d) { return d.value() == 0; }))
    return constant(Tensor(type.dtype, *constant_shape(type.shape)));
  const auto is_constant = [&](NodeId id) { return graph_[id].op == Op::constant; };
  if (std::ranges::all_of(node.inputs, is_constant)) {
    if (!folder_ || !sized) return std::nullopt;
    auto tensor = folder_(graph_, node);
    return tensor ? std::optional(constant(std::move(*tensor))) : std::nullopt;
  }
  if (!is_integral(type.dtype)) return std::nullopt;
  const auto shape = small_constant_shape(type.shape);
  if (!shape) return std::nullopt;
  if (node.op == Op::cast && is_float(dtype(node.inputs[0]))) {
    auto sizes = fold_float_cast(graph_, node, [this](NodeId id) { return elements(id); });
    return sizes ? std::optional(dims(type.dtype, std::move(*sizes), type.shape)) : std::nullopt;
  }
  std::vector<ElementTensor> operands;
  for (NodeId operand : node.inputs) {
    auto known = elements(operand);
    if (!known) return std::nullopt;
    operands.push_back({std::move(*known), *constant_shape(this->shape(operand))});
  }
  auto folded = fold_elements(node, operands, *shape);
  return folded ? std::optional(dims(type.dtype, std::move(*folded), type.shape)) : std::nullopt;
}

std::optional<Dims> Builder::elements(NodeId id) const {
  const Node& node = graph_[id];
  if (node.op == Op::dims) return node.as<DimsAttr>().elements;
  if (node.op != Op::constant) return std::nullopt;
  const Tensor& tensor = node.as<ConstantAttr>().tensor;
  if (!is_integral(tensor.dtype()) || tensor.count() > kMaxFoldedElements) return std::nullopt;
  Dims result;
  for (int64_t i = 0; i < tensor.count(); ++i)
    result.push_back(load_i64(tensor.dtype(), tensor.data(), i));
  return result;
}

const Tensor* Builder::constant_tensor(NodeId id) const {
  const auto* attr = std::get_if<ConstantAttr>(&graph_[id].attr);
  return attr ? &attr->tensor : nullptr;
}

// --- sources

NodeId Builder::input(std::string name, TensorType type) {
  graph_.inputs.push_back({std::move(name), std::move(type)});
  return input_at(static_cast<int>(graph_.inputs.size()) - 1);
}

NodeId Builder::input_at(int index) {
  return add_node(Op::input, {}, InputAttr{index}, graph_.inputs[static_cast<size_t>(index)].type);
}

NodeId Builder::constant(Tensor tensor) {
  TensorType type{tensor.dtype(), Dims(tensor.shape().begin(), tensor.shape().end())};
  return add_node(Op::constant, {}, ConstantAttr{std::move(tensor)}, std::move(type));
}

NodeId Builder::scalar(DType dtype, double value) {
  Tensor tensor(dtype, Shape{});
  std::fill_n(static_cast<uint8_t*>(tensor.data()), tensor.bytes(), uint8_t{0});
  store_f64(dtype, tensor.data(), 0, value);
  return constant(std::move(tensor));
}

NodeId Builder::scalar(DType dtype, int64_t value) {
  Tensor tensor(dtype, Shape{});
  std::fill_n(static_cast<uint8_t*>(tensor.data()), tensor.bytes(), uint8_t{0});
  store_i64(dtype, tensor.data(), 0, value);
  return constant(std::move(tensor));
}

NodeId Builder::dims(DType dtype, Dims elements, Dims shape) {
  const bool all_constant =
      std::all_of(elements.begin(), elements.end(), [](Dim d) { return d.is_constant(); });
  if (!all_constant)
    return add_node(Op::dims, {}, DimsAttr{std::move(elements)},
                    TensorType{dtype, std::move(shape)});
  Tensor tensor(dtype, *constant_shape(shape));
  std::fill_n(static_cast<uint8_t*>(tensor.data()), tensor.bytes(), uint8_t{0});
  for (size_t i = 0; i < elements.size(); ++i)
    store_i64(dtype, tensor.data(), static_cast<int64_t>(i), elements[i].value());
  return constant(std::move(tensor));
}

NodeId Builder::dims(Dims elements) {
  const Dim count = static_cast<int64_t>(elements.size());
  return dims(DType::i64, std::move(elements), {count});
}

NodeId Builder::iota(DType dtype, Dims shape, int axis) {
  return add_node(Op::iota, {}, IotaAttr{axis}, TensorType{dtype, std::move(shape)});
}

NodeId Builder::random_bits(Dims shape, RandomAttr attr) {
  return add_node(Op::random_bits, {}, attr, TensorType{DType::u32, std::move(shape)});
}

// --- elementwise

NodeId Builder::unary(Op op, NodeId x) {
  TensorType type = this->type(x);
  if (op == Op::is_nan) type.dtype = DType::boolean;
  return add_node(op, {x}, {}, std::move(type));
}

void Builder::broadcast_together(std::span<NodeId* const> operands) {
  const auto has_shape_of_first = [&](const NodeId* operand) {
    return same(this->shape(*operand), this->shape(*operands[0]));
  };
  if (std::ranges::all_of(operands, has_shape_of_first)) return;
  Dims shape = this->shape(*operands[0]);
  for (const NodeId* operand : operands.subspan(1))
    shape = broadcast_shapes(shape, this->shape(*operand));
  for (NodeId* operand : operands) *operand = broadcast(*operand, shape);
}

NodeId Builder::binary(Op op, NodeId a, NodeId b) {
  internal_check(dtype(a) == dtype(b), "binary operands have one dtype");
  broadcast_together(std::array{&a, &b});
  TensorType type = this->type(a);
  if (class_of(op) == OpClass::comparison) type.dtype = DType::boolean;
  return add_node(op, {a, b}, {}, std::move(type));
}

NodeId Builder::select(NodeId condition, NodeId a, NodeId b) {
  internal_check(dtype(condition) == DType::boolean && dtype(a) == dtype(b), "select dtypes");
  broadcast_together(std::array{&condition, &a, &b});
  if (a == b) return a;
  return add_node(Op::select, {condition, a, b}, {}, type(a));
}

NodeId Builder::cast(NodeId x, DType dtype, bool saturate) {
  if (this->dtype(x) == dtype) return x;
  return add_node(Op::cast, {x}, CastAttr{dtype, saturate}, TensorType{dtype, shape(x)});
}

NodeId Builder::bitcast(NodeId x, DType dtype) {
  if (this->dtype(x) == dtype) return x;
  internal_check(bits(this->dtype(x)) == bits(dtype), "bitcast keeps the element size");
  return add_node(Op::bitcast, {x}, CastAttr{dtype, false}, TensorType{dtype, shape(x)});
}

// --- movement

NodeId Builder::reshape(NodeId x, Dims shape) {
  if (node(x).op == Op::reshape) x = node(x).inputs[0];
  if (always_equal(this->shape(x), shape)) return x;
  const Dim from = product(this->shape(x));
  const Dim to = product(shape);
  if (!same(from, to) && !decide(onrush::equal(from, to), "reshape"))
    fail(ErrorCode::invalid_model, "cannot reshape {} to {}",
         to_string(std::span<const Dim>(this->shape(x))), to_string(std::span<const Dim>(shape)));
  TensorType type{dtype(x), shape};
  return add_node(Op::reshape, {x}, ReshapeAttr{std::move(shape)}, std::move(type));
}

NodeId Builder::transpose(NodeId x, Axes permutation) {
  internal_check(static_cast<int>(permutation.size()) == rank(x), "transpose rank");
  if (node(x).op == Op::transpose) {
    const Axes& inner = node(x).as<TransposeAttr>().permutation;
    for (int& axis : permutation) axis = inner[static_cast<size_t>(axis)];
    x = node(x).inputs[0];
  }
  if (std::is_sorted(permutation.begin(), permutation.end())) return x;
  Dims shape;
  for (int axis : permutation) shape.push_back(this->shape(x)[static_cast<size_t>(axis)]);
  TensorType type{dtype(x), std::move(shape)};
  return add_node(Op::transpose, {x}, TransposeAttr{std::move(permutation)}, std::move(type));
}

NodeId Builder::broadcast(NodeId x, Dims shape) {
  internal_check(rank(x) <= static_cast<int>(shape.size()), "broadcast rank");
  if (rank(x) < static_cast<int>(shape.size())) {
    Dims padded(shape.size() - this->shape(x).size(), Dim(1));
    padded.insert(padded.end(), this->shape(x).begin(), this->shape(x).end());
    x = reshape(x, std::move(padded));
  }
  if (always_equal(this->shape(x), shape)) return x;
  if (node(x).op == Op::broadcast) x = node(x).inputs[0];
  for (size_t i = 0; i < shape.size(); ++i) {
    const Dim from = this->shape(x)[i];
    internal_check(
        is_one(from) || same(from, shape[i]) || decide(onrush::equal(from, shape[i]), "broadcast"),
        "broadcast repeats axes of extent 1 only");
  }
  TensorType type{dtype(x), shape};
  return add_node(Op::broadcast, {x}, BroadcastAttr{std::move(shape)}, std::move(type));
}

NodeId Builder::slice(NodeId x, Dims start, std::vector<int64_t> step, Dims shape) {
  internal_check(start.size() == shape.size() && step.size() == shape.size() &&
                     static_cast<int>(shape.size()) == rank(x),
                 "slice rank");
  const bool whole = std::all_of(start.begin(), start.end(), [](Dim d) { return same(d, 0); }) &&
                     std::all_of(step.begin(), step.end(), [](int64_t s) { return s == 1; });
  if (whole && always_equal(this->shape(x), shape)) return x;
  if (node(x).op == Op::slice) {
    const SliceAttr inner = node(x).as<SliceAttr>();
    for (size_t i = 0; i < shape.size(); ++i) {
      start[i] = inner.start[i] + start[i] * inner.step[i];
      step[i] = checked_mul(step[i], inner.step[i]);
    }
    return slice(node(x).inputs[0], std::move(start), std::move(step), std::move(shape));
  }
  TensorType type{dtype(x), shape};
  return add_node(Op::slice, {x}, SliceAttr{std::move(start), std::move(step), std::move(shape)},
                  std::move(type));
}

NodeId Builder::slice_axis(NodeId x, int axis, Dim start, Dim extent, int64_t step) {
  Dims starts(shape(x).size(), Dim(0));
  std::vector<int64_t> steps(shape(x).size(), 1);
  Dims shape = this->shape(x);
  starts[static_cast<size_t>(axis)] = start;
  steps[static_cast<size_t>(axis)] = step;
  shape[static_cast<size_t>(axis)] = extent;
  return slice(x, std::move(starts), std::move(steps), std::move(shape));
}

NodeId Builder::pad(NodeId x, NodeId value, Dims low, Dims high) {
  internal_check(low.size() == shape(x).size() && high.size() == shape(x).size(), "pad rank");
  const auto is_zero = [](Dim dim) { return same(dim, 0); };
  if (std::all_of(low.begin(), low.end(), is_zero) &&
      std::all_of(high.begin(), high.end(), is_zero))
    return x;
  Dims shape;
  for (size_t i = 0; i < low.size(); ++i) shape.push_back(low[i] + this->shape(x)[i] + high[i]);
  TensorType type{dtype(x), std::move(shape)};
  return add_node(Op::pad, {x, value}, PadAttr{std::move(low), std::move(high)}, std::move(type));
}

NodeId Builder::concat(std::span<const NodeId> parts, int axis) {
  internal_check(!parts.empty(), "concat of nothing");
  std::vector<NodeId> kept;
  const size_t a = static_cast<size_t>(axis);
  Dims shape = this->shape(parts[0]);
  Dim extent = 0;
  for (NodeId part : parts) {
    const Dims& other = this->shape(part);
    internal_check(other.size() == shape.size() && dtype(part) == dtype(parts[0]),
                   "concat operands");
    for (size_t i = 0; i < shape.size(); ++i)
      if (i != a && !same(shape[i], other[i]) &&
          !decide(onrush::equal(shape[i], other[i]), "concat"))
        fail(ErrorCode::invalid_model, "shapes {} and {} cannot be concatenated along axis {}",
             to_string(std::span<const Dim>(shape)), to_string(std::span<const Dim>(other)), axis);
    extent = extent + other[a];
    if (!(other[a].is_constant() && other[a].value() == 0)) kept.push_back(part);
  }
  if (kept.empty()) return parts[0];
  if (kept.size() == 1) return kept[0];
  shape[a] = extent;
  TensorType type{dtype(parts[0]), std::move(shape)};
  return add_node(Op::concat, std::move(kept), ConcatAttr{axis}, std::move(type));
}

NodeId Builder::squeeze(NodeId x, const Axes& axes) {
  Dims shape;
  for (int i = 0; i < rank(x); ++i)
    if (!contains(axes, i)) shape.push_back(this->shape(x)[static_cast<size_t>(i)]);
  return reshape(x, std::move(shape));
}

NodeId Builder::unsqueeze(NodeId x, const Axes& axes) {
  Dims shape = this->shape(x);
  for (int axis : axes) shape.insert(shape.begin() + axis, Dim(1));
  return reshape(x, std::move(shape));
}

// --- along axes

NodeId Builder::reduce(ReduceKind kind, NodeId x, Axes axes, bool last) {
  if (axes.empty()) return x;
  internal_check(std::is_sorted(axes.begin(), axes.end()), "reduce axes ascend");
  const bool arg = kind == ReduceKind::argmax || kind == ReduceKind::argmin;
  internal_check(!arg || axes.size() == 1, "argmax takes one axis");
  TensorType type{arg ? DType::i64 : dtype(x), shape(x)};
  for (int axis : axes) type.shape[static_cast<size_t>(axis)] = 1;
  return add_node(Op::reduce, {x}, ReduceAttr{kind, std::move(axes), last}, std::move(type));
}

NodeId Builder::mean(NodeId x, Axes axes) {
  Dim count = 1;
  for (int axis : axes) count = count * shape(x)[static_cast<size_t>(axis)];
  const DType dtype = this->dtype(x);
  const NodeId divisor = count.is_constant() ? scalar(dtype, static_cast<double>(count.value()))
                                             : cast(dims(DType::i64, {count}, {}), dtype);
  return div(reduce(ReduceKind::sum, x, std::move(axes)), divisor);
}

NodeId Builder::window(NodeId x, WindowAttr attr) {
  const bool arg = attr.kind == ReduceKind::argmax || attr.kind == ReduceKind::argmin;
  TensorType type{arg ? DType::i64 : dtype(x), {}};
  for (size_t i = 0; i < shape(x).size(); ++i)
    type.shape.push_back(window_extent(shape(x)[i], attr.low[i], attr.high[i], attr.size[i],
                                       attr.stride[i], attr.dilation[i]));
  return add_node(Op::window, {x}, std::move(attr), std::move(type));
}

NodeId Builder::scan(NodeId x, ScanAttr attr) { return add_node(Op::scan, {x}, attr, type(x)); }

NodeId Builder::sort(NodeId x, SortAttr attr) {
  Dims shape = this->shape(x);
  shape[static_cast<size_t>(attr.axis)] = attr.limit;
  TupleType type{{{dtype(x), shape}, {DType::i64, shape}}};
  return add_node(Op::sort, {x}, attr, std::move(type));
}

// --- indexed

NodeId Builder::gather(NodeId data, std::span<const NodeId> indices, std::vector<int> source,
                       Dims shape) {
  internal_check(static_cast<int>(source.size()) == rank(data), "gather sources");
  std::vector<NodeId> operands = {data};
  for (NodeId index : indices) operands.push_back(broadcast(index, shape));
  TensorType type{dtype(data), std::move(shape)};
  return add_node(Op::gather, std::move(operands), IndexAttr{std::move(source)}, std::move(type));
}

NodeId Builder::scatter(NodeId data, NodeId updates, std::span<const NodeId> indices,
                        std::vector<int> source, ScatterKind kind) {
  internal_check(static_cast<int>(source.size()) == rank(data), "scatter sources");
  std::vector<NodeId> operands = {data, updates};
  for (NodeId index : indices) operands.push_back(broadcast(index, shape(updates)));
  return add_node(Op::scatter, std::move(operands), ScatterAttr{std::move(source), kind},
                  type(data));
}

// --- contractions

NodeId Builder::dot(NodeId lhs, NodeId rhs, DotAttr attr) {
  const auto unify = [&](int l, int r) {
    const Dim a = shape(lhs)[static_cast<size_t>(l)];
    const Dim b = shape(rhs)[static_cast<size_t>(r)];
    if (!same(a, b) && !decide(onrush::equal(a, b), "matrix product"))
      fail(ErrorCode::invalid_model, "inner dimensions of a matrix product differ: {} and {}",
           to_string(a), to_string(b));
    return a.is_constant() ? a : b;
  };
  TensorType type{attr.dtype, {}};
  for (size_t i = 0; i < attr.lhs_batch.size(); ++i)
    type.shape.push_back(unify(attr.lhs_batch[i], attr.rhs_batch[i]));
  for (size_t i = 0; i < attr.lhs_contract.size(); ++i)
    unify(attr.lhs_contract[i], attr.rhs_contract[i]);
  for (int i = 0; i < rank(lhs); ++i)
    if (!contains(attr.lhs_batch, i) && !contains(attr.lhs_contract, i))
      type.shape.push_back(shape(lhs)[static_cast<size_t>(i)]);
  for (int i = 0; i < rank(rhs); ++i)
    if (!contains(attr.rhs_batch, i) && !contains(attr.rhs_contract, i))
      type.shape.push_back(shape(rhs)[static_cast<size_t>(i)]);
  return add_node(Op::dot, {lhs, rhs}, std::move(attr), std::move(type));
}

NodeId Builder::matmul(NodeId lhs, NodeId rhs) {
  internal_check(rank(lhs) >= 2 && rank(rhs) >= 2, "matmul ranks");
  const DType dtype = this->dtype(lhs);
  if (rank(rhs) == 2) return dot(lhs, rhs, {{}, {}, {rank(lhs) - 1}, {0}, dtype});
  const Dims& l = shape(lhs);
  const Dims& r = shape(rhs);
  const Dims batch = broadcast_shapes(Dims(l.begin(), l.end() - 2), Dims(r.begin(), r.end() - 2));
  Dims lhs_shape = batch, rhs_shape = batch;
  lhs_shape.insert(lhs_shape.end(), l.end() - 2, l.end());
  rhs_shape.insert(rhs_shape.end(), r.end() - 2, r.end());
  lhs = broadcast(lhs, std::move(lhs_shape));
  rhs = broadcast(rhs, std::move(rhs_shape));
  Axes batch_axes(batch.size());
  std::iota(batch_axes.begin(), batch_axes.end(), 0);
  return dot(lhs, rhs, {batch_axes, batch_axes, {rank(lhs) - 1}, {rank(rhs) - 2}, dtype});
}

NodeId Builder::conv(NodeId x, NodeId w, ConvAttr attr) {
  const Dims& in = shape(x);
  const Dims& kernel = shape(w);
  internal_check(in.size() == kernel.size() && in.size() == attr.stride.size() + 2, "conv ranks");
  TensorType type{attr.dtype, {in[0]}};
  for (size_t i = 0; i < attr.stride.size(); ++i) {
    const Dim dilated =
        attr.input_dilation[i] == 1 ? in[i + 1] : (in[i + 1] - 1) * attr.input_dilation[i] + 1;
    const int64_t size = fix(kernel[i + 1], "convolution kernel size");
    type.shape.push_back(
        window_extent(dilated, attr.low[i], attr.high[i], size, attr.stride[i], attr.dilation[i]));
  }
  type.shape.push_back(kernel[0]);
  return add_node(Op::conv, {x, w}, std::move(attr), std::move(type));
}

// --- others

NodeId Builder::call(CallAttr attr, std::span<const NodeId> operands,
                     std::vector<TensorType> results) {
  return add_node(Op::call, {operands.begin(), operands.end()}, std::move(attr),
                  TupleType{std::move(results)});
}

NodeId Builder::loop(LoopAttr attr, std::span<const NodeId> operands) {
  TupleType type;
  const Graph& body = *attr.body;
  for (size_t i = 0; i < body.outputs.size(); ++i) {
    TensorType part = body.type(body.outputs[i].node);
    if (static_cast<int>(i) >= attr.carried) part.shape.insert(part.shape.begin(), attr.trips);
    type.parts.push_back(std::move(part));
  }
  return add_node(Op::loop, {operands.begin(), operands.end()}, std::move(attr), std::move(type));
}

NodeId Builder::get(NodeId tuple, int index) {
  const TensorType part = std::get<TupleType>(node(tuple).type).parts[static_cast<size_t>(index)];
  return add_node(Op::get, {tuple}, GetAttr{index}, part);
}

NodeId Builder::rebuild(const Node& node, std::vector<NodeId> in) {
  switch (node.op) {
    case Op::input: return input_at(node.as<InputAttr>().index);
    case Op::constant: return constant(node.as<ConstantAttr>().tensor);
    case Op::cast: return cast(in[0], node.as<CastAttr>().dtype, node.as<CastAttr>().saturate);
    case Op::reshape: return reshape(in[0], node.as<ReshapeAttr>().shape);
    case Op::transpose: return transpose(in[0], node.as<TransposeAttr>().permutation);
    case Op::broadcast: return broadcast(in[0], node.as<BroadcastAttr>().shape);
    case Op::slice: {
      const auto& attr = node.as<SliceAttr>();
      return slice(in[0], attr.start, attr.step, attr.shape);
    }
    case Op::pad: return pad(in[0], in[1], node.as<PadAttr>().low, node.as<PadAttr>().high);
    case Op::concat: return concat(in, node.as<ConcatAttr>().axis);
    case Op::select: return select(in[0], in[1], in[2]);
    default: break;
  }
  if (operand_count(node.op) == 1 && is_elementwise(node.op)) return unary(node.op, in[0]);
  if (operand_count(node.op) == 2 && is_elementwise(node.op)) return binary(node.op, in[0], in[1]);
  return add_node(node.op, std::move(in), node.attr, node.type);
}

void Builder::output(std::string name, NodeId node) {
  graph_.outputs.push_back({std::move(name), node});
}

Graph Builder::finish() {
  std::vector<bool> needed(graph_.nodes.size());
  for (const GraphOutput& output : graph_.outputs) needed[output.node.index] = true;
  for (size_t i = graph_.nodes.size(); i-- > 0;)
    if (needed[i])
      for (NodeId operand : graph_.nodes[i].inputs) needed[operand.index] = true;
  std::vector<NodeId> renumbered(graph_.nodes.size());
  std::deque<Node> kept;
  for (size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (!needed[i]) continue;
    Node node = std::move(graph_.nodes[i]);
    for (NodeId& operand : node.inputs) operand = renumbered[operand.index];
    renumbered[i] = NodeId{static_cast<uint32_t>(kept.size())};
    kept.push_back(std::move(node));
  }
  graph_.nodes = std::move(kept);
  for (GraphOutput& output : graph_.outputs) output.node = renumbered[output.node.index];
  by_hash_.clear();
  return std::move(graph_);
}

Graph Builder::give_back(size_t nodes) {
  graph_.nodes.resize(nodes);
  return std::move(graph_);
}

}  // namespace onrush
