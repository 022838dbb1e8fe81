#include "codegen/cuda_source.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace onrush {
namespace {

// The C++ type that values of a dtype are computed in.
std::string_view compute_type(DType dtype) {
  switch (dtype) {
    case DType::f64: return "double";
    case DType::i64:
    case DType::u32: return "i64";
    case DType::u64: return "u64";
    default: return is_float(dtype) ? "float" : "int";
  }
}

// The C++ type of an element in memory; packed ones are addressed by bytes.
std::string_view storage_type(DType dtype) {
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
  const std::string_view type = compute_type(dtype);
  if (type == "float")
    return fmt::format("as_float({:#x}u)", std::bit_cast<uint32_t>(static_cast<float>(value.f)));
  if (type == "double")
    return fmt::format("__longlong_as_double({:#x}ll)", std::bit_cast<uint64_t>(value.f));
  return fmt::format("({})({}ll)", type,
                     value.i == INT64_MIN ? "-9223372036854775807ll - 1" : std::to_string(value.i));
}

// What an integer narrower than its compute type keeps.
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

std::string_view combine_type(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum: return "Sum";
    case ReduceKind::product: return "Product";
    case ReduceKind::max: return "Max";
    case ReduceKind::min: return "Min";
    default: internal_error("argmax combines candidates");
  }
}

ConstantValue identity(ReduceKind kind, DType dtype) {
  const int width = bits(dtype);
  const bool is_signed = is_signed_integer(dtype);
  const int64_t highest =
      width == 64 ? INT64_MAX : (int64_t{1} << (width - (is_signed ? 1 : 0))) - 1;
  const int64_t lowest = !is_signed ? 0 : width == 64 ? INT64_MIN : -(int64_t{1} << (width - 1));
  switch (kind) {
    case ReduceKind::sum: return {0, 0};
    case ReduceKind::product: return {1, 1};
    case ReduceKind::max: return {-INFINITY, lowest};
    default: return {INFINITY, dtype == DType::u64 ? -1 : highest};
  }
}

bool is_arg(ReduceKind kind) { return kind == ReduceKind::argmax || kind == ReduceKind::argmin; }

// The text of one kernel. Several loops (of a contraction) share its arguments.
class Writer {
 public:
  void line(std::string text) {
    body_ += std::string(static_cast<size_t>(indent_) * 2, ' ') + std::move(text) + "\n";
  }
  void open(std::string_view text) {
    line(fmt::format("{} {{", text));
    ++indent_;
  }
  void close() {
    --indent_;
    line("}");
  }

  std::string size(Dim dim) {
    if (dim.is_constant()) return fmt::format("(index){}", dim.value());
    for (size_t i = 0; i < sizes_.size(); ++i)
      if (same(sizes_[i], dim)) return fmt::format("(index)s.v[{}]", i);
    sizes_.push_back(dim);
    return fmt::format("(index)s.v[{}]", sizes_.size() - 1);
  }

  std::string affine(const Affine& a) {
    std::string text;
    for (const auto& [axis, stride] : a.terms) {
      if (!text.empty()) text += " + ";
      text +=
          same(stride, 1) ? fmt::format("a{}", axis) : fmt::format("a{} * {}", axis, size(stride));
    }
    if (text.empty()) return size(a.offset);
    return same(a.offset, 0) ? text : text + " + " + size(a.offset);
  }

  std::string holds(const std::vector<Bound>& bounds) {
    std::string text;
    for (const Bound& bound : bounds)
      text += fmt::format("{}(u64)({}) < (u64)({})", text.empty() ? "" : " && ",
                          affine(bound.index), size(bound.extent));
    return text.empty() ? "true" : text;
  }

  // Splits `flat` into the indices of the given axes, the last one fastest.
  void split(const std::string& flat, const std::vector<int>& axes, const std::vector<Axis>& all) {
    std::string rest = flat;
    for (size_t i = axes.size(); i-- > 0;) {
      const std::string extent = size(all[static_cast<size_t>(axes[i])].extent);
      if (i == 0) {
        line(fmt::format("const index a{} = {};", axes[0], rest));
        break;
      }
      line(fmt::format("const index a{} = {} % {};", axes[i], rest, extent));
      line(fmt::format("const index {}_{} = {} / {};", flat, i, rest, extent));
      rest = fmt::format("{}_{}", flat, i);
    }
  }

