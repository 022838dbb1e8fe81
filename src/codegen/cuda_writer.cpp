#include "codegen/cuda_writer.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace onrush {

std::string_view cuda_compute_type(DType dtype) {
  switch (dtype) {
    case DType::f64: return "double";
    case DType::i64:
    case DType::u32: return "i64";
    case DType::u64: return "u64";
    default: return is_float(dtype) ? "float" : "int";
  }
}

std::string_view cuda_storage_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return "float";
    case DType::f64: return "double";
    case DType::boolean:
    case DType::u4:
    case DType::i4:
    case DType::u2:
    case DType::i2:
    case DType::f4e2m1: return "u8";
    default: return name(dtype);
  }
}

std::string literal(DType dtype, const ConstantValue& value) {
  const std::string_view type = cuda_compute_type(dtype);
  if (type == "float")
    return fmt::format("as_float({:#x}u)", std::bit_cast<uint32_t>(static_cast<float>(value.f)));
  if (type == "double")
    return fmt::format("__longlong_as_double({:#x}ll)", std::bit_cast<uint64_t>(value.f));
  return fmt::format("({})({}ll)", type,
                     value.i == INT64_MIN ? "-9223372036854775807ll - 1" : std::to_string(value.i));
}

std::string loaded(DType dtype, std::string_view memory, std::string_view address) {
  if (dtype == DType::f4e2m1) return fmt::format("load_f4e2m1({}, {})", memory, address);
  if (is_sub_byte(dtype))
    return fmt::format("load_packed<{}, {}>({}, {})", bits(dtype), is_signed_integer(dtype), memory,
                       address);
  return fmt::format("load({}, {})", memory, address);
}

std::string stored(DType dtype, DType from, std::string_view v, bool saturate) {
  // A value that is kept in fewer bits than it has: too large ones must not become infinite.
  if (dtype == DType::f16 && from == DType::f32) return fmt::format("to_f16(within_f16({}))", v);
  if (dtype == DType::f16 || dtype == DType::bf16)
    return fmt::format("to_{}({})", onrush::name(dtype), v);
  if (dtype == DType::boolean) return fmt::format("(u8)({} != 0)", v);
  // An explicit conversion has rounded, and saturated if it was to.
  if (is_float(dtype) && bits(dtype) <= 8)
    return fmt::format("to_{}({}, {})", onrush::name(dtype), v, saturate);
  return fmt::format("({})({})", cuda_storage_type(dtype), v);
}

std::string store_statement(DType dtype, DType from, std::string_view memory,
                            std::string_view address, std::string_view v, bool saturate) {
  if (dtype == DType::f4e2m1)
    return fmt::format("store_packed<4>({}, {}, to_f4e2m1({}, {}).bits);", memory, address, v,
                       saturate);
  if (is_sub_byte(dtype))
    return fmt::format("store_packed<{}>({}, {}, (u32)({}));", bits(dtype), memory, address, v);
  return fmt::format("{}[{}] = {};", memory, address, stored(dtype, from, v, saturate));
}

std::string wrapped(DType dtype, std::string expression) {
  switch (dtype) {
    case DType::u8:
    case DType::i8:
    case DType::u16:
    case DType::i16: return fmt::format("(int)({})({})", name(dtype), expression);
    case DType::u32: return fmt::format("(i64)(u32)({})", expression);
    case DType::u4: return fmt::format("({} & 15)", expression);
    case DType::u2: return fmt::format("({} & 3)", expression);
    case DType::i4: return fmt::format("((int)((u32)({}) << 28) >> 28)", expression);
    case DType::i2: return fmt::format("((int)((u32)({}) << 30) >> 30)", expression);
    default: return expression;
  }
}

// --- Writer

namespace {

// Small sizes (taps of a window, strides of a convolution) are worth a kernel of their own.
constexpr int64_t kLargestLiteral = 9;

bool is_literal(Dim dim) {
  return dim.is_constant() && dim.value() >= 0 && dim.value() <= kLargestLiteral;
}
bool is_literal(const Extent& extent) {
  return extent.width == 1 && extent.factors.size() == 1 && is_literal(extent.factors[0]);
}

bool same_extent(const Extent& a, const Extent& b) {
  return a.width == b.width && std::equal(a.factors.begin(), a.factors.end(), b.factors.begin(),
                                          b.factors.end(), [](Dim x, Dim y) { return same(x, y); });
}

}  // namespace

