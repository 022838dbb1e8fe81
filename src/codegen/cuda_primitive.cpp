#include "codegen/cuda_primitive.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "codegen/cuda_writer.h"

namespace onrush {
namespace {

using Part = PrimitivePart;

// As in device/sort.cuh and device/scan.cuh.
constexpr int64_t kSortTile = 2048;
constexpr int64_t kRowChunk = 2048, kColumnChunk = 128, kFewestColumns = 32;
constexpr int kSortThreads = 512, kThreads = 256;

const LoopBuffer kWorkspace = {DType::u64, NodeId()};

bool has_compute_type(DType dtype) { return dtype != DType::string && !is_complex(dtype); }

// --- sizes

Extent product_of(std::span<const Dim> dims) {
  Extent extent;
  extent.factors.assign(dims.begin(), dims.end());
  if (extent.factors.empty()) extent.factors.emplace_back(1);
  return extent;
}
Extent after(const Dims& shape, int axis) {
  return product_of(std::span(shape).subspan(static_cast<size_t>(axis) + 1));
}
Extent before(const Dims& shape, int axis) {
  return product_of(std::span(shape).first(static_cast<size_t>(axis)));
}
// The lines along an axis.
Extent lines_along(const Dims& shape, int axis) {
  Extent lines = before(shape, axis);
  const Extent inner = after(shape, axis);
  lines.factors.insert(lines.factors.end(), inner.factors.begin(), inner.factors.end());
  return lines;
}

// --- elements

// The statement that copies an element's bits.
std::string copy_statement(DType dtype, const std::string& to, const std::string& to_at,
                           const std::string& from, const std::string& from_at) {
  if (is_sub_byte(dtype))
    return fmt::format("store_packed<{0}>({1}, {2}, load_packed<{0}, false>({3}, {4}));",
                       bits(dtype), to, to_at, from, from_at);
  return fmt::format("{}[{}] = {}[{}];", to, to_at, from, from_at);
}

// The type in which sums and products of many elements are computed: as in the reference.
std::string_view accumulator_type(DType dtype) {
  return is_float(dtype) ? "double" : cuda_compute_type(dtype);
}

std::string open_grid_loop(const std::string& count) {
  return fmt::format("for (index w = (index)first_element(); w < {}; w += (index)grid_step())",
                     count);
}

// The index that lines and elements of lines have in memory: (row * extent + at) * inner + column.
struct LineAddresses {
  Extent extent, inner;

  std::string operator()(Writer& w, std::string_view line, std::string_view at) const {
    return fmt::format("line_address({}, {}, {}, {})", line, at, w.size(extent), w.size(inner));
  }
};

// --- scatter

std::string_view combine_type(ScatterKind kind) {
  switch (kind) {
    case ScatterKind::add: return "Sum";
    case ScatterKind::mul: return "Product";
    case ScatterKind::max: return "Max";
    case ScatterKind::min: return "Min";
    case ScatterKind::set: break;
  }
  internal_error("a scatter that sets does not combine");
}

// Sums and products of floats are rounded: their order is the updates'.
bool needs_order(const ScatterAttr& attr, DType dtype) {
  return is_float(dtype) && (attr.kind == ScatterKind::add || attr.kind == ScatterKind::mul);
}

// An update is at (key, free): the coordinates on which the indices depend, and those that address
// the data themselves. What meets at one element of the data has the same free coordinates.
class ScatterPrinter {
 public:
  ScatterPrinter(const CudaPrimitive& primitive, const Graph& graph, const PrintSizes& sizes)
      : p_(primitive),
        graph_(graph),
        node_(graph[primitive.node]),
        attr_(node_.as<ScatterAttr>()),
        data_(graph.type(node_.inputs[0])),
        updates_(graph.type(node_.inputs[1])),
        w_(sizes) {
    for (int axis = 0; axis < static_cast<int>(updates_.shape.size()); ++axis)
      (is_free(axis) ? free_axes_ : key_axes_).push_back(axis);
    keys_ = extent_of(key_axes_), free_ = extent_of(free_axes_);
  }

