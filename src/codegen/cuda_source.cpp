#include "codegen/cuda_source.h"

#include <algorithm>

#include "base/check.h"
#include "codegen/cuda_primitive.h"
#include "codegen/cuda_tiles.h"
#include "codegen/cuda_writer.h"

namespace onrush {
namespace {

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

// How many vectors of lanes the axes have.
Extent vectors(const Loops& loops, const std::vector<int>& axes, const Lanes& lanes) {
  Extent extent = extent_of(loops, axes);
  if (std::find(axes.begin(), axes.end(), lanes.axis) != axes.end()) extent.width = lanes.width;
  return extent;
}

// Gives how much there is to do.
Extent write_pointwise(Writer& w, const Loops& loops) {
  std::vector<int> axes = axes_where(loops, false);
  const Lanes lanes = store_lanes(w, loops, axes);
  axes = lanes_last(std::move(axes), lanes);
  Body body(w, loops, "v", lanes);
  const Extent work = vectors(loops, axes, lanes);
  w.open(fmt::format("for (index w = (index)first_element(); w < {}; w += (index)grid_step())",
                     w.size(work)));
  w.split("w", axes, loops.axes, lanes);
  body.define_all();
  body.store_all();
  w.close();
  return work;
}

CudaKernel print_pointwise(std::span<const Loops> all, const PrintSizes& sizes) {
  Writer w(sizes);
  w.line("begin_dependent();");
  std::vector<Extent> works;
  for (const Loops& loops : all) works.push_back(write_pointwise(w, loops));
  CudaKernel kernel = w.finish(256);
  kernel.schedule = CudaSchedule::pointwise;
  kernel.work = works[0];
  kernel.further_work.assign(works.begin() + 1, works.end());
  return kernel;
}

// Threads that share a row of this many elements.
int threads_for_row(int64_t extent) { return extent <= 1024 ? 32 : extent <= 4096 ? 128 : 512; }
constexpr int kRowElements = 32;    // of a row, that a thread keeps in registers
constexpr int kColumnBlock = 1024;  // threads of one that reduces few columns

class ReductionPrinter {
 public:
  ReductionPrinter(const Loops& loops, const PrintSizes& sizes)
      : loops_(loops),
        w_(sizes),
        parallel_(axes_where(loops, false)),
        reduce_(axes_where(loops, true)),
        extent_(extent_of(loops, reduce_)),
        rows_(reads_along_rows(loops)),
        row_threads_(threads_for_row(extent_.at(sizes))),  // unless lanes say otherwise
        lanes_(choose_lanes()),
        body_(w_, loops, "v", lanes_) {
    if (!rows_) parallel_ = lanes_last(std::move(parallel_), lanes_);
  }

  CudaKernel print() {
    w_.line("begin_dependent();");
    const Lanes across = rows_ ? Lanes{} : lanes_;
    const Extent work = vectors(loops_, parallel_, across);
    if (rows_)
      w_.open(fmt::format("for (index w = (index)first_row<{0}>(); w < {1}; w += row_step<{0}>())",
                          row_threads_, share_warp() ? limit("row", work) : w_.size(work)));
    else
      w_.open(fmt::format("for (index w = (index)first_column(); w < {}; w += column_step())",
                          limit("column", work)));
    const bool all_active = rows_ && !share_warp();
    if (!all_active) {
      w_.line(fmt::format("const bool active = w < {};", w_.size(work)));
      w_.line("const index own = active ? w : 0;");
    }
    w_.split(all_active ? "w" : "own", parallel_, loops_.axes, across);
    if (cached())
      w_.line(fmt::format("const index a{} = lane_of<{}>() * {};", reduce_[0], row_threads_,
                          lanes_.width));
    int passes = 0;
    for (ValueId id = 0; id < body_.count(); ++id) passes = std::max(passes, body_.depth(id));
    std::vector<bool> defined(static_cast<size_t>(body_.count()));
    for (int pass = 0; pass <= passes; ++pass) {
      for (ValueId id = 0; id < body_.count(); ++id)
        if (!body_.is_inner(id) && !body_.is_reduce(id) && body_.depth(id) == pass)
          body_.define(id);
      if (pass < passes) print_pass(pass, defined);
    }
    print_stores(defined);
    w_.close();
    CudaKernel kernel = w_.finish(rows_              ? std::max(row_threads_, 128)
                                  : reductions_ == 1 ? kColumnBlock
                                                     : 256);
    kernel.schedule = rows_ ? CudaSchedule::row : CudaSchedule::column;
    kernel.work = work;
    kernel.reduced = extent_;
    kernel.row_threads = rows_ ? row_threads_ : 0;
    kernel.constant_rows = cached();
    kernel.slice_rows = rows_ ? 0 : 2;
    return kernel;
  }

