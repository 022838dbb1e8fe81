#include "codegen/cuda_operand.h"

#include <algorithm>

#include "codegen/merge_axes.h"

namespace onrush {

std::vector<int> kinds_of(const Contraction& c) {
  std::vector<int> kinds;
  kinds.insert(kinds.end(), static_cast<size_t>(c.batch_axes), CudaContraction::batch);
  kinds.insert(kinds.end(), static_cast<size_t>(c.m_axes), CudaContraction::m);
  kinds.insert(kinds.end(), static_cast<size_t>(c.n_axes), CudaContraction::n);
  kinds.insert(kinds.end(), static_cast<size_t>(c.k_axes), CudaContraction::k);
  return kinds;
}

CudaContraction::Part merged(const Loops& loops, const std::vector<int>& kinds) {
  CudaContraction::Part part{loops, {}};
  part.kinds = merge_axes(part.loops, kinds);
  return part;
}

ContractionMath math_of(const Contraction& c, ContractionMath f32_math) {
  if (c.accumulator == DType::f32 && c.operand == c.rhs_operand) {
    if (c.operand == DType::f16) return ContractionMath::f16;
    if (c.operand == DType::bf16) return ContractionMath::bf16;
    if (c.operand == DType::f32) return f32_math;
  }
  return ContractionMath::scalar;
}

std::vector<int> axes_of(const CudaContraction::Part& part, int kind) {
  std::vector<int> axes;
  for (size_t i = 0; i < part.kinds.size(); ++i)
    if (part.kinds[i] == kind) axes.push_back(static_cast<int>(i));
  return axes;
}

Extent extent_of(const CudaContraction::Part& part, int kind) {
  return extent_of(part.loops, axes_of(part, kind));
}

namespace {

// Declares members for the buffers; gives their values in braces, in order.
std::string print_members(Writer& w, const Body& body) {
  std::string members;
  for (size_t i = 0; i < body.loops().buffers.size(); ++i) {
    const std::string buffer = body.buffer(static_cast<int>(i));
    w.line(fmt::format("{}* {};", cuda_storage_type(body.loops().buffers[i].dtype), buffer));
    members += buffer + ", ";
  }
  w.line("const S& s;");
  w.line("u32* error;");
  return members;
}

// How one operand gets from memory to shared memory.
enum class Fetch : uint8_t {
  copied,    // 16 bytes along k at once
  across,    // 16 bytes along m or n at once; the tile is stored with k as its rows
  computed,  // by threads, from any Loops
};

class OperandPrinter {
 public:
  OperandPrinter(Writer& w, const CudaOperand& operand)
      : w_(w),
        operand_(operand),
        part_(*operand.part),
        batch_(axes_of(part_, CudaContraction::batch)),
        rows_(axes_of(part_, operand.rows)),
        k_(axes_of(part_, CudaContraction::k)),
        pieces_(static_cast<int>(16 / byte_size(operand.factor, 1))),
        axes_(padded_axes()),
        fetch_(choose_fetch()),
        body_(w, part_.loops, operand.prefix, lanes_,
              operand.factor == DType::f16 || operand.factor == DType::bf16) {}

  bool across() const { return fetch_ == Fetch::across; }

  // Declares the struct; gives an expression that makes one.
  std::string print() {
    w_.open("struct " + operand_.name);
    const std::string members = print_members(w_, body_);
    w_.line(fmt::format(
        "enum {{ kCopied = {:d}, kAcross = {:d}, kAlongRows = {:d}, kWeights = {:d} }};",
        fetch_ == Fetch::copied, fetch_ == Fetch::across, along_rows(),
        operand_.packed && fetch_ != Fetch::computed));
    print_column();
    if (fetch_ == Fetch::computed) print_computed();
    else print_copied();
    w_.close("};");
    return fmt::format("{}{{{}s, error}}", operand_.name, members);
  }

 private:
  bool padded() const { return operand_.padded_k > 0; }
  std::vector<Axis> padded_axes() const {
    std::vector<Axis> axes = part_.loops.axes;
    if (padded()) axes.back().extent = operand_.padded_k;
    return axes;
  }

  const LoadValue* plain_load() const {
    const ValueId id = part_.loops.stores[0].value;
    const LoopValue& value = part_.loops.body[static_cast<size_t>(id)];
    const auto* load = std::get_if<LoadValue>(&value.data);
    if (!load || !load->dynamic.empty()) return nullptr;
    if (part_.loops.buffers[static_cast<size_t>(load->buffer)].dtype != operand_.factor)
      return nullptr;
    return load->bounds.empty() || load->fill.f == 0 ? load : nullptr;
  }