  int add_buffers(const std::vector<LoopBuffer>& buffers) {
    const auto first = static_cast<int>(buffers_.size());
    buffers_.insert(buffers_.end(), buffers.begin(), buffers.end());
    return first;
  }

  CudaKernel finish(CudaSchedule schedule, int threads, Dim work) {
    std::string arguments;
    for (size_t i = 0; i < buffers_.size(); ++i)
      arguments += fmt::format("{}* b{}, ", storage_type(buffers_[i].dtype), i);
    std::string text = fmt::format("({}const Sizes<{}> s, u32* error) {{\n{}}}\n", arguments,
                                   std::max<size_t>(1, sizes_.size()), body_);
    return {std::move(text), schedule, threads, std::move(buffers_), std::move(sizes_), work};
  }

 private:
  std::string body_;
  int indent_ = 1;
  std::vector<Dim> sizes_;
  std::vector<LoopBuffer> buffers_;
};

// Values of one Loops inside a kernel, named with a prefix.
class Body {
 public:
  Body(Writer& writer, const Loops& loops, std::string prefix)
      : w_(writer),
        loops_(loops),
        prefix_(std::move(prefix)),
        first_buffer_(writer.add_buffers(loops.buffers)) {
    for (size_t i = 0; i < loops.axes.size(); ++i)
      if (loops.axes[i].reduce) reduce_mask_ |= uint64_t{1} << i;
  }

  std::string name_of(ValueId id) const { return fmt::format("{}{}", prefix_, id); }
  bool is_reduce(ValueId id) const { return std::holds_alternative<ReduceValue>(value(id).data); }
  bool is_inner(ValueId id) const { return (value(id).axes & reduce_mask_) != 0; }
  const LoopValue& value(ValueId id) const { return loops_.body[static_cast<size_t>(id)]; }
  int count() const { return static_cast<int>(loops_.body.size()); }

  std::vector<ValueId> operands(ValueId id) const;
  int depth(ValueId id) const;  // reductions that must be complete before the value is
  void collect_inner(ValueId id, std::vector<bool>& wanted) const;

  void define(ValueId id);
  void store(const Store& store);
  std::string buffer(int index) const { return fmt::format("b{}", first_buffer_ + index); }

 private:
  std::string expression(ValueId id);
  std::string expression(const OpValue& v, DType dtype) const;
  std::string expression(const ConvertValue& v, DType dtype) const;
  void define_load(ValueId id, const LoadValue& v);
  std::string stored(DType dtype, const std::string& v) const;

  Writer& w_;
  const Loops& loops_;
  std::string prefix_;
  int first_buffer_;
  uint64_t reduce_mask_ = 0;
};

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

std::string Body::expression(const OpValue& v, DType dtype) const {
  if (v.op == Op::bit_not && dtype == DType::boolean)
    return fmt::format("({} ^ 1)", name_of(v.operands[0]));
  std::string text = fmt::format("op_{}(", onrush::name(v.op));
  for (size_t i = 0; i < v.operands.size(); ++i) text += (i ? ", " : "") + name_of(v.operands[i]);
  return wrapped(dtype, text + ")");
}

std::string Body::expression(const ConvertValue& v, DType dtype) const {
  const std::string x = name_of(v.operand);
  const DType from = value(v.operand).dtype;
  if (dtype == DType::boolean) return fmt::format("({} != 0)", x);
  const std::string converted =
      fmt::format("convert<{}, {}>({})", compute_type(dtype), compute_type(from), x);
  if (!is_float(dtype) || dtype == DType::f32 || dtype == DType::f64)
    return wrapped(dtype, converted);
  if (dtype == DType::f16 || dtype == DType::bf16)
    return fmt::format("to_float(to_{}({}))", onrush::name(dtype), converted);
  if (dtype == DType::f4e2m1) fail(ErrorCode::unsupported, "conversion to float4e2m1 on the GPU");
  return fmt::format("to_float(to_{}({}, {}))", onrush::name(dtype), converted, v.saturate);
}