int64_t Extent::at(const SizeTable& sizes) const {
  int64_t product = 1;
  for (Dim factor : factors) product *= sizes(factor);
  return (product + width - 1) / width;
}

int Writer::argument(const Extent& extent, SizeArgument::Kind kind) {
  for (size_t i = 0; i < sizes_.size(); ++i)
    if (sizes_[i].kind == kind && same_extent(sizes_[i].extent, extent)) return static_cast<int>(i);
  sizes_.push_back({extent, kind});
  return static_cast<int>(sizes_.size()) - 1;
}

std::string Writer::size(const Extent& extent) {
  if (is_literal(extent)) return fmt::format("(index){}", extent.factors[0].value());
  return fmt::format("(index)s.v[{}]", argument(extent, SizeArgument::Kind::size));
}

std::string Writer::number(Dim dim) {
  return fmt::format("s.v[{}]", argument(dim, SizeArgument::Kind::size));
}

std::string Writer::pass() {
  return fmt::format("(int)s.v[{}]", argument(Extent(), SizeArgument::Kind::pass));
}

std::string Writer::quotient(std::string_view x, const Extent& extent) {
  if (is_literal(extent)) return fmt::format("{} / {}", x, extent.factors[0].value());
  const int divisor = argument(extent, SizeArgument::Kind::size);
  return fmt::format("quotient({}, s.v[{}], s.v[{}])", x, divisor,
                     argument(extent, SizeArgument::Kind::divisor));
}

std::string Writer::affine(const Affine& a, int along, std::string_view element) {
  std::string text;
  for (const auto& [axis, stride] : a.terms) {
    const std::string index = axis == along ? std::string(element) : fmt::format("a{}", axis);
    if (!text.empty()) text += " + ";
    text += same(stride, 1) ? index : fmt::format("{} * {}", index, size(stride));
  }
  if (text.empty()) return size(a.offset);
  return same(a.offset, 0) ? text : text + " + " + size(a.offset);
}

std::string Writer::holds(const std::vector<Bound>& bounds, int along, std::string_view element) {
  std::string text;
  for (const Bound& bound : bounds)
    text += fmt::format("{}(uindex)({}) < (uindex)({})", text.empty() ? "" : " && ",
                        affine(bound.index, along, element), size(bound.extent));
  return text.empty() ? "true" : text;
}

void Writer::split(const std::string& flat, const std::vector<int>& axes,
                   const std::vector<Axis>& all, const Lanes& lanes) {
  std::string rest = flat;
  for (size_t i = axes.size(); i-- > 0;) {
    const int axis = axes[i];
    const Extent extent(all[static_cast<size_t>(axis)].extent,
                        axis == lanes.axis ? lanes.width : 1);
    std::string index = rest;
    if (i > 0) {
      line(fmt::format("const index q{} = {};", axis, quotient(rest, extent)));
      index = fmt::format("({} - q{} * {})", rest, axis, size(extent));
      rest = fmt::format("q{}", axis);
    }
    line(axis == lanes.axis && lanes.width > 1
             ? fmt::format("const index a{} = {} * {};", axis, index, lanes.width)
             : fmt::format("const index a{} = {};", axis, index));
  }
}

bool Writer::divides(Dim dim, int width) {
  const bool holds = printed_for_.divides(dim, width);
  if (!dim.is_constant()) facts_.push_back({dim, width, holds});
  return holds;
}

int Writer::add_buffers(const std::vector<LoopBuffer>& buffers) {
  const auto first = static_cast<int>(buffers_.size());
  buffers_.insert(buffers_.end(), buffers.begin(), buffers.end());
  return first;
}