  bool unit_stride(const Affine& address, int axis) const {
    return std::any_of(address.terms.begin(), address.terms.end(), [&](const auto& term) {
      return term.first == axis && same(term.second, 1);
    });
  }
  bool bounded_along(const LoadValue& load, int axis) const {
    return std::any_of(load.bounds.begin(), load.bounds.end(), [&](const Bound& bound) {
      return std::any_of(bound.index.terms.begin(), bound.index.terms.end(),
                         [&](const auto& term) { return term.first == axis; });
    });
  }

  // Whether pieces along `axis` can be copied whole: neighbours, aligned, within the bounds
  // together.
  bool copies_along(const LoadValue& load, int axis) {
    if (!unit_stride(load.address, axis) || bounded_along(load, axis)) return false;
    if (!w_.divides(load.address.offset, pieces_)) return false;
    for (const auto& [a, stride] : load.address.terms)
      if (a != axis && !w_.divides(stride, pieces_)) return false;
    // Rows of packed weights are padded.
    if (operand_.packed) return true;
    return w_.divides(part_.loops.axes[static_cast<size_t>(axis)].extent, pieces_);
  }

  Fetch choose_fetch() {
    const LoadValue* load = plain_load();
    if (load && !k_.empty() && copies_along(*load, k_.back())) return Fetch::copied;
    if (load && !rows_.empty() && byte_size(operand_.factor, 1) == 2 &&
        copies_along(*load, rows_.back()))
      return Fetch::across;
    if (!k_.empty() && w_.divides(axes_[static_cast<size_t>(k_.back())].extent, pieces_))
      lanes_ = {k_.back(), pieces_, 1, 0, padded()};
    return Fetch::computed;
  }

  // Neighbouring threads compute neighbouring rows where those are neighbours in memory.
  bool along_rows() const {
    if (fetch_ != Fetch::computed || rows_.empty()) return false;
    int rows = 0, ks = 0;
    for (const LoopValue& value : part_.loops.body)
      if (const auto* load = std::get_if<LoadValue>(&value.data)) {
        rows += unit_stride(load->address, rows_.back());
        ks += !k_.empty() && unit_stride(load->address, k_.back());
      }
    return rows > ks;
  }

  Dim extent(int axis) const { return axes_[static_cast<size_t>(axis)].extent; }

  // struct Column: a position along k, as indices of the k axes.
  void print_column() {
    std::string members, from_axes;
    for (int axis : k_) {
      members += fmt::format("index a{}; ", axis);
      from_axes += fmt::format("{}a{}", from_axes.empty() ? "" : ", ", axis);
    }
    if (k_.empty()) {
      w_.line("struct Column { index k; };");
      w_.line("__device__ Column column(index k) const { return {k}; }");
      w_.line("__device__ void advance(Column& c, index step) const { c.k += step; }");
      w_.line("__device__ bool inside(const Column& c) const { return c.k < 1; }");
      return;
    }
    w_.line(fmt::format("struct Column {{ {}}};", members));
    w_.open("__device__ Column column(index k) const");
    w_.split("k", k_, axes_);
    w_.line(fmt::format("return {{{}}};", from_axes));
    w_.close();
    w_.open("__device__ void advance(Column& c, index step) const");
    w_.line(fmt::format("c.a{} += step;", k_.back()));
    for (size_t i = k_.size(); i-- > 1;)
      w_.line(fmt::format("while (c.a{0} >= {1}) {{ c.a{0} -= {1}; ++c.a{2}; }}", k_[i],
                          w_.size(extent(k_[i])), k_[i - 1]));
    w_.close();
    w_.line(fmt::format("__device__ bool inside(const Column& c) const {{ return c.a{} < {}; }}",
                        k_[0], w_.size(extent(k_[0]))));
  }

  void print_row_start(const std::string& members) {
    w_.line(fmt::format("struct Row {{ {} }};", members));
    w_.open("__device__ Row row(index batch, index at) const");
    w_.split("batch", batch_, part_.loops.axes);
    w_.split("at", rows_, part_.loops.axes);
  }
  std::string row_valid() const {
    return rows_.empty() ? "at < 1" : fmt::format("a{} < {}", rows_[0], w_.size(extent(rows_[0])));
  }