void Body::define_load(ValueId id, const LoadValue& v) {
  const DType dtype = value(id).dtype;
  std::string address = w_.affine(v.address);
  const std::string type(compute_type(dtype));
  const bool guarded = !v.bounds.empty();
  if (guarded) {
    w_.line(fmt::format("{} {} = {};", type, name_of(id), literal(dtype, v.fill)));
    w_.open(fmt::format("if ({})", w_.holds(v.bounds)));
  }
  for (const DynamicTerm& term : v.dynamic) {
    const std::string position = fmt::format("{}_{}", name_of(id), term.value);
    w_.line(fmt::format("i64 {} = {};", position, name_of(term.value)));
    w_.line(fmt::format("if ((u64){} >= (u64)({})) {{ *error = 1; {} = 0; }}", position,
                        w_.size(term.extent), position));
    address += fmt::format(" + (index){} * {}", position, w_.size(term.stride));
  }
  const std::string memory = buffer(v.buffer);
  std::string read = fmt::format("load({}, {})", memory, address);
  if (dtype == DType::f4e2m1) read = fmt::format("load_f4e2m1({}, {})", memory, address);
  else if (is_sub_byte(dtype))
    read = fmt::format("load_packed<{}, {}>({}, {})", bits(dtype), is_signed_integer(dtype), memory,
                       address);
  if (!guarded) return w_.line(fmt::format("const {} {} = {};", type, name_of(id), read));
  w_.line(fmt::format("{} = {};", name_of(id), read));
  w_.close();
}

std::string Body::expression(ValueId id) {
  const LoopValue& v = value(id);
  if (const auto* c = std::get_if<ConstantValue>(&v.data)) return literal(v.dtype, *c);
  if (const auto* c = std::get_if<SizeValue>(&v.data)) return w_.size(c->dim);
  if (const auto* c = std::get_if<IndexValue>(&v.data)) return w_.affine(c->index);
  if (const auto* c = std::get_if<OpValue>(&v.data)) return expression(*c, v.dtype);
  if (const auto* c = std::get_if<ConvertValue>(&v.data)) return expression(*c, v.dtype);
  if (const auto* c = std::get_if<BoundsValue>(&v.data))
    return fmt::format("({})", w_.holds(c->bounds));
  if (std::holds_alternative<AccumulatorValue>(v.data)) return "accumulator";
  internal_error("loads and reductions are more than an expression");
}

void Body::define(ValueId id) {
  if (const auto* load = std::get_if<LoadValue>(&value(id).data)) return define_load(id, *load);
  w_.line(
      fmt::format("const {} {} = {};", compute_type(value(id).dtype), name_of(id), expression(id)));
}

std::string Body::stored(DType dtype, const std::string& v) const {
  if (dtype == DType::f16 || dtype == DType::bf16)
    return fmt::format("to_{}({})", onrush::name(dtype), v);
  if (dtype == DType::boolean) return fmt::format("(u8)({} != 0)", v);
  if (bits(dtype) == 8 && is_float(dtype)) {
    // An explicit conversion has rounded, and saturated if it was to.
    return fmt::format("to_{}({}{})", onrush::name(dtype), v, ", false");
  }
  return fmt::format("({})({})", storage_type(dtype), v);
}

void Body::store(const Store& store) {
  const DType dtype = loops_.buffers[static_cast<size_t>(store.buffer)].dtype;
  if (is_sub_byte(dtype))
    fail(ErrorCode::unsupported, "results of type {} on the GPU", onnx_name(dtype));
  w_.line(fmt::format("{}[{}] = {};", buffer(store.buffer), w_.affine(store.address),
                      stored(dtype, name_of(store.value))));
}

// --- schedules

std::vector<int> axes_where(const Loops& loops, bool reduce) {
  std::vector<int> axes;
  for (size_t i = 0; i < loops.axes.size(); ++i)
    if (loops.axes[i].reduce == reduce) axes.push_back(static_cast<int>(i));
  return axes;
}

Dim extent_of(const Loops& loops, const std::vector<int>& axes) {
  Dim extent = 1;
  for (int axis : axes) extent = extent * loops.axes[static_cast<size_t>(axis)].extent;
  return extent;
}

// Whether most memory is read along the reduce axes.
bool reads_along_rows(const Loops& loops) {
  int along = 0, across = 0;
  for (const LoopValue& value : loops.body) {
    const auto* load = std::get_if<LoadValue>(&value.data);
    if (!load) continue;
    for (const auto& [axis, stride] : load->address.terms)
      if (same(stride, 1)) ++(loops.axes[static_cast<size_t>(axis)].reduce ? along : across);
  }
  return along >= across && along > 0;
}