CudaKernel Writer::finish(int threads) {
  std::string arguments;
  for (size_t i = 0; i < buffers_.size(); ++i)
    arguments += fmt::format("{}* b{}, ", cuda_storage_type(buffers_[i].dtype), i);
  CudaKernel kernel;
  std::string maps;
  for (size_t i = 0; i < maps_.size(); ++i)
    maps += fmt::format(", const __grid_constant__ TensorMap t{}", i);
  kernel.text = fmt::format(
      "extern \"C\" __global__ void __launch_bounds__({0}) KERNEL({1}const "
      "__grid_constant__ Sizes<{2}> s, u32* error{4}) {{\n  typedef Sizes<{2}> S;\n{3}}}\n",
      threads, arguments, std::max<size_t>(1, sizes_.size()), body_, maps);
  kernel.maps = std::move(maps_);
  kernel.threads = threads;
  kernel.checks_indices = body_.find("position(") != std::string::npos;
  kernel.buffers = std::move(buffers_);
  kernel.sizes = std::move(sizes_);
  kernel.facts = std::move(facts_);
  return kernel;
}

// --- Body

Body::Body(Writer& writer, const Loops& loops, std::string prefix, Lanes lanes, bool narrow_factor)
    : w_(writer),
      loops_(loops),
      prefix_(std::move(prefix)),
      lanes_(lanes),
      first_buffer_(writer.add_buffers(loops.buffers)) {
  for (size_t i = 0; i < loops.axes.size(); ++i)
    if (loops.axes[i].reduce) reduce_mask_ |= uint64_t{1} << i;
  fast_ = std::all_of(loops.stores.begin(), loops.stores.end(), [&](const Store& store) {
    if (store.buffer < 0) return narrow_factor;
    const DType dtype = loops.buffers[static_cast<size_t>(store.buffer)].dtype;
    return dtype == DType::f16 || dtype == DType::bf16;
  });
}

bool Body::varies(ValueId id) const {
  return lanes_.count() > 1 && (value(id).axes >> lanes_.axis & 1) != 0;
}

std::string Body::name_of(ValueId id) const { return fmt::format("{}{}", prefix_, id); }
std::string Body::element(ValueId id) const { return name_of(id) + (varies(id) ? "[j]" : ""); }

std::string Body::axis_element() const {
  if (lanes_.count() == 1) return fmt::format("a{}", lanes_.axis);
  if (lanes_.chunks == 1) return fmt::format("(a{} + j)", lanes_.axis);
  return fmt::format("(a{} + j / {} * {} + j % {})", lanes_.axis, lanes_.width, lanes_.step,
                     lanes_.width);
}

std::string Body::in_range() const {
  if ((lanes_.chunks == 1 && !lanes_.partial) || lanes_.whole) return "";
  return fmt::format("{} < {}", axis_element(),
                     w_.size(loops_.axes[static_cast<size_t>(lanes_.axis)].extent));
}

void Body::each_lane(std::string_view statement) const {
  w_.line(fmt::format("UNROLL for (int j = 0; j < {}; ++j) {}", lanes_.count(), statement));
}

std::vector<ValueId> Body::operands(ValueId id) const {
  const auto& data = value(id).data;
  if (const auto* v = std::get_if<OpValue>(&data)) return v->operands;
  if (const auto* v = std::get_if<ConvertValue>(&data)) return {v->operand};
  if (const auto* v = std::get_if<ReduceValue>(&data)) return {v->operand};
  std::vector<ValueId> result;
  if (const auto* v = std::get_if<LoadValue>(&data))
    for (const DynamicTerm& term : v->dynamic) result.push_back(term.value);
  return result;
}

int Body::depth(ValueId id) const {
  int deepest = 0;
  for (ValueId operand : operands(id)) deepest = std::max(deepest, depth(operand));
  return deepest + (is_reduce(id) ? 1 : 0);
}

void Body::collect_inner(ValueId id, std::vector<bool>& wanted) const {
  if (!is_inner(id) || wanted[static_cast<size_t>(id)]) return;
  wanted[static_cast<size_t>(id)] = true;
  for (ValueId operand : operands(id)) collect_inner(operand, wanted);
}

bool Body::depends(const Affine& affine) const {
  return std::any_of(affine.terms.begin(), affine.terms.end(),
                     [&](const auto& term) { return term.first == lanes_.axis; });
}