  // The terms of `a` over the k axes, or over the others with the offset.
  Affine part_of(const Affine& a, bool over_k) const {
    Affine result{over_k ? Dim(0) : a.offset, {}};
    for (const auto& term : a.terms)
      if ((std::find(k_.begin(), k_.end(), term.first) != k_.end()) == over_k)
        result.terms.push_back(term);
    return result;
  }
  void open_columns() {
    for (int axis : k_) w_.line(fmt::format("const index a{0} = c.a{0};", axis));
  }

  void print_copied() {
    const LoadValue& load = *plain_load();
    std::string members = "index offset;", values = w_.affine(part_of(load.address, false));
    for (size_t i = 0; i < load.bounds.size(); ++i) {
      members += fmt::format(" index i{};", i);
      values += ", " + w_.affine(part_of(load.bounds[i].index, false));
    }
    print_row_start(members + " bool valid;");
    w_.line(fmt::format("return {{{}, {}}};", values, row_valid()));
    w_.close();
    w_.open("__device__ const void* at(const Row& r, const Column& c, bool& valid) const");
    open_columns();
    std::string condition = "r.valid && inside(c)";
    for (size_t i = 0; i < load.bounds.size(); ++i)
      condition += fmt::format(" && (uindex)(r.i{} + {}) < (uindex)({})", i,
                               w_.affine(part_of(load.bounds[i].index, true)),
                               w_.size(load.bounds[i].extent));
    w_.line(fmt::format("valid = {};", condition));
    const std::string memory = body_.buffer(load.buffer);
    w_.line(fmt::format("return valid ? {0} + (r.offset + {1}) : {0};", memory,
                        w_.affine(part_of(load.address, true))));
    w_.close();
  }

  void print_computed() {
    std::string members, values;
    std::vector<int> axes = batch_;
    axes.insert(axes.end(), rows_.begin(), rows_.end());
    for (int axis : axes) {
      members += fmt::format("index a{}; ", axis);
      values += fmt::format("a{}, ", axis);
    }
    print_row_start(members + "bool valid;");
    w_.line(fmt::format("return {{{}{}}};", values, row_valid()));
    w_.close();
    const std::string type(cuda_storage_type(operand_.factor));
    w_.open(
        fmt::format("__device__ void get(const Row& r, const Column& first, {} (&out)[{}]) const",
                    type, pieces_));
    for (int axis : axes) w_.line(fmt::format("const index a{0} = r.a{0};", axis));
    const ValueId result = part_.loops.stores[0].value;
    if (lanes_.axis >= 0) {
      w_.line("const Column c = first;");
      w_.line(fmt::format("UNROLL for (int j = 0; j < {}; ++j) out[j] = {};", pieces_, zero()));
      w_.line("if (!(r.valid && inside(c))) return;");
      open_columns();
      body_.define_all();
      const std::string value = factor(body_.element(result));
      body_.each_lane(padded()
                          ? fmt::format("out[j] = {} ? {} : {};", body_.in_range(), value, zero())
                          : fmt::format("out[j] = {};", value));
    } else {
      w_.line("Column c = first;");
      w_.open(fmt::format("UNROLL for (int e = 0; e < {}; ++e)", pieces_));
      w_.line(fmt::format("out[e] = {};", zero()));
      w_.open("if (r.valid && inside(c))");
      open_columns();
      body_.define_all();
      w_.line(fmt::format("out[e] = {};", factor(body_.element(result))));
      w_.close();
      w_.line("advance(c, 1);");
      w_.close();
    }
    w_.close();
  }

  std::string zero() const { return factor(literal(operand_.sum, {0, 0})); }
  std::string factor(const std::string& value) const {
    if (operand_.factor == DType::f16 || operand_.factor == DType::bf16)
      return fmt::format("to_{}({})", onrush::name(operand_.factor), value);
    return fmt::format("({})({})", cuda_storage_type(operand_.factor), value);
  }