  CudaKernel print() {
    w_.add_buffers({{data_.dtype, p_.results[0]},
                    {data_.dtype, node_.inputs[0]},
                    {data_.dtype, node_.inputs[1]},
                    kWorkspace});
    for (size_t i = 2; i < node_.inputs.size(); ++i)
      w_.add_buffers({{graph_.dtype(node_.inputs[i]), node_.inputs[i]}});
    w_.line("begin_dependent();");
    if (p_.part != Part::copy && p_.part != Part::merge_updates) print_addresses();
    print_part();
    CudaKernel kernel = w_.finish(threads());
    kernel.schedule = CudaSchedule::primitive;
    kernel.part = p_.part;
    kernel.work = work();
    kernel.reduced = keys_, kernel.limit = keys_;
    return kernel;
  }

 private:
  bool sorts() const { return p_.part == Part::sort_updates || p_.part == Part::merge_updates; }
  int threads() const { return sorts() ? kSortThreads : kThreads; }

  bool is_free(int axis) const {
    if (std::find(attr_.source.begin(), attr_.source.end(), axis) == attr_.source.end())
      return false;
    return std::all_of(node_.inputs.begin() + 2, node_.inputs.end(), [&](NodeId index) {
      const Node& node = graph_[index];
      return node.op == Op::broadcast &&
             is_one(graph_.shape(node.inputs[0])[static_cast<size_t>(axis)]);
    });
  }

  Extent extent_of(const std::vector<int>& axes) const {
    Dims dims;
    for (int axis : axes) dims.push_back(updates_.shape[static_cast<size_t>(axis)]);
    return product_of(dims);
  }

  Extent work() const {
    if (sorts()) return Extent(1);
    if (p_.part == Part::copy) return product_of(data_.shape);
    if (p_.part == Part::claim_elements) return keys_;
    return product_of(updates_.shape);
  }

  std::string flat(const std::vector<int>& axes) {
    std::string text;
    for (int axis : axes)
      text += fmt::format("{}a{} * {}", text.empty() ? "" : " + ", axis,
                          w_.size(after(updates_.shape, axis)));
    return text.empty() ? "0" : text;
  }
  std::string direct(const std::vector<int>& axes) {
    std::string text;
    for (size_t axis = 0; axis < attr_.source.size(); ++axis)
      if (std::find(axes.begin(), axes.end(), attr_.source[axis]) != axes.end())
        text += fmt::format("{}a{} * {}", text.empty() ? "" : " + ", attr_.source[axis],
                            w_.size(after(data_.shape, static_cast<int>(axis))));
    return text.empty() ? "0" : text;
  }

  void open_function(const char* name, const std::vector<int>& axes) {
    std::vector<Axis> all;
    for (Dim extent : updates_.shape) all.push_back({extent});
    w_.open(fmt::format("const auto {} = [&](index w) -> index", name));
    if (!axes.empty()) w_.split("w", axes, all);
  }
  void close_function(const std::string& result) {
    w_.line(fmt::format("return {};", result));
    w_.close("};");
  }

  // Positions in the data and in the updates, each as a sum of a key's and a free part.
  void print_addresses() {
    open_function("target", key_axes_);
    w_.line(fmt::format("const index u = {};", flat(key_axes_)));
    std::string address = direct(key_axes_);
    for (size_t axis = 0; axis < attr_.source.size(); ++axis)
      if (attr_.source[axis] < 0)
        address += fmt::format(" + position(load(b{}, u), {}, error) * {}", 4 + ~attr_.source[axis],
                               w_.size(data_.shape[axis]),
                               w_.size(after(data_.shape, static_cast<int>(axis))));
    close_function(address);
    const auto print = [&](const char* name, const std::vector<int>& axes,
                           const std::string& result) {
      open_function(name, axes);
      close_function(result);
    };
    print("target_free", free_axes_, direct(free_axes_));
    print("update", key_axes_, flat(key_axes_));
    print("update_free", free_axes_, flat(free_axes_));
  }