bool Body::adjacent(const Affine& address, const std::vector<DynamicTerm>& dynamic) {
  if (lanes_.width == 1 || lanes_.partial) return false;
  bool unit = false;
  for (const auto& [axis, stride] : address.terms)
    if (axis == lanes_.axis) unit = same(stride, 1);
  if (!unit || !w_.divides(address.offset, lanes_.width)) return false;
  for (const auto& [axis, stride] : address.terms)
    if (axis != lanes_.axis && !w_.divides(stride, lanes_.width)) return false;
  return std::all_of(dynamic.begin(), dynamic.end(), [&](const DynamicTerm& term) {
    return !varies(term.value) && w_.divides(term.stride, lanes_.width);
  });
}

std::string Body::operation(const OpValue& v, DType dtype) const {
  if (v.op == Op::bit_not && dtype == DType::boolean)
    return fmt::format("({} ^ 1)", element(v.operands[0]));
  const bool fast = fast_ && dtype != DType::f64 &&
                    (v.op == Op::exp || v.op == Op::sigmoid || v.op == Op::tanh ||
                     v.op == Op::erf || (v.op == Op::div && is_float(dtype)));
  std::string text = fmt::format("{}_{}(", fast ? "fast" : "op", onrush::name(v.op));
  for (size_t i = 0; i < v.operands.size(); ++i) text += (i ? ", " : "") + element(v.operands[i]);
  return wrapped(dtype, text + ")");
}

std::string Body::conversion(const ConvertValue& v, DType dtype) const {
  const std::string x = element(v.operand);
  const DType from = value(v.operand).dtype;
  if (dtype == DType::boolean) return fmt::format("({} != 0)", x);
  const std::string converted =
      fmt::format("convert<{}, {}>({})", cuda_compute_type(dtype), cuda_compute_type(from), x);
  if (!is_float(dtype) || dtype == DType::f32 || dtype == DType::f64)
    return wrapped(dtype, converted);
  if (dtype == DType::f16 || dtype == DType::bf16)
    return fmt::format("to_float(to_{}({}))", onrush::name(dtype), converted);
  return fmt::format("to_float(to_{}({}, {}))", onrush::name(dtype), converted, v.saturate);
}

void Body::load_lanes(ValueId id, const LoadValue& v) {
  const DType dtype = value(id).dtype;
  const bool bounded = std::any_of(v.bounds.begin(), v.bounds.end(),
                                   [&](const Bound& bound) { return depends(bound.index); });
  w_.line(fmt::format("{} {}[{}];", type_of(id), name_of(id), lanes_.count()));
  const std::string fill = literal(dtype, v.fill);
  if (!bounded && !is_sub_byte(dtype) && adjacent(v.address, v.dynamic)) {
    const bool beyond = lanes_.chunks > 1 && !lanes_.whole;
    const bool guarded = !v.bounds.empty() || beyond;
    std::string condition = w_.holds(v.bounds);
    // Outside of the bounds an index means nothing.
    const std::string where = v.bounds.empty() ? "" : fmt::format("!({}) ? 0 : ", condition);
    std::string address = w_.affine(v.address);
    for (const DynamicTerm& term : v.dynamic)
      address += fmt::format(" + ({}position({}, {}, error)) * {}", where, element(term.value),
                             w_.size(term.extent), w_.size(term.stride));
    std::string offset;
    if (lanes_.chunks > 1) {
      const Dim extent = loops_.axes[static_cast<size_t>(lanes_.axis)].extent;
      w_.open(fmt::format("UNROLL for (int c = 0; c < {}; ++c)", lanes_.chunks));
      if (beyond)
        condition = fmt::format("a{} + c * {} < {} && {}", lanes_.axis, lanes_.step,
                                w_.size(extent), condition);
      offset = fmt::format(" + c * {}", lanes_.step);
    }
    const std::string first = lanes_.chunks > 1 ? fmt::format(" + c * {}", lanes_.width) : "";
    w_.line(guarded ? fmt::format("load_vector_where<{}>({}, {}, {}{}, {}, {}{});", lanes_.width,
                                  condition, buffer(v.buffer), address, offset, fill, name_of(id),
                                  first)
                    : fmt::format("load_vector<{}>({}, {}{}, {}{});", lanes_.width,
                                  buffer(v.buffer), address, offset, name_of(id), first));
    if (lanes_.chunks > 1) w_.close();
    return;
  }
  std::string address = w_.affine(v.address, lanes_.axis, axis_element());
  for (const DynamicTerm& term : v.dynamic)
    address += fmt::format(" + position({}, {}, error) * {}", element(term.value),
                           w_.size(term.extent), w_.size(term.stride));
  std::string condition = w_.holds(v.bounds, lanes_.axis, axis_element());
  if (!in_range().empty()) condition = in_range() + " && " + condition;
  const std::string value = loaded(dtype, buffer(v.buffer), address);
  each_lane(condition == "true"
                ? fmt::format("{}[j] = {};", name_of(id), value)
                : fmt::format("{}[j] = {} ? {} : {};", name_of(id), condition, value, fill));
}