  Writer& w_;
  CudaOperand operand_;
  const CudaContraction::Part& part_;
  std::vector<int> batch_, rows_, k_;
  int pieces_;              // elements in 16 bytes
  std::vector<Axis> axes_;  // as k counts them
  Lanes lanes_;
  Fetch fetch_;
  Body body_;
};

}  // namespace

PrintedOperand print_operand(Writer& w, const CudaOperand& operand) {
  OperandPrinter printer(w, operand);
  return {printer.print(), printer.across()};
}

std::string print_image(Writer& w, const CudaOperand& operand, const WindowAxes& axes) {
  const CudaContraction::Part& part = *operand.part;
  const bool narrow = operand.factor == DType::f16 || operand.factor == DType::bf16;
  Body body(w, part.loops, operand.prefix, {}, narrow);
  std::vector<int> rest = axes_of(part, operand.rows);
  rest.resize(rest.size() - 2);
  w.open("struct Image");
  const std::string members = print_members(w, body);
  const auto name = [](int axis) { return axis < 0 ? "" : fmt::format(" a{}", axis); };
  w.open(fmt::format(
      "__device__ {} operator()(index rest, index{}, index{}, index{}, index{}, index{}) const",
      cuda_storage_type(operand.factor), name(axes.y), name(axes.x), name(axes.tap_y),
      name(axes.channel), name(axes.tap_x)));
  w.split("rest", rest, part.loops.axes);
  body.define_all();
  const std::string value = body.name_of(part.loops.stores[0].value);
  w.line(narrow ? fmt::format("return to_{}({});", onrush::name(operand.factor), value)
                : fmt::format("return {};", value));
  w.close();
  w.close("};");
  return fmt::format("Image{{{}s, error}}", members);
}

std::string print_score(Writer& w, const CudaContraction::Part& part) {
  Body body(w, part.loops, "p", {}, true);
  w.open("struct Score");
  const std::string members = print_members(w, body);
  w.open("__device__ float operator()(index batch, index m, index n, float product) const");
  w.line("const float accumulator[1] = {product};");
  w.split("batch", axes_of(part, CudaContraction::batch), part.loops.axes);
  w.split("m", axes_of(part, CudaContraction::m), part.loops.axes);
  w.split("n", axes_of(part, CudaContraction::n), part.loops.axes);
  body.define_all();
  w.line(fmt::format("return {};", body.name_of(part.loops.stores[0].value)));
  w.close();
  w.close("};");
  return fmt::format("Score{{{}s, error}}", members);
}

namespace {

// The loads of an epilogue that are made ahead of its results: vectors do not depend on m.
struct Fetched {
  std::vector<ValueId> vectors, matrices;

  Fetched(Body& body, const std::vector<int>& m) {
    for (ValueId id = 0; id < body.count(); ++id) {
      if (!body.fetches(id)) continue;
      const bool along_m =
          std::ranges::any_of(m, [&](int axis) { return (body.value(id).axes >> axis & 1) != 0; });
      (along_m ? matrices : vectors).push_back(id);
    }
  }
};

class FetchPrinter {
 public:
  FetchPrinter(Writer& w, Body& body, const CudaContraction::Part& part, int width)
      : w_(w),
        body_(body),
        part_(part),
        batch_(axes_of(part, CudaContraction::batch)),
        m_(axes_of(part, CudaContraction::m)),
        n_(axes_of(part, CudaContraction::n)),
        width_(width),
        fetched_(body, m_) {}

  void print_functions() {
    print_fetch("Vector", "vector", "index batch, index n", fetched_.vectors, {});
    print_fetch("Matrix", "matrix", "index batch, index m, index n", fetched_.matrices, m_);
    print_prefetch();
  }
  void define_all() {
    for (ValueId id = 0; id < body_.count(); ++id) {
      const auto is_in = [&](const std::vector<ValueId>& ids) {
        return std::ranges::find(ids, id) != ids.end();
      };
      if (is_in(fetched_.vectors)) body_.define_fetched(id, "vector." + body_.name_of(id));
      else if (is_in(fetched_.matrices)) body_.define_fetched(id, "matrix." + body_.name_of(id));
      else body_.define(id);
    }
  }

 private:
  DType dtype_of(ValueId id) const { return buffer_of(id).dtype; }
  const LoopBuffer& buffer_of(ValueId id) const {
    const auto& load = std::get<LoadValue>(body_.value(id).data);
    return part_.loops.buffers[static_cast<size_t>(load.buffer)];
  }

  void print_fetch(std::string_view type, const std::string& name, std::string_view position,
                   const std::vector<ValueId>& ids, const std::vector<int>& m) {
    std::string members;
    for (ValueId id : ids)
      members += fmt::format(" __align__(16) {} {}[{}];", cuda_storage_type(dtype_of(id)),
                             body_.name_of(id), width_);
    w_.line(fmt::format("struct {} {{{} }};", type, members));
    w_.open(fmt::format("__device__ void fetch({}, {}& {}) const", position, type, name));
    w_.split("batch", batch_, part_.loops.axes);
    if (!m.empty()) w_.split("m", m, part_.loops.axes);
    w_.split("n", n_, part_.loops.axes);
    for (ValueId id : ids) body_.fetch(id, name + "." + body_.name_of(id));
    w_.close();
  }