  void print_part() {
    const std::string keys = w_.size(keys_);
    switch (p_.part) {
      case Part::copy:
        w_.line(fmt::format("copy_bytes(b1, b0, ((i64){} * {} + 7) / 8);",
                            w_.size(product_of(data_.shape)), bits(data_.dtype)));
        if (attr_.kind == ScatterKind::set) w_.line(fmt::format("Owners(b3, {}).clear();", keys));
        return;
      case Part::claim_elements:
        w_.line(fmt::format("const Owners owners(b3, {});", keys));
        w_.open(open_grid_loop(keys));
        w_.line("owners.claim((uindex)target(w), (uindex)w);");
        return w_.close();
      case Part::set_elements:
        w_.line(fmt::format("const Owners owners(b3, {});", keys));
        open_updates();
        w_.line("const index at = target(key);");
        w_.line("if (owners.owner((uindex)at) != (uindex)key) continue;");
        w_.line(copy_statement(data_.dtype, "b0", "at + target_free(free)", "b2",
                               "update(key) + update_free(free)"));
        return w_.close();
      case Part::combine_elements: return print_combination();
      case Part::sort_updates:
        w_.line("const auto key = [&](index, index at) -> u64 { return (u64)target(at); };");
        return print_sort("sort_tiles<EntryOf<32>::type>(1, runs, b3, key, emit);");
      case Part::merge_updates:
        return print_sort(
            fmt::format("merge_runs<EntryOf<32>::type>({}, 1, runs, b3, emit);", w_.pass()));
      case Part::combine_in_order: return print_ordered_combination();
      default: internal_error("not a part of scatter");
    }
  }

  void open_updates() {
    w_.open(open_grid_loop(w_.size(product_of(updates_.shape))));
    w_.line(fmt::format("const index key = {};", w_.quotient("w", free_)));
    w_.line(fmt::format("const index free = w - key * {};", w_.size(free_)));
  }

  void print_sort(const std::string& call) {
    const std::string keys = w_.size(keys_);
    w_.line("typedef EntryOf<32>::type Entry;");
    w_.line(fmt::format("const Runs runs({0}, {0});", keys));
    w_.line("Entry* sorted = (Entry*)b3 + runs.half(runs.passes()) * (i64)runs.row_entries();");
    w_.line("const auto emit = [&](index, index rank, Entry e) { sorted[rank] = e; };");
    w_.line(call);
  }

  void print_combination() {
    const DType dtype = data_.dtype;
    open_updates();
    w_.line("const index at = target(key) + target_free(free);");
    w_.line(fmt::format("const {} u = {};", cuda_compute_type(dtype),
                        loaded(dtype, "b2", "update(key) + update_free(free)")));
    const bool native = attr_.kind == ScatterKind::add && !is_float(dtype) && bits(dtype) >= 32;
    if (native) {
      const int width = bits(dtype);
      w_.line(fmt::format("atomicAdd((u{0}*)b0 + at, (u{0})u);", width));
    } else {
      const std::string value = wrapped(
          dtype,
          fmt::format("{}::apply({}, u)", combine_type(attr_.kind), loaded(dtype, "&x", "0")));
      w_.open(fmt::format("change_element<{}>(b0, at, [&](u64 bits) -> u64", bits(dtype)));
      w_.line(fmt::format("const {0} x = of_bits<{0}>(bits);", cuda_storage_type(dtype)));
      if (dtype == DType::f4e2m1) w_.line(fmt::format("return to_f4e2m1({}, true).bits;", value));
      else if (is_sub_byte(dtype)) w_.line(fmt::format("return (u64)({});", value));
      else w_.line(fmt::format("return bits_of({});", stored(dtype, dtype, value, true)));
      w_.close("});");
    }
    w_.close();
  }