 private:
  // A row of constant extent is read once, into registers.
  bool cached() const { return rows_ && lanes_.chunks > 1; }
  // Short rows: several have threads of the same warp.
  bool share_warp() const { return rows_ && row_threads_ < 32; }

  Lanes choose_lanes() {
    if (!rows_) return store_lanes(w_, loops_, parallel_);
    Lanes lanes = lanes_along(w_, loops_, reduce_.back());
    if (reduce_.size() > 1 || !extent_.factors[0].is_constant()) return lanes;
    const int64_t extent = extent_.factors[0].value();
    // Of the numbers of threads that read whole sectors, the one that leaves the fewest idle. More
    // than a warp are the block.
    int64_t least = INT64_MAX;
    const int most = row_threads_, fewest = most > 32 ? most : std::max(1, 32 / lanes.width);
    for (int threads = fewest; threads <= most; threads *= 2) {
      const int64_t step = int64_t{threads} * lanes.width;
      // One chunk is guarded like several.
      const int64_t chunks = std::max<int64_t>((extent + step - 1) / step, 2);
      if (chunks * lanes.width > kRowElements || chunks * step >= least) continue;
      least = chunks * step;
      row_threads_ = threads;
      lanes.chunks = static_cast<int>(chunks);
      lanes.step = step;
      lanes.whole = chunks * step == extent;
    }
    return lanes;
  }

  // All threads of a block take part in the reductions of its columns, and all of a warp in those
  // of its rows, also those beyond the last one.
  std::string limit(std::string_view of, const Extent& work) {
    const std::string threads = rows_ ? fmt::format("<{}>", row_threads_) : "";
    return fmt::format("{}_limit{}({})", of, threads, w_.size(work));
  }

  void open_loop() {
    if (cached()) return w_.open("");
    const Lanes along = rows_ ? lanes_ : Lanes{};
    const std::string extent = w_.size(vectors(loops_, reduce_, along));
    if (rows_)
      w_.open(fmt::format("UNROLL_4 for (index r = lane_of<{0}>(); r < {1}; r += {0})",
                          row_threads_, extent));
    else
      w_.open(
          fmt::format("UNROLL_4 for (index r = first_slice(); r < {}; r += slice_step())", extent));
    w_.split("r", reduce_, loops_.axes, along);
  }

  // One sweep over the rows for all reductions whose operands are ready.
  void print_pass(int pass, std::vector<bool>& defined) {
    std::vector<ValueId> reductions;
    std::vector<bool> wanted(static_cast<size_t>(body_.count()));
    for (ValueId id = 0; id < body_.count(); ++id) {
      if (!body_.is_reduce(id) || body_.depth(id) != pass + 1) continue;
      reductions.push_back(id);
      body_.collect_inner(std::get<ReduceValue>(body_.value(id).data).operand, wanted);
    }
    reductions_ += reductions.size();
    for (ValueId id : reductions) declare(id);
    begin_sweep(wanted, defined);
    for (ValueId id : reductions) accumulate(id);
    end_sweep();
    for (ValueId id : reductions) complete(id);
  }