void Body::define_load(ValueId id, const LoadValue& v) {
  if (varies(id)) return load_lanes(id, v);
  const DType dtype = value(id).dtype;
  std::string address = w_.affine(v.address);
  for (const DynamicTerm& term : v.dynamic)
    address += fmt::format(" + position({}, {}, error) * {}", element(term.value),
                           w_.size(term.extent), w_.size(term.stride));
  const std::string value = loaded(dtype, buffer(v.buffer), address);
  w_.line(v.bounds.empty() ? fmt::format("const {} {} = {};", type_of(id), name_of(id), value)
                           : fmt::format("const {} {} = {} ? {} : {};", type_of(id), name_of(id),
                                         w_.holds(v.bounds), value, literal(dtype, v.fill)));
}

bool Body::fetches(ValueId id) {
  const auto* load = std::get_if<LoadValue>(&value(id).data);
  if (!load || !varies(id) || lanes_.chunks > 1 || !load->bounds.empty() || !load->dynamic.empty())
    return false;
  const DType dtype = loops_.buffers[static_cast<size_t>(load->buffer)].dtype;
  return !is_sub_byte(dtype) && adjacent(load->address, load->dynamic);
}

void Body::fetch(ValueId id, const std::string& to) {
  const auto& load = std::get<LoadValue>(value(id).data);
  w_.line(fmt::format("fetch_vector<{}>({}, {}, {});", lanes_.width, buffer(load.buffer),
                      w_.affine(load.address), to));
}

void Body::define_fetched(ValueId id, const std::string& from) {
  w_.line(fmt::format("{} {}[{}];", type_of(id), name_of(id), lanes_.count()));
  each_lane(fmt::format("{}[j] = load({}, j);", name_of(id), from));
}

std::string Body::expression(ValueId id) const {
  const LoopValue& v = value(id);
  const int along = varies(id) ? lanes_.axis : -1;
  if (const auto* c = std::get_if<ConstantValue>(&v.data)) return literal(v.dtype, *c);
  if (const auto* c = std::get_if<SizeValue>(&v.data)) return w_.size(c->dim);
  if (const auto* c = std::get_if<IndexValue>(&v.data))
    return w_.affine(c->index, along, axis_element());
  if (const auto* c = std::get_if<OpValue>(&v.data)) return operation(*c, v.dtype);
  if (const auto* c = std::get_if<ConvertValue>(&v.data)) return conversion(*c, v.dtype);
  if (const auto* c = std::get_if<BoundsValue>(&v.data))
    return fmt::format("({})", w_.holds(c->bounds, along, axis_element()));
  if (std::holds_alternative<AccumulatorValue>(v.data))
    return varies(id) ? "accumulator[j]" : "accumulator[0]";
  internal_error("loads and reductions are more than an expression");
}

void Body::define(ValueId id) {
  if (const auto* load = std::get_if<LoadValue>(&value(id).data)) return define_load(id, *load);
  if (!varies(id))
    return w_.line(fmt::format("const {} {} = {};", type_of(id), name_of(id), expression(id)));
  w_.line(fmt::format("{} {}[{}];", type_of(id), name_of(id), lanes_.count()));
  each_lane(fmt::format("{}[j] = {};", name_of(id), expression(id)));
}