  // The first of the sorted updates of an element combines them all.
  void print_ordered_combination() {
    const DType dtype = data_.dtype;
    const std::string_view sum = accumulator_type(dtype);
    w_.line("typedef EntryOf<32>::type Entry;");
    w_.line(fmt::format("const Runs runs({0}, {0});", w_.size(keys_)));
    w_.line(
        "const Entry* sorted = (const Entry*)b3 + runs.half(runs.passes()) * "
        "(i64)runs.row_entries();");
    open_updates();
    w_.line("const u64 element = key_of(sorted[key]);");
    w_.line("if (key > 0 && key_of(sorted[key - 1]) == element) continue;");
    w_.line("const index at = (index)element + target_free(free);");
    w_.line(fmt::format("{0} sum = ({0}){1};", sum, loaded(dtype, "b1", "at")));
    w_.open(fmt::format("for (index i = key; i < {} && key_of(sorted[i]) == element; ++i)",
                        w_.size(keys_)));
    w_.line(fmt::format("sum = {}::apply(sum, ({}){});", combine_type(attr_.kind), sum,
                        loaded(dtype, "b2", "update(place_of(sorted[i])) + update_free(free)")));
    w_.close();
    w_.line(store_statement(dtype, dtype, "b0", "at", "sum", true));
    w_.close();
  }