  // Defines the wanted values along the row: once if it is kept in registers.
  void begin_sweep(const std::vector<bool>& wanted, std::vector<bool>& defined) {
    if (!cached()) open_loop();
    for (ValueId id = 0; id < body_.count(); ++id) {
      const auto at = static_cast<size_t>(id);
      if (!wanted[at] || (cached() && defined[at])) continue;
      body_.define(id);
      defined[at] = true;
    }
  }
  void end_sweep() {
    if (!cached()) w_.close();
  }

  // A reduction's result has a value for every lane of the columns, one for a row.
  bool is_array(ValueId id) const { return !rows_ && body_.varies(id); }
  std::string accumulator(ValueId id) const {
    return fmt::format("c{}{}", id, is_array(id) ? "[j]" : "");
  }

  std::string combine(const ReduceValue& reduce) const {
    if (is_arg(reduce.kind))
      return fmt::format("Best<{}, {}>", reduce.kind == ReduceKind::argmax, reduce.last);
    return std::string(combine_type(reduce.kind));
  }

  void declare(ValueId id) {
    const auto& reduce = std::get<ReduceValue>(body_.value(id).data);
    const bool arg = is_arg(reduce.kind);
    const std::string type = arg ? fmt::format("Candidate<{}>", body_.type_of(reduce.operand))
                                 : std::string(body_.type_of(id));
    const std::string value =
        arg ? type + "{0, -1}"
            : literal(body_.value(id).dtype, identity(reduce.kind, body_.value(id).dtype));
    if (!is_array(id)) return w_.line(fmt::format("{} c{} = {};", type, id, value));
    w_.line(fmt::format("{} c{}[{}];", type, id, lanes_.count()));
    body_.each_lane(fmt::format("c{}[j] = {};", id, value));
  }

  void accumulate(ValueId id) {
    const auto& reduce = std::get<ReduceValue>(body_.value(id).data);
    std::string x = body_.element(reduce.operand);
    const bool lanes = body_.varies(reduce.operand) || (lanes_.count() > 1 && rows_);
    if (is_arg(reduce.kind))
      x = fmt::format("Candidate<{}>{{{}, (i64)({})}}", body_.type_of(reduce.operand), x,
                      rows_ ? w_.affine(reduce.position, lanes_.axis, body_.axis_element())
                            : w_.affine(reduce.position));
    const std::string text =
        fmt::format("{0} = {1}::apply({0}, {2});", accumulator(id), combine(reduce), x);
    if (!lanes && !is_array(id)) return w_.line(text);
    const std::string guard = body_.in_range();
    body_.each_lane(guard.empty() ? text : fmt::format("if ({}) {}", guard, text));
  }

  void complete(ValueId id) {
    const auto& reduce = std::get<ReduceValue>(body_.value(id).data);
    const std::string combined =
        rows_ ? fmt::format("c{} = row_reduce<{}, {}>(c{});", id, combine(reduce), row_threads_, id)
              : fmt::format("column_reduce<{}>(c{});", combine(reduce), id);
    w_.line(combined);
    const std::string result =
        wrapped(body_.value(id).dtype, accumulator(id) + (is_arg(reduce.kind) ? ".index" : ""));
    if (!is_array(id))
      return w_.line(
          fmt::format("const {} {} = {};", body_.type_of(id), body_.name_of(id), result));
    w_.line(fmt::format("{} {}[{}];", body_.type_of(id), body_.name_of(id), lanes_.count()));
    body_.each_lane(fmt::format("{}[j] = {};", body_.name_of(id), result));
  }

  bool stores_inside(const Store& store) const {
    if (body_.is_inner(store.value)) return true;
    return std::any_of(
        store.address.terms.begin(), store.address.terms.end(),
        [&](const auto& term) { return loops_.axes[static_cast<size_t>(term.first)].reduce; });
  }

  void print_stores(std::vector<bool>& defined) {
    std::vector<bool> wanted(static_cast<size_t>(body_.count()));
    bool inside = false;
    for (const Store& store : loops_.stores) {
      if (!stores_inside(store)) continue;
      inside = true;
      body_.collect_inner(store.value, wanted);
    }
    const bool all_active = rows_ && !share_warp();
    if (!all_active) w_.open("if (active)");
    if (inside) {
      begin_sweep(wanted, defined);
      for (const Store& store : loops_.stores)
        if (stores_inside(store)) body_.store(store);
      end_sweep();
    }
    w_.open(rows_ ? fmt::format("if (lane_of<{}>() == 0)", row_threads_)
                  : "if (first_slice() == 0)");
    for (const Store& store : loops_.stores)
      if (!stores_inside(store)) body_.store(store);
    w_.close();
    if (!all_active) w_.close();
  }