void Body::store(const Store& store) {
  const DType dtype = loops_.buffers[static_cast<size_t>(store.buffer)].dtype;
  const std::string memory = buffer(store.buffer);
  const auto statement = [&](const std::string& address, const std::string& v) {
    return store_statement(dtype, this->value(store.value).dtype, memory, address, v);
  };
  if (lanes_.count() == 1 || !depends(store.address))
    return w_.line(statement(w_.affine(store.address), varies(store.value)
                                                           ? name_of(store.value) + "[0]"
                                                           : name_of(store.value)));
  if (!is_sub_byte(dtype) && adjacent(store.address, {})) {
    const std::string type(cuda_storage_type(dtype));
    const std::string packed = fmt::format("{}s{}", prefix_, store.value) + "_" + memory;
    w_.line(fmt::format("__align__(16) {} {}[{}];", type, packed, lanes_.count()));
    const DType from = value(store.value).dtype;
    if (dtype == DType::f16 && from == DType::f32 && varies(store.value))
      w_.line(
          fmt::format("to_f16_within<{}>({}, {});", lanes_.count(), name_of(store.value), packed));
    else each_lane(fmt::format("{}[j] = {};", packed, stored(dtype, from, element(store.value))));
    const std::string address = w_.affine(store.address);
    if (lanes_.chunks == 1)
      return w_.line(
          fmt::format("store_vector<{}>({}, {}, {});", lanes_.width, memory, address, packed));
    const Dim extent = loops_.axes[static_cast<size_t>(lanes_.axis)].extent;
    const std::string inside = lanes_.whole ? ""
                                            : fmt::format("if (a{} + c * {} < {}) ", lanes_.axis,
                                                          lanes_.step, w_.size(extent));
    return w_.line(
        fmt::format("UNROLL for (int c = 0; c < {0}; ++c) {1}store_vector<{2}>({3}, {4} + c * {5}, "
                    "{6} + c * {2});",
                    lanes_.chunks, inside, lanes_.width, memory, address, lanes_.step, packed));
  }
  const std::string text =
      statement(w_.affine(store.address, lanes_.axis, axis_element()), element(store.value));
  each_lane(in_range().empty() ? text : fmt::format("if ({}) {{ {} }}", in_range(), text));
}

// --- lanes

std::vector<int> axes_where(const Loops& loops, bool reduce) {
  std::vector<int> axes;
  for (size_t i = 0; i < loops.axes.size(); ++i)
    if (loops.axes[i].reduce == reduce) axes.push_back(static_cast<int>(i));
  return axes;
}

Extent extent_of(const Loops& loops, const std::vector<int>& axes) {
  Extent extent;
  for (int axis : axes) extent.factors.push_back(loops.axes[static_cast<size_t>(axis)].extent);
  return extent;
}

Lanes lanes_along(Writer& w, const Loops& loops, int axis) {
  const Dim extent = loops.axes[static_cast<size_t>(axis)].extent;
  int narrowest = 64;  // bits of the smallest element that is read or written along the axis
  const auto consider = [&](const Affine& address, int buffer) {
    for (const auto& [a, stride] : address.terms)
      if (a == axis && same(stride, 1))
        narrowest = std::min(narrowest, bits(loops.buffers[static_cast<size_t>(buffer)].dtype));
  };
  for (const LoopValue& value : loops.body)
    if (const auto* load = std::get_if<LoadValue>(&value.data))
      consider(load->address, load->buffer);
  for (const Store& store : loops.stores)
    if (store.buffer >= 0) consider(store.address, store.buffer);
  for (int width = std::min(8, 128 / narrowest); width > 1; width /= 2)
    if (w.divides(extent, width)) return {axis, width, 1, 0};
  return {axis, 1, 1, 0};
}

std::vector<int> lanes_last(std::vector<int> axes, const Lanes& lanes) {
  std::stable_partition(axes.begin(), axes.end(), [&](int axis) { return axis != lanes.axis; });
  return axes;
}

Lanes store_lanes(Writer& w, const Loops& loops, const std::vector<int>& candidates) {
  for (const Store& store : loops.stores)
    for (const auto& [axis, stride] : store.address.terms)
      if (same(stride, 1) &&
          std::find(candidates.begin(), candidates.end(), axis) != candidates.end())
        return lanes_along(w, loops, axis);
  return {};
}

}  // namespace onrush