  const CudaPrimitive& p_;
  const Graph& graph_;
  const Node& node_;
  const ScatterAttr& attr_;
  const TensorType &data_, &updates_;
  Writer w_;
  std::vector<int> key_axes_, free_axes_;
  Extent keys_, free_;
};

// --- sort

CudaKernel print_sort(const CudaPrimitive& p, const Graph& graph, const PrintSizes& sizes) {
  Writer w(sizes);
  const Node& node = graph[p.node];
  const auto& attr = node.as<SortAttr>();
  const TensorType& x = graph.type(node.inputs[0]);
  const Extent rows = lines_along(x.shape, attr.axis),
               extent(x.shape[static_cast<size_t>(attr.axis)]), limit(attr.limit),
               inner = after(x.shape, attr.axis);
  w.add_buffers({{x.dtype, node.inputs[0]}, kWorkspace});
  if (p.results[0].valid()) w.add_buffers({{x.dtype, p.results[0]}});
  if (p.results[1].valid()) w.add_buffers({{DType::i64, p.results[1]}});
  const LineAddresses in{extent, inner}, out{limit, inner};
  const std::string_view type = cuda_compute_type(x.dtype);
  const bool wide_key = type == "double" || type == "i64" || type == "u64";
  w.line("begin_dependent();");
  w.line(fmt::format("typedef EntryOf<{}>::type Entry;", wide_key ? 64 : 32));
  w.line(fmt::format("const Runs runs({}, {});", w.size(extent), w.size(limit)));
  w.open("const auto emit = [&](index row, index rank, Entry e)");
  w.line("const index from = place_of(e);");
  w.line(fmt::format("const index to = {};", out(w, "row", "rank")));
  if (p.results[0].valid()) w.line(copy_statement(x.dtype, "b2", "to", "b0", in(w, "row", "from")));
  if (p.results[1].valid()) w.line(fmt::format("b{}[to] = from;", p.results[0].valid() ? 3 : 2));
  w.close("};");
  if (p.part == Part::sort_tiles) {
    w.open("const auto key = [&](index row, index at) -> u64");
    w.line(fmt::format("return {}sort_key({});", attr.descending ? "~" : "",
                       loaded(x.dtype, "b0", in(w, "row", "at"))));
    w.close("};");
    w.line(fmt::format("sort_tiles<Entry>({}, runs, b1, key, emit);", w.size(rows)));
  } else {
    w.line(fmt::format("merge_runs<Entry>({}, {}, runs, b1, emit);", w.pass(), w.size(rows)));
  }
  CudaKernel kernel = w.finish(kSortThreads);
  kernel.work = rows, kernel.reduced = extent, kernel.limit = limit;
  kernel.factor_bytes = wide_key ? 16 : 8;
  return kernel;
}

// --- scan

std::string scan_identity(const ScanAttr& attr) {
  return attr.kind == ReduceKind::product ? "1" : "0";
}

CudaKernel print_scan(const CudaPrimitive& p, const Graph& graph, const PrintSizes& sizes) {
  Writer w(sizes);
  const Node& node = graph[p.node];
  const auto& attr = node.as<ScanAttr>();
  const TensorType& x = graph.type(node.inputs[0]);
  const Extent lines = lines_along(x.shape, attr.axis),
               extent(x.shape[static_cast<size_t>(attr.axis)]), inner = after(x.shape, attr.axis);
  w.add_buffers({{x.dtype, p.results[0]}, {x.dtype, node.inputs[0]}, kWorkspace});
  const std::string_view combine = attr.kind == ReduceKind::product ? "Product" : "Sum",
                         sum = accumulator_type(x.dtype);
  w.line("begin_dependent();");
  w.line(fmt::format("typedef {} T;", sum));
  w.line(fmt::format("const ScanLines lines{{{}, {}, {}, {}}};", w.size(lines), w.size(extent),
                     w.size(inner), attr.reverse));
  w.line(fmt::format("const T identity = {};", scan_identity(attr)));
  w.line(fmt::format("const auto read = [&](index at) -> T {{ return (T){}; }};",
                     loaded(x.dtype, "b1", "at")));
  switch (p.part) {
    case Part::scan_totals:
      w.line(fmt::format("scan_totals<{}>(lines, (T*)b2, identity, read);", combine));
      break;
    case Part::scan_running_totals:
      w.line(fmt::format("scan_running_totals<{}>(lines, (T*)b2, identity);", combine));
      break;
    default:
      w.line(fmt::format("const auto write = [&](index at, T sum) {{ {} }};",
                         store_statement(x.dtype, x.dtype, "b0", "at", "sum", true)));
      w.line(fmt::format("scan_elements<{}, {}>(lines, (const T*)b2, identity, read, write);",
                         combine, attr.exclusive));
  }
  CudaKernel kernel = w.finish(kThreads);
  kernel.work = lines, kernel.reduced = extent, kernel.inner = inner;
  return kernel;
}

// --- random numbers and bits

CudaKernel print_random(const CudaPrimitive& p, const Graph& graph, const PrintSizes& sizes) {
  Writer w(sizes);
  const auto& attr = graph[p.node].as<RandomAttr>();
  const Extent count = product_of(graph.type(p.node).shape);
  w.add_buffers({{DType::u32, p.results[0]}, kWorkspace});
  w.line("begin_dependent();");
  if (p.part == Part::draw_seed) {
    w.line("if (first_element() == 0) draw_seed(b1, error);");
  } else {
    const auto number = [&](uint64_t value) {
      return "(u64)" + w.number(Dim(static_cast<int64_t>(value)));
    };
    w.line(fmt::format("const u64 seed = {};", attr.seeded ? number(attr.seed) : "*b1"));
    w.open(open_grid_loop(w.size(count)));
    w.line(fmt::format("b0[w] = philox(seed, {}, (u64)w);", number(attr.stream)));
    w.close();
  }
  CudaKernel kernel = w.finish(kThreads);
  kernel.work = p.part == Part::draw_seed ? Extent(1) : count;
  return kernel;
}

CudaKernel print_bitcast(const CudaPrimitive& p, const Graph& graph, const PrintSizes& sizes) {
  Writer w(sizes);
  const NodeId from = graph[p.node].inputs[0];
  const TensorType& type = graph.type(p.node);
  w.add_buffers({{type.dtype, p.results[0]}, {graph.dtype(from), from}});
  w.line("begin_dependent();");
  w.line(fmt::format("copy_bytes(b1, b0, ((i64){} * {} + 7) / 8);", w.size(product_of(type.shape)),
                     bits(type.dtype)));
  CudaKernel kernel = w.finish(kThreads);
  kernel.work = product_of(type.shape);
  return kernel;
}

// --- which kernels a primitive has

std::vector<Part> scatter_parts(const Graph& graph, const Node& node) {
  const auto& attr = node.as<ScatterAttr>();
  const DType dtype = graph.dtype(node.inputs[0]);
  if (!has_compute_type(dtype)) return {};
  if (attr.kind == ScatterKind::set) return {Part::copy, Part::claim_elements, Part::set_elements};
  if (needs_order(attr, dtype))
    return {Part::copy, Part::sort_updates, Part::merge_updates, Part::combine_in_order};
  return {Part::copy, Part::combine_elements};
}

std::vector<Part> parts_of(const Graph& graph, const Node& node) {
  switch (node.op) {
    case Op::scatter: return scatter_parts(graph, node);
    case Op::sort:
      if (!has_compute_type(graph.dtype(node.inputs[0]))) return {};
      return {Part::sort_tiles, Part::merge_runs};
    case Op::scan:
      if (!has_compute_type(graph.dtype(node.inputs[0]))) return {};
      return {Part::scan_totals, Part::scan_running_totals, Part::scan_elements};
    case Op::random_bits:
      if (node.as<RandomAttr>().seeded) return {Part::random_bits};
      return {Part::draw_seed, Part::random_bits};
    case Op::bitcast: return {Part::copy};
    default: return {};
  }
}

// --- launches

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

bool in_columns(const CudaKernel& kernel, const SizeTable& sizes) {
  return kernel.inner.at(sizes) >= kFewestColumns;
}
int64_t scan_chunks(const CudaKernel& kernel, const SizeTable& sizes) {
  return ceil_div(kernel.reduced.at(sizes), in_columns(kernel, sizes) ? kColumnChunk : kRowChunk);
}

int64_t scan_blocks(const CudaKernel& kernel, const SizeTable& sizes) {
  const int64_t lines = kernel.work.at(sizes), chunks = scan_chunks(kernel, sizes);
  if (kernel.part != Part::scan_elements && chunks <= 1) return 0;
  const int64_t work = kernel.part == Part::scan_running_totals ? lines : lines * chunks;
  return in_columns(kernel, sizes) ? ceil_div(work, kThreads) : work;
}

int64_t sort_blocks(const CudaKernel& kernel, const SizeTable& sizes) {
  const int64_t rows = kernel.work.at(sizes), extent = kernel.reduced.at(sizes);
  if (extent > kSortTile) return rows * ceil_div(extent, kSortTile);
  const auto span =
      static_cast<int64_t>(std::bit_ceil(std::max<uint64_t>(2, static_cast<uint64_t>(extent))));
  return extent ? ceil_div(rows, kSortTile / span) : 0;
}

int64_t merge_blocks(const CudaKernel& kernel, const SizeTable& sizes, int pass) {
  const int64_t length = kSortTile << (pass + 1);
  return kernel.work.at(sizes) * ceil_div(kernel.reduced.at(sizes), length) *
         ceil_div(std::min(length, kernel.limit.at(sizes)), kSortTile);
}

}  // namespace

std::span<const std::pair<std::string_view, std::string_view>> primitive_headers() {
  static constexpr std::pair<std::string_view, std::string_view> kHeaders[] = {
      {"Runs ", "sort.cuh"},        {"copy_bytes(", "scatter.cuh"},
      {"Owners ", "scatter.cuh"},   {"change_element<", "scatter.cuh"},
      {"ScanLines ", "scan.cuh"},   {"philox(", "random.cuh"},
      {"draw_seed(", "random.cuh"},
  };
  return kHeaders;
}

std::vector<CudaPrimitive> make_cuda_primitives(const Graph& graph, NodeId node,
                                                std::span<const NodeId> outputs) {
  const auto parts = parts_of(graph, graph[node]);
  if (parts.empty()) return {};
  std::vector<NodeId> results(graph[node].op == Op::sort ? 2 : 1);
  for (NodeId output : outputs)
    results[output == node ? 0 : static_cast<size_t>(graph[output].as<GetAttr>().index)] = output;
  std::vector<CudaPrimitive> kernels;
  for (Part part : parts) kernels.push_back({node, part, results});
  return kernels;
}

CudaKernel print_cuda(const CudaPrimitive& primitive, const Graph& graph, const PrintSizes& sizes) {
  const auto print = [&] {
    switch (graph[primitive.node].op) {
      case Op::scatter: return ScatterPrinter(primitive, graph, sizes).print();
      case Op::sort: return print_sort(primitive, graph, sizes);
      case Op::scan: return print_scan(primitive, graph, sizes);
      case Op::random_bits: return print_random(primitive, graph, sizes);
      case Op::bitcast: return print_bitcast(primitive, graph, sizes);
      default: internal_error("a primitive without kernels");
    }
  };
  CudaKernel kernel = print();
  kernel.schedule = CudaSchedule::primitive;
  kernel.part = primitive.part;
  return kernel;
}

std::string copy_kernel_text() {
  const SizeTable none;
  Writer w(none);
  w.add_buffers({{DType::u8, NodeId()}, {DType::u8, NodeId()}});
  w.line("begin_dependent();");
  w.line("copy_bytes(b0, b1, s.v[0]);");
  return w.finish(kThreads).text;
}

CudaLaunch copy_launch(int64_t bytes, const CudaTarget& target) {
  return {std::min<int64_t>(ceil_div(bytes, int64_t{16} * kThreads), target.multiprocessors),
          kThreads, 1, 1, 0};
}

int64_t workspace_bytes(const CudaKernel& kernel, const SizeTable& sizes, bool wide_index) {
  const int64_t index_bytes = wide_index ? 8 : 4;
  switch (kernel.part) {
    case Part::claim_elements: {
      const auto count = static_cast<uint64_t>(kernel.reduced.at(sizes));
      return static_cast<int64_t>(std::bit_ceil(std::max<uint64_t>(2, 2 * count))) * 2 *
             index_bytes;
    }
    case Part::sort_updates:
      return ceil_div(kernel.reduced.at(sizes), kSortTile) * kSortTile * 4 * index_bytes;
    case Part::sort_tiles: {
      const int64_t tiles = ceil_div(kernel.reduced.at(sizes), kSortTile);
      if (tiles <= 1) return 0;
      return kernel.work.at(sizes) * tiles * std::min(kSortTile, kernel.limit.at(sizes)) * 2 *
             (wide_index ? 16 : kernel.factor_bytes);
    }
    case Part::scan_totals: {
      const int64_t chunks = scan_chunks(kernel, sizes);
      return chunks <= 1 ? 0
                         : kernel.work.at(sizes) * chunks * static_cast<int64_t>(sizeof(double));
    }
    case Part::draw_seed: return sizeof(uint64_t);
    default: return 0;
  }
}

int passes_of(const CudaKernel& kernel, const SizeTable& sizes) {
  if (kernel.schedule != CudaSchedule::primitive) return 1;
  if (kernel.part != Part::merge_runs && kernel.part != Part::merge_updates) return 1;
  const int64_t extent = kernel.reduced.at(sizes);
  int passes = 0;
  while ((kSortTile << passes) < extent) ++passes;
  return passes;
}

CudaLaunch launch_primitive(const CudaKernel& kernel, const SizeTable& sizes,
                            const CudaTarget& target, int pass) {
  constexpr int64_t kBlocksOfMultiprocessor = 16;  // that loop over the rest
  const auto blocks = [&] {
    switch (kernel.part) {
      case Part::sort_tiles:
      case Part::sort_updates: return sort_blocks(kernel, sizes);
      case Part::merge_runs:
      case Part::merge_updates: return merge_blocks(kernel, sizes, pass);
      case Part::scan_totals:
      case Part::scan_running_totals:
      case Part::scan_elements: return scan_blocks(kernel, sizes);
      default: return ceil_div(kernel.work.at(sizes), kThreads);
    }
  };
  const bool sorts = kernel.threads == kSortThreads;
  return {std::min(blocks(), target.multiprocessors * kBlocksOfMultiprocessor),
          sorts ? kSortThreads : kThreads, 1, 1, 0};
}

}  // namespace onrush