CudaKernel print_pointwise(const Loops& loops) {
  Writer w;
  Body body(w, loops, "v");
  const std::vector<int> axes = axes_where(loops, false);
  const Dim work = extent_of(loops, axes);
  w.open(fmt::format("for (index w = (index)first_element(); w < {}; w += (index)grid_step())",
                     w.size(work)));
  w.split("w", axes, loops.axes);
  for (ValueId id = 0; id < body.count(); ++id) body.define(id);
  for (const Store& store : loops.stores) body.store(store);
  w.close();
  return w.finish(CudaSchedule::pointwise, 256, work);
}

class ReductionPrinter {
 public:
  explicit ReductionPrinter(const Loops& loops)
      : loops_(loops), body_(w_, loops, "v"), rows_(reads_along_rows(loops)) {}

  CudaKernel print() {
    const std::vector<int> parallel = axes_where(loops_, false);
    const Dim work = extent_of(loops_, parallel);
    if (rows_)
      w_.open(fmt::format("for (index w = blockIdx.x; w < {}; w += gridDim.x)", w_.size(work)));
    else
      w_.open(fmt::format("for (index w = (index)first_element(); w < {}; w += (index)grid_step())",
                          w_.size(work)));
    w_.split("w", parallel, loops_.axes);
    int passes = 0;
    for (ValueId id = 0; id < body_.count(); ++id) passes = std::max(passes, body_.depth(id));
    for (int pass = 0; pass <= passes; ++pass) {
      for (ValueId id = 0; id < body_.count(); ++id)
        if (!body_.is_inner(id) && !body_.is_reduce(id) && body_.depth(id) == pass)
          body_.define(id);
      if (pass < passes) print_pass(pass);
    }
    print_stores();
    w_.close();
    const Dim extent = extent_of(loops_, axes_where(loops_, true));
    const int threads = !rows_                   ? 256
                        : extent.value() <= 64   ? 32
                        : extent.value() <= 1024 ? 128
                                                 : 512;
    return w_.finish(rows_ ? CudaSchedule::row : CudaSchedule::column, threads, work);
  }

 private:
  void open_loop() {
    const std::vector<int> reduce = axes_where(loops_, true);
    const std::string extent = w_.size(extent_of(loops_, reduce));
    if (rows_) w_.open(fmt::format("for (index r = threadIdx.x; r < {}; r += blockDim.x)", extent));
    else w_.open(fmt::format("for (index r = 0; r < {}; ++r)", extent));
    w_.split("r", reduce, loops_.axes);
  }

  std::string type_of(ValueId id) const { return std::string(compute_type(body_.value(id).dtype)); }

  // One sweep over the rows for all reductions whose operands are ready.
  void print_pass(int pass) {
    std::vector<ValueId> reductions;
    std::vector<bool> wanted(static_cast<size_t>(body_.count()));
    for (ValueId id = 0; id < body_.count(); ++id) {
      if (!body_.is_reduce(id) || body_.depth(id) != pass + 1) continue;
      reductions.push_back(id);
      body_.collect_inner(std::get<ReduceValue>(body_.value(id).data).operand, wanted);
    }
    for (ValueId id : reductions) declare(id);
    open_loop();
    for (ValueId id = 0; id < body_.count(); ++id)
      if (wanted[static_cast<size_t>(id)]) body_.define(id);
    for (ValueId id : reductions) accumulate(id);
    w_.close();
    for (ValueId id : reductions) complete(id);
  }

  void declare(ValueId id) {
    const auto& reduce = std::get<ReduceValue>(body_.value(id).data);
    const std::string operand_type = type_of(reduce.operand);
    if (is_arg(reduce.kind))
      w_.line(fmt::format("Candidate<{}> c{} = {{0, -1}};", operand_type, id));
    else
      w_.line(fmt::format(
          "{} c{} = {};", type_of(id), id,
          literal(body_.value(id).dtype, identity(reduce.kind, body_.value(id).dtype))));
  }

  std::string better(const ReduceValue& reduce) const {
    return fmt::format("{}, {}", reduce.kind == ReduceKind::argmax, reduce.last);
  }

  void accumulate(ValueId id) {
    const auto& reduce = std::get<ReduceValue>(body_.value(id).data);
    const std::string x = body_.name_of(reduce.operand);
    if (is_arg(reduce.kind))
      w_.line(fmt::format("c{0} = better<{1}>(c{0}, Candidate<{2}>{{{3}, (i64)({4})}});", id,
                          better(reduce), type_of(reduce.operand), x, w_.affine(reduce.position)));
    else w_.line(fmt::format("c{0} = {1}::apply(c{0}, {2});", id, combine_type(reduce.kind), x));
  }