  // Of `columns` neighbours of a row, where they are neighbours in memory.
  void print_prefetch() {
    w_.open("__device__ void prefetch(index batch, index m, index n, index columns) const");
    w_.split("batch", batch_, part_.loops.axes);
    w_.split("m", m_, part_.loops.axes);
    w_.split("n", n_, part_.loops.axes);
    for (ValueId id : fetched_.matrices) {
      const auto& load = std::get<LoadValue>(body_.value(id).data);

      if (n_.size() == 1)
        w_.line(fmt::format("prefetch_row({} + ({}), columns);", body_.buffer(load.buffer),
                            w_.affine(load.address)));
    }
    w_.close();
  }

  Writer& w_;
  Body& body_;
  const CudaContraction::Part& part_;
  std::vector<int> batch_, m_, n_;
  int width_;
  Fetched fetched_;
};

}  // namespace

PrintedEpilogue print_epilogue(Writer& w, const CudaContraction::Part& part, DType sum,
                               bool fetches) {
  const std::vector<int> batch = axes_of(part, CudaContraction::batch),
                         m = axes_of(part, CudaContraction::m),
                         n = axes_of(part, CudaContraction::n);
  Lanes lanes;
  if (!n.empty()) lanes = store_lanes(w, part.loops, {n.back()});
  const bool along_m = lanes.axis < 0 && !m.empty() && store_lanes(w, part.loops, m).axis >= 0;
  if (lanes.axis < 0 && !n.empty()) lanes = {n.back(), 1, 1, 0};
  Body body(w, part.loops, "v", lanes);
  w.open("struct Epilogue");
  const std::string members = print_members(w, body);
  w.line(fmt::format("enum {{ kWidth = {}, kAlongM = {:d} }};", lanes.count(), along_m));
  std::optional<FetchPrinter> fetch;
  if (fetches) fetch.emplace(w, body, part, lanes.count()).print_functions();
  w.open(
      fmt::format("__device__ void operator()(index batch, index m, index n, const {} "
                  "(&accumulator)[{}]{}) const",
                  cuda_compute_type(sum), lanes.count(),
                  fetches ? ", const Vector& vector, const Matrix& matrix, bool inside" : ""));
  w.split("batch", batch, part.loops.axes);
  w.split("m", m, part.loops.axes);
  w.split("n", n, part.loops.axes);
  if (fetch) {
    fetch->define_all();
    w.open("if (inside)");
    body.store_all();
    w.close();
  } else {
    body.define_all();
    body.store_all();
  }
  w.close();
  w.close("};");
  return {fmt::format("Epilogue{{{}s, error}}", members), lanes.count(), along_m};
}

std::optional<CudaTensorMap> tensor_map_of(Writer& w, const CudaOperand& operand, int box_rows) {
  const Loops& loops = operand.part->loops;
  const std::vector<int> batch = axes_of(*operand.part, CudaContraction::batch),
                         rows = axes_of(*operand.part, operand.rows),
                         k = axes_of(*operand.part, CudaContraction::k);
  const auto* load =
      std::get_if<LoadValue>(&loops.body[static_cast<size_t>(loops.stores[0].value)].data);
  if (!load || !load->dynamic.empty() || !load->bounds.empty() || operand.padded_k) return {};
  if (batch.size() > 1 || rows.size() != 1 || k.size() != 1) return {};
  if (loops.buffers[static_cast<size_t>(load->buffer)].dtype != operand.factor) return {};
  if (!same(load->address.offset, 0) || !same(stride_of(load->address, k[0]), 1)) return {};
  const int piece = static_cast<int>(16 / byte_size(operand.factor, 1));
  CudaTensorMap map;
  map.buffer = load->buffer;
  map.box_rows = box_rows;
  map.columns = loops.axes[static_cast<size_t>(k[0])].extent;
  map.rows = loops.axes[static_cast<size_t>(rows[0])].extent;
  map.row_stride = stride_of(load->address, rows[0]);
  if (!w.divides(stride_of(load->address, rows[0]), piece)) return {};
  if (batch.empty()) return map;
  map.batches = loops.axes[static_cast<size_t>(batch[0])].extent;
  map.batch_stride = stride_of(load->address, batch[0]);
  // Rows that all batches share are no stride of a tensor map.
  const Dim stride = stride_of(load->address, batch[0]);
  if (same(stride, 0) || !w.divides(stride, piece)) return {};
  return map;
}

}  // namespace onrush