  const Loops& loops_;
  Writer w_;
  std::vector<int> parallel_, reduce_;
  Extent extent_;
  bool rows_;
  int row_threads_;
  Lanes lanes_;
  Body body_;
  size_t reductions_ = 0;
};

constexpr int64_t kLargestGrid = INT32_MAX;

// Few columns are shared by more threads: of a block, then of a cluster.
CudaLaunch launch_columns(const CudaKernel& kernel, const SizeTable& sizes,
                          const CudaTarget& target) {
  const int64_t work = kernel.work.at(sizes);
  int64_t slices = 1, across = 32, cluster = 1;
  const auto blocks = [&] { return (work + across - 1) / across; };
  const auto may_split = [&] {
    return slices * cluster * kernel.slice_rows < kernel.reduced.at(sizes);
  };
  const auto idle = [&](int threads) {
    return work * slices < int64_t{target.multiprocessors} * threads;
  };
  while (across * slices < 256 && may_split() && idle(512)) slices *= 2;
  while (across > 4 && may_split() && idle(128)) across /= 2, slices *= 2;
  while (across <= 8 && across * slices < kernel.threads && may_split() && idle(512)) slices *= 2;
  while (target.clusters && cluster < 8 && may_split() &&
         blocks() * cluster * 2 <= target.multiprocessors)
    cluster *= 2;
  if (slices == 1) across = 128;
  return {std::min(blocks() * cluster, kLargestGrid / cluster * cluster), static_cast<int>(across),
          static_cast<int>(slices), static_cast<int>(cluster), 0};
}

}  // namespace

CudaKernel print_cuda(std::span<const Loops> loops, const PrintSizes& sizes) {
  const bool reduces = std::ranges::any_of(loops[0].body, [](const LoopValue& value) {
    return std::holds_alternative<ReduceValue>(value.data);
  });
  return reduces ? ReductionPrinter(loops[0], sizes).print() : print_pointwise(loops, sizes);
}

int64_t parts_of(const CudaKernel& kernel, const SizeTable& sizes) {
  return std::max<int64_t>(
      1, kernel.work.at(sizes) * kernel.m.at(sizes) * kernel.n.at(sizes) * kernel.k.at(sizes));
}

bool PrintSizes::divides(Dim dim, int width) const {
  return at_hand_(dim) % width == 0 && std::ranges::all_of(others_, [&](const SizeTable& sizes) {
           return sizes(dim) % width == 0;
         });
}

bool computes(const CudaKernel& kernel, const SizeTable& sizes) {
  if (kernel.tile.persistent && kernel.k.at(sizes) == 0) return false;
  return std::ranges::all_of(kernel.facts, [&](const SizeFact& fact) {
    return !fact.divides || sizes(fact.dim) % fact.width == 0;
  });
}

bool serves(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target) {
  if (!computes(kernel, sizes)) return false;
  if (kernel.schedule == CudaSchedule::row && !kernel.constant_rows &&
      threads_for_row(kernel.reduced.at(sizes)) != kernel.row_threads)
    return false;
  if (kernel.schedule == CudaSchedule::tile && !kernel.cluster && !tile_fits(kernel, sizes, target))
    return false;
  const int64_t parts = parts_of(kernel, sizes);
  if (kernel.printed_for && (parts > 2 * kernel.printed_for || 2 * parts < kernel.printed_for))
    return false;
  return std::all_of(kernel.facts.begin(), kernel.facts.end(), [&](const SizeFact& fact) {
    return (sizes(fact.dim) % fact.width == 0) == fact.divides;
  });
}

std::vector<int64_t> size_arguments(const CudaKernel& kernel, const SizeTable& sizes, int pass) {
  std::vector<int64_t> values;
  for (const SizeArgument& argument : kernel.sizes) {
    const int64_t size =
        argument.kind == SizeArgument::Kind::pass ? pass : argument.extent.at(sizes);
    const bool divisor = argument.kind == SizeArgument::Kind::divisor;
    if (!divisor || size <= 0 || size > INT32_MAX) {
      values.push_back(divisor ? 0 : size);
      continue;
    }
    // Granlund and Montgomery, "Division by Invariant Integers using Multiplication", 1994.
    int shift = 0;
    while ((int64_t{1} << shift) < size) ++shift;
    const int64_t magic = ((int64_t{1} << 32) * ((int64_t{1} << shift) - size)) / size + 1;
    values.push_back(magic | static_cast<int64_t>(shift) << 32);
  }
  if (values.empty()) values.push_back(0);
  return values;
}

CudaLaunch launch_of(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target,
                     int pass) {
  const int64_t multiprocessors = target.multiprocessors;
  const int64_t work = kernel.work.at(sizes);
  const auto blocks = [](int64_t all, int64_t each) {
    return std::min((all + each - 1) / each, kLargestGrid);
  };
  switch (kernel.schedule) {
    case CudaSchedule::pointwise: {
      int64_t most = work;
      for (const Extent& further : kernel.further_work) most = std::max(most, further.at(sizes));
      // Few elements are spread over all multiprocessors.
      const int threads = most <= multiprocessors * 64    ? 64
                          : most <= multiprocessors * 128 ? 128
                                                          : 256;
      return {blocks(most, threads), threads, 1, 1, 0};
    }
    case CudaSchedule::row:
      return {blocks(work, kernel.threads / kernel.row_threads), kernel.threads, 1, 1, 0};
    case CudaSchedule::column: return launch_columns(kernel, sizes, target);
    case CudaSchedule::depthwise:
      return {work * kernel.m.at(sizes) * kernel.n.at(sizes) * kernel.k.at(sizes), kernel.threads,
              1, 1, kernel.shared_bytes};
    case CudaSchedule::attention:
      return {blocks(kernel.m.at(sizes), kernel.tile.m) * work, kernel.threads, 1, 1,
              kernel.shared_bytes};
    case CudaSchedule::window: {
      int64_t all = 1;
      for (const Extent& extent : kernel.grid) all *= extent.at(sizes);
      return {all, kernel.threads, 1, 1, kernel.shared_bytes};
    }
    case CudaSchedule::primitive: return launch_primitive(kernel, sizes, target, pass);
    case CudaSchedule::tile: break;
  }
  return launch_tiles(kernel, sizes, target);
}

std::string cuda_program(std::span<const std::string> texts, bool wide_index) {
  std::string program =
      fmt::format("#define ONRUSH_WIDE_INDEX {}\n#include \"onrush.cuh\"\n", wide_index ? 1 : 0);
  const auto uses = [&](std::string_view function) {
    return std::any_of(texts.begin(), texts.end(), [&](const std::string& text) {
      return text.find(function) != std::string::npos;
    });
  };
  if (uses("contract<") || uses("contract_persistent<") || uses("convolve_window<") ||
      uses("convolve_planes<") || uses("attend<"))
    program += "#include \"contraction.cuh\"\n";
  if (uses("contract_persistent<")) program += "#include \"persistent.cuh\"\n";
  if (uses("convolve_window<")) program += "#include \"window.cuh\"\n";
  if (uses("convolve_planes<")) program += "#include \"depthwise.cuh\"\n";
  if (uses("attend<")) program += "#include \"attention.cuh\"\n";
  for (const auto& [function, header] : primitive_headers())
    if (uses(function) && program.find(header) == std::string::npos)
      program += fmt::format("#include \"{}\"\n", header);
  for (size_t i = 0; i < texts.size(); ++i)
    program += fmt::format("\n#define KERNEL kernel_{}\n{}#undef KERNEL\n", i, texts[i]);
  return program;
}

}  // namespace onrush