  void complete(ValueId id) {
    const auto& reduce = std::get<ReduceValue>(body_.value(id).data);
    std::string result = fmt::format("c{}", id);
    if (is_arg(reduce.kind)) {
      if (rows_) result = fmt::format("block_best<{}>({})", better(reduce), result);
      result += ".index";
    } else if (rows_) {
      result = fmt::format("block_reduce<{}>({})", combine_type(reduce.kind), result);
    }
    w_.line(fmt::format("const {} {} = {};", type_of(id), body_.name_of(id),
                        wrapped(body_.value(id).dtype, result)));
  }

  bool stores_inside(const Store& store) const {
    if (body_.is_inner(store.value)) return true;
    return std::any_of(
        store.address.terms.begin(), store.address.terms.end(),
        [&](const auto& term) { return loops_.axes[static_cast<size_t>(term.first)].reduce; });
  }

  void print_stores() {
    std::vector<bool> wanted(static_cast<size_t>(body_.count()));
    bool inside = false;
    for (const Store& store : loops_.stores) {
      if (!stores_inside(store)) continue;
      inside = true;
      body_.collect_inner(store.value, wanted);
    }
    if (inside) {
      open_loop();
      for (ValueId id = 0; id < body_.count(); ++id)
        if (wanted[static_cast<size_t>(id)]) body_.define(id);
      for (const Store& store : loops_.stores)
        if (stores_inside(store)) body_.store(store);
      w_.close();
    }
    if (rows_) w_.open("if (threadIdx.x == 0)");
    for (const Store& store : loops_.stores)
      if (!stores_inside(store)) body_.store(store);
    if (rows_) w_.close();
  }

  const Loops& loops_;
  Writer w_;
  Body body_;
  bool rows_;
};

}  // namespace

CudaKernel print_cuda(const Loops& loops) {
  const bool reduces = std::any_of(
      loops.body.begin(), loops.body.end(),
      [](const LoopValue& value) { return std::holds_alternative<ReduceValue>(value.data); });
  return reduces ? ReductionPrinter(loops).print() : print_pointwise(loops);
}

CudaKernel print_cuda(const Contraction& c) {
  Writer w;
  Body lhs(w, c.lhs, "l"), rhs(w, c.rhs, "r"), epilogue(w, c.epilogue, "v");
  std::vector<int> result_axes, k_axes;
  const int outer = c.batch_axes + c.m_axes + c.n_axes;
  for (int i = 0; i < outer; ++i) result_axes.push_back(i);
  for (int i = 0; i < c.k_axes; ++i) k_axes.push_back(outer + i);
  const Dim work = extent_of(c.lhs, result_axes);
  const std::string type(compute_type(c.accumulator));
  w.open(fmt::format("for (index w = (index)first_element(); w < {}; w += (index)grid_step())",
                     w.size(work)));
  w.split("w", result_axes, c.lhs.axes);
  w.line(fmt::format("{} accumulator = 0;", type));
  w.open(fmt::format("for (index k = 0; k < {}; ++k)", w.size(extent_of(c.lhs, k_axes))));
  w.split("k", k_axes, c.lhs.axes);
  for (ValueId id = 0; id < lhs.count(); ++id) lhs.define(id);
  for (ValueId id = 0; id < rhs.count(); ++id) rhs.define(id);
  w.line(fmt::format("accumulator = op_add(accumulator, op_mul(({0}){1}, ({0}){2}));", type,
                     lhs.name_of(c.lhs.stores[0].value), rhs.name_of(c.rhs.stores[0].value)));
  w.close();
  for (ValueId id = 0; id < epilogue.count(); ++id) epilogue.define(id);
  for (const Store& store : c.epilogue.stores) epilogue.store(store);
  w.close();
  return w.finish(CudaSchedule::contraction, 128, work);
}

std::string cuda_program(std::span<const std::string> texts, bool wide_index) {
  std::string program = "#include \"onrush.cuh\"\n";
  program += wide_index ? "typedef i64 index;\n" : "typedef int index;\n";
  for (size_t i = 0; i < texts.size(); ++i)
    program += fmt::format("\nextern \"C\" __global__ void kernel_{}{}", i, texts[i]);
  return program;
}

}  // namespace onrush
