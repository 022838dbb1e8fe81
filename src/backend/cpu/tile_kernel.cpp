// Binding: from Loops and sizes to the interpreter's program.
#include "backend/cpu/tile_kernel.h"

#include <algorithm>
#include <bit>
#include <tuple>

#include "backend/cpu/tile_impl.h"
#include "base/check.h"
#include "base/numeric.h"

namespace onrush::cpu {
namespace {

constexpr int kNoAxis = -2;
constexpr int64_t kMuchToReduce = 64 * 1024, kLeastColumns = 64;  // elements
constexpr int64_t kMaxRowInOneTile = 8192;  // longer rows are reduced in chunks
constexpr int64_t kTransposedColumns = 32;  // of a tile of which a part is transposed
constexpr int64_t kTaskWork = 64 * 1024;    // values: some microseconds

int64_t scalar_bits(Compute type, double f, int64_t i) {
  switch (type) {
    case Compute::f32: return std::bit_cast<uint32_t>(static_cast<float>(f));
    case Compute::f64: return std::bit_cast<int64_t>(f);
    case Compute::i32: return static_cast<uint32_t>(static_cast<int32_t>(i));
    case Compute::i64:
    case Compute::u64: return i;
  }
  internal_error("unknown compute type");
}

// What binding works with; kept from kernel to kernel, since allocations are most of its time.
struct Workspace {
  std::vector<int> merged;              // original axis -> axis, or kNoAxis
  std::vector<ConcreteAffine> address;  // every affine of the kernel, in a fixed order
  struct Access {
    double count = 0;      // of elements in memory, a store as several loads
    uint64_t indexed = 0;  // the original axes that its index values depend on; 0: it has none
  };
  std::vector<Access> accesses;  // by address
  std::vector<int> value_of;     // body position -> program position
  struct Expanded {
    int value;
    Spread spread;
    int result;
  };
  std::vector<Expanded> expanded;
  std::vector<bool> used;
  std::vector<int> renumbered, last_use;
  std::vector<TileValue> kept;
  std::vector<std::pair<int64_t, int64_t>> free;  // bytes, offset

  static Workspace& of_thread() {
    thread_local Workspace workspace;
    workspace.merged.clear();
    workspace.address.clear();
    workspace.accesses.clear();
    workspace.value_of.clear();
    workspace.expanded.clear();
    workspace.free.clear();
    return workspace;
  }
};

class Binder {
 public:
  Binder(const Loops& loops, const SizeTable& sizes, std::span<const uint8_t> kinds, int column)
      : loops_(loops), sizes_(sizes), out_(std::make_unique<TileKernel::Impl>()) {
    out_->values.reserve(loops_.body.size() + 4);
    out_->stores.reserve(loops_.stores.size());
    out_->loads.reserve(
        static_cast<size_t>(std::ranges::count_if(loops_.body, [](const LoopValue& v) {
          return std::holds_alternative<LoadValue>(v.data);
        })));
    bind_axes(kinds);
    bind_addresses();
    merge_axes(column);
    choose_column(column);
    choose_tile(!kinds.empty());
    for (size_t v = 0; v < loops_.body.size(); ++v) bind_value(static_cast<int>(v));
    for (size_t s = 0; s < loops_.stores.size(); ++s) bind_store(s);
    drop_unused();
    assign_passes();
    assign_memory();
    find_pure_load();
  }
  std::unique_ptr<TileKernel::Impl> finish() { return std::move(out_); }

 private:
  using Kind = TileValue::Kind;

  // --- axes and addresses
  ConcreteAffine concrete(const Affine& a) const {
    ConcreteAffine result;
    result.offset = sizes_(a.offset);
    for (const auto& [axis, stride] : a.terms)
      result.stride[static_cast<size_t>(axis)] = sizes_(stride);
    return result;
  }
  void bind_axes(std::span<const uint8_t> kinds);
  void bind_addresses();
  double positions(uint64_t original_axes) const;
  bool is_indexed(uint64_t original_axes, int axis) const {
    for (size_t i = 0; i < merged_.size(); ++i)
      if ((original_axes >> i & 1) && merged_[i] == axis) return true;
    return false;
  }
  void merge_axes(int column);
  bool mergeable(int outer, int inner) const;
  void choose_column(int column);
  bool make_transposed_axis_last();
  void choose_tile(bool driven);

  // --- values
  Spread spread_of(uint64_t original_axes) const;
  bool depends_on_reduce(uint64_t original_axes) const;
  void bind_value(int id);
  int append(TileValue value);
  int expand(int value, Spread spread);
  void finish_narrow(TileValue& value, DType dtype) const;
  TileValue bind(const ConstantValue& v, DType dtype);
  TileValue bind(const SizeValue& v, DType dtype);
  TileValue bind(const IndexValue& v, DType dtype);
  TileValue bind(const LoadValue& v, DType dtype);
  TileValue bind(const OpValue& v, DType dtype);
  TileValue bind(const ConvertValue& v, DType dtype);
  TileValue bind(const BoundsValue& v, DType dtype);
  TileValue bind(const ReduceValue& v, DType dtype);
  TileValue bind(const AccumulatorValue& v, DType dtype);
  bool is_copied(const TileStore& store) const;
  TileValue uniform(Compute type, uint64_t bits);
  void bind_store(size_t index);

  void drop_unused();
  void assign_passes();
  void collect_inner(int value, std::vector<bool>& seen) const;
  void assign_memory();
  void find_pure_load();

  const Loops& loops_;
  const SizeTable& sizes_;
  std::unique_ptr<TileKernel::Impl> out_;
  Workspace& workspace_ = Workspace::of_thread();
  std::vector<int>& merged_ = workspace_.merged;
  std::vector<ConcreteAffine>& address_ = workspace_.address;
  std::vector<Workspace::Access>& accesses_ = workspace_.accesses;
  std::vector<int>& value_of_ = workspace_.value_of;
  size_t next_address_ = 0;
};

void Binder::bind_axes(std::span<const uint8_t> kinds) {
  TileAxes& axes = out_->axes;
  axes.count = static_cast<int>(loops_.axes.size());
  if (axes.count > kMaxAxes) fail(ErrorCode::unsupported, "a kernel with {} axes", axes.count);
  for (size_t i = 0; i < loops_.axes.size(); ++i) {
    axes.extent[i] = sizes_(loops_.axes[i].extent);
    axes.kind[i] = kinds.empty() ? loops_.axes[i].reduce : kinds[i];
    axes.origin[i] = static_cast<uint8_t>(i);
    merged_.push_back(static_cast<int>(i));
  }
}

// Affines are visited in the same order here and when values are bound.
void Binder::bind_addresses() {
  const auto add = [&](const Affine& affine, Workspace::Access access = {}) {
    address_.push_back(concrete(affine));
    accesses_.push_back(access);
  };
  const auto add_bounds = [&](const std::vector<Bound>& bounds) {
    for (const Bound& bound : bounds) add(bound.index);
  };
  for (const LoopValue& value : loops_.body) {
    if (const auto* v = std::get_if<IndexValue>(&value.data)) add(v->index);
    if (const auto* v = std::get_if<BoundsValue>(&value.data)) add_bounds(v->bounds);
    if (const auto* v = std::get_if<ReduceValue>(&value.data)) add(v->position);
    if (const auto* v = std::get_if<LoadValue>(&value.data)) {
      uint64_t indexed = 0;
      for (const DynamicTerm& term : v->dynamic)
        indexed |= loops_.body[static_cast<size_t>(term.value)].axes;
      add(v->address, {positions(value.axes), indexed});
      add_bounds(v->bounds);
    }
  }
  // Loads may be transposed on their way; stores may not.
  constexpr double kLoads = 4;
  for (const Store& store : loops_.stores) {
    uint64_t axes = 0;
    for (const auto& [axis, stride] : store.address.terms) axes |= uint64_t{1} << axis;
    add(store.address, {kLoads * positions(axes), 0});
  }
}

// How many there are along some of the original axes.
double Binder::positions(uint64_t original_axes) const {
  double count = 1;
  for (size_t i = 0; i < loops_.axes.size(); ++i)
    if (original_axes >> i & 1) count *= static_cast<double>(out_->axes.extent[i]);
  return count;
}

bool Binder::mergeable(int outer, int inner) const {
  const TileAxes& axes = out_->axes;
  const auto o = static_cast<size_t>(outer), i = static_cast<size_t>(inner);
  if (axes.kind[o] != axes.kind[i]) return false;
  return std::all_of(address_.begin(), address_.end(), [&](const ConcreteAffine& a) {
    return a.stride[o] == a.stride[i] * axes.extent[i];
  });
}

void Binder::merge_axes(int column) {
  TileAxes& axes = out_->axes;
  const bool fixed = column >= 0;
  for (int i = 0; i + 1 < axes.count;) {
    const auto a = static_cast<size_t>(i), b = a + 1;
    const bool one = axes.extent[a] == 1 && !(fixed && axes.origin[a] == column);
    if (!one && !mergeable(i, i + 1)) {
      ++i;
      continue;
    }
    // The inner axis stands for both; nothing varies along an axis of extent 1.
    if (!one) axes.extent[b] *= axes.extent[a];
    for (int& axis : merged_) axis = one && axis == i ? kNoAxis : axis > i ? axis - 1 : axis;
    for (size_t k = a; k + 1 < static_cast<size_t>(axes.count); ++k) {
      axes.extent[k] = axes.extent[k + 1];
      axes.kind[k] = axes.kind[k + 1];
      axes.origin[k] = axes.origin[k + 1];
    }
    for (ConcreteAffine& affine : address_) {
      for (size_t k = a; k + 1 < kMaxAxes; ++k) affine.stride[k] = affine.stride[k + 1];
      affine.stride[kMaxAxes - 1] = 0;
    }
    --axes.count;
    i = std::max(0, i - 1);
  }
}

void Binder::choose_column(int column) {
  TileAxes& axes = out_->axes;
  if (column >= 0) {
    out_->column = merged_[static_cast<size_t>(column)];
  } else if (column == kBestColumn) {
    // Count accesses that are contiguous along each axis, if that is as long as a vector; long axes
    // win ties, inner ones then.
    // Elements at even distances are a quarter as good where the others are found one by one.
    constexpr int64_t kVector = 16;
    constexpr double kEven = 0.25;
    const bool finds_places = std::ranges::any_of(loops_.body, [](const LoopValue& value) {
      const auto* r = std::get_if<ReduceValue>(&value.data);
      return r && (r->kind == ReduceKind::argmax || r->kind == ReduceKind::argmin);
    });
    std::tuple<bool, double, int> best;
    for (int i = 0; i < axes.count; ++i) {
      const auto axis = static_cast<size_t>(i);
      const int64_t extent = axes.extent[axis];
      if (extent == 1) continue;
      double contiguous = 0;
      for (size_t a = 0; a < address_.size(); ++a)
        if (address_[a].stride[axis] == 1) contiguous += accesses_[a].count;
        else if (accesses_[a].indexed && !is_indexed(accesses_[a].indexed, i))
          contiguous += kEven * accesses_[a].count;
      const std::tuple<bool, double, int> score(
          !(finds_places && axes.kind[axis] == 1),
          contiguous * static_cast<double>(std::min(extent, kVector)),
          std::bit_width(static_cast<uint64_t>(extent)) / 2);
      if (score >= best || out_->column < 0) best = score, out_->column = i;
    }
    if (out_->column < 0 && axes.count) out_->column = axes.count - 1;
  }
  const int c = out_->column;
  if (c >= 0) {
    out_->column_extent = axes.extent[static_cast<size_t>(c)];
    out_->column_reduces = axes.kind[static_cast<size_t>(c)] == 1;
  }
  for (int i = 0; i < axes.count; ++i) {
    if (i == c) continue;
    const bool reduce = axes.kind[static_cast<size_t>(i)] == 1;
    (reduce ? out_->reduce_axes : out_->row_axes).push_back(i);
    if (!reduce) out_->total_rows *= axes.extent[static_cast<size_t>(i)];
  }
}

// The axis along which a load's elements lie side by side, if that is not the column axis: blocks
// of both are transposed. It becomes the innermost row axis.
bool Binder::make_transposed_axis_last() {
  AxisList& rows = out_->row_axes;
  if (out_->column < 0) return false;
  for (size_t a = 0; a < address_.size(); ++a) {
    if (accesses_[a].count == 0 || address_[a].stride[static_cast<size_t>(out_->column)] == 0)
      continue;
    const auto found = std::ranges::find_if(
        rows, [&](int axis) { return address_[a].stride[static_cast<size_t>(axis)] == 1; });
    if (found == rows.end()) continue;
    const int last = *found;
    AxisList others;
    for (int axis : rows)
      if (axis != last) others.push_back(axis);
    others.push_back(last);
    rows = others;
    return true;
  }
  return false;
}

// `driven`: a contraction gives the tiles, of up to kTileElements.
void Binder::choose_tile(bool driven) {
  TileKernel::Impl& o = *out_;
  if (driven) {
    o.column_reduces = false;
    for (int axis : o.reduce_axes) o.row_axes.push_back(axis);
    o.reduce_axes.clear();
    o.rows = kTileElements, o.cols = 1;  // sizes of arrays: any product up to kTileElements
    return;
  }
  const int64_t limit = o.column_reduces ? kMaxRowInOneTile : kTileElements;
  o.cols = o.column_extent <= limit ? o.column_extent : kTileElements;
  if (o.reduce_axes.empty() && !o.column_reduces && make_transposed_axis_last())
    o.cols = std::min(o.cols, kTransposedColumns);
  o.cols = std::max<int64_t>(1, o.cols);
  int64_t reduced = o.column_reduces ? o.column_extent : 1;
  for (int axis : o.reduce_axes) reduced *= o.axes.extent[static_cast<size_t>(axis)];
  // Columns of long sums are divided among threads if nothing else is.
  if (o.total_rows == 1 && !o.column_reduces && reduced * o.cols >= kMuchToReduce)
    o.cols = std::min(o.cols, std::max(kLeastColumns, (o.cols / 4 + 15) / 16 * 16));
  o.rows = std::clamp<int64_t>(kTileElements / o.cols, 1, std::max<int64_t>(1, o.total_rows));
  o.one_pass = o.reduce_axes.empty() && (!o.column_reduces || o.cols >= o.column_extent);
  const int64_t column_blocks = o.column_reduces ? 1 : (o.column_extent + o.cols - 1) / o.cols;
  o.tiles = (o.total_rows + o.rows - 1) / o.rows * column_blocks;
  const int64_t work = std::max<int64_t>(1, o.rows * o.cols * std::max<int64_t>(1, reduced) /
                                                (o.column_reduces ? o.cols : 1) *
                                                static_cast<int64_t>(loops_.body.size() + 1));
  o.tiles_per_task = std::clamp<int64_t>(kTaskWork / work, 1, std::max<int64_t>(1, o.tiles));
  if (o.total_rows == 0 || o.column_extent == 0) {
    // Nothing to store, unless an empty row is reduced.
    if (o.total_rows == 0 || !o.column_reduces) o.tiles = 0;
  }
}

// --- values

bool Binder::depends_on_reduce(uint64_t original_axes) const {
  for (size_t i = 0; i < loops_.axes.size(); ++i)
    if ((original_axes >> i & 1) && loops_.axes[i].reduce) return true;
  return false;
}

Spread Binder::spread_of(uint64_t original_axes) const {
  bool row = false, column = false;
  for (size_t i = 0; i < loops_.axes.size(); ++i) {
    if (!(original_axes >> i & 1)) continue;
    const int axis = merged_[i];
    if (axis == kNoAxis) continue;
    column = column || axis == out_->column;
    row = row ||
          std::find(out_->row_axes.begin(), out_->row_axes.end(), axis) != out_->row_axes.end();
  }
  if (column) return row || out_->rows == 1 ? Spread::full : Spread::column;
  return row && out_->rows > 1 ? Spread::row : Spread::uniform;
}

int Binder::append(TileValue value) {
  out_->values.push_back(value);
  return static_cast<int>(out_->values.size()) - 1;
}

TileValue Binder::uniform(Compute type, uint64_t value_bits) {
  TileValue value;
  value.compute = type;
  value.detail = static_cast<int>(out_->uniforms.size());
  out_->uniforms.push_back(value_bits);
  return value;
}

int Binder::expand(int value, Spread spread) {
  if (out_->values[static_cast<size_t>(value)].spread == spread) return value;
  for (const Workspace::Expanded& known : workspace_.expanded)
    if (known.value == value && known.spread == spread) return known.result;
  const TileValue from = out_->values[static_cast<size_t>(value)];
  TileValue to;
  to.kind = Kind::expand;
  to.spread = spread;
  to.compute = from.compute;
  to.a = value;
  to.inner = from.inner || (spread == Spread::full && out_->column_reduces);
  to.depth = from.depth;
  workspace_.expanded.push_back({value, spread, append(to)});
  return workspace_.expanded.back().result;
}

// Integers narrower than their compute type wrap after arithmetic that may leave their range.
void Binder::finish_narrow(TileValue& value, DType dtype) const {
  if (is_integer(dtype)) value.then = wrap_kernel(dtype);
}

TileValue Binder::bind(const ConstantValue& v, DType dtype) {
  const Compute type = compute_of(dtype);
  return uniform(type, static_cast<uint64_t>(scalar_bits(type, v.f, v.i)));
}

TileValue Binder::bind(const SizeValue& v, DType dtype) {
  const Compute type = compute_of(dtype);
  const int64_t size = sizes_(v.dim);
  return uniform(type, static_cast<uint64_t>(scalar_bits(type, static_cast<double>(size), size)));
}

TileValue Binder::bind(const IndexValue&, DType) {
  TileValue value;
  value.kind = Kind::index;
  value.compute = Compute::i64;
  value.detail = static_cast<int>(out_->affines.size());
  out_->affines.push_back(address_[next_address_++]);
  return value;
}

TileValue Binder::bind(const BoundsValue& v, DType) {
  TileValue value;
  value.kind = Kind::bounds;
  value.compute = Compute::i32;
  value.detail = static_cast<int>(out_->bounds.size());
  std::vector<ConcreteBound> bounds;
  for (const Bound& bound : v.bounds)
    bounds.push_back({address_[next_address_++], sizes_(bound.extent)});
  out_->bounds.push_back(std::move(bounds));
  return value;
}

TileValue Binder::bind(const LoadValue& v, DType dtype) {
  TileValue value;
  value.kind = Kind::load;
  value.compute = compute_of(dtype);
  value.detail = static_cast<int>(out_->loads.size());
  // May be narrower in memory than what is computed with.
  const DType stored = loops_.buffers[static_cast<size_t>(v.buffer)].dtype;
  TileLoad load{{v.buffer, stored, address_[next_address_++], {}, 0},
                {},
                is_plain(stored),
                load_kernel(stored),
                gather_kernel(stored)};
  load.bounds.reserve(v.bounds.size());
  for (const Bound& bound : v.bounds)
    load.bounds.push_back({address_[next_address_++], sizes_(bound.extent)});
  load.dynamic.reserve(v.dynamic.size());
  for (const DynamicTerm& term : v.dynamic)
    load.dynamic.push_back(
        {value_of_[static_cast<size_t>(term.value)], sizes_(term.stride), sizes_(term.extent)});
  load.fill = static_cast<uint64_t>(scalar_bits(value.compute, v.fill.f, v.fill.i));
  out_->loads.push_back(std::move(load));
  return value;
}

TileValue Binder::bind(const OpValue& v, DType dtype) {
  TileValue value;
  std::array<int, 3> in{-1, -1, -1};
  Spread spread = Spread::uniform;
  size_t count = 0;
  for (ValueId operand : v.operands) {
    in[count] = value_of_[static_cast<size_t>(operand)];
    spread = join(spread, out_->values[static_cast<size_t>(in[count++])].spread);
  }
  const auto spread_at = [&](size_t i) { return out_->values[static_cast<size_t>(in[i])].spread; };
  const Compute type = out_->values[static_cast<size_t>(in[count - 1])].compute;
  value.compute = class_of(v.op) == OpClass::comparison || v.op == Op::is_nan ? Compute::i32 : type;
  if (count == 1) {
    value.kind = Kind::unary;
    if (v.op == Op::bit_not && dtype == DType::boolean) {
      in[1] = append(uniform(Compute::i32, 1));
      value.kind = Kind::binary;
      value.binary = binary_kernel(Op::bit_xor, Compute::i32,
                                   spread == Spread::uniform ? Splat::none : Splat::b);
    } else {
      value.unary = unary_kernel(v.op, type);
    }
  } else if (count == 2) {
    value.kind = Kind::binary;
    const Spread a = spread_at(0), b = spread_at(1);
    value.by_row = a != b && a != Spread::uniform && b != Spread::uniform;
    // What has one element for all of the other operand's, or for its rows.
    const auto one_for = [&](Spread x, Spread other) {
      return x != other && (x == Spread::uniform || x == Spread::row) && other != Spread::uniform;
    };
    const Splat splat = one_for(a, b) ? Splat::a : one_for(b, a) ? Splat::b : Splat::none;
    value.binary = binary_kernel(v.op, type, splat);
  } else {
    value.kind = Kind::select;
    value.select = select_kernel(type);
    for (int& operand : in) operand = expand(operand, spread);
  }
  if (!value.unary && !value.binary && !value.select)
    fail(ErrorCode::unsupported, "{} of {}", name(v.op), name(dtype));
  value.a = in[0], value.b = in[1], value.c = in[2];
  value.spread = spread;
  if (dtype != DType::boolean) finish_narrow(value, dtype);
  return value;
}

TileValue Binder::bind(const ConvertValue& v, DType dtype) {
  TileValue value;
  value.kind = Kind::convert;
  value.a = value_of_[static_cast<size_t>(v.operand)];
  const Compute from = out_->values[static_cast<size_t>(value.a)].compute;
  value.spread = out_->values[static_cast<size_t>(value.a)].spread;
  value.compute = compute_of(dtype);
  value.to_boolean = dtype == DType::boolean;
  if (value.to_boolean) {
    // x != 0 as not (x == 0); a NaN is true.
    const Spread spread = value.spread;
    TileValue zero = uniform(from, 0);
    TileValue equal;
    equal.kind = Kind::binary;
    equal.a = value.a;
    equal.b = append(zero);
    equal.spread = spread;
    equal.compute = Compute::i32;
    equal.binary =
        binary_kernel(Op::equal, from, spread == Spread::uniform ? Splat::none : Splat::b);
    equal.inner = out_->values[static_cast<size_t>(value.a)].inner;
    equal.depth = out_->values[static_cast<size_t>(value.a)].depth;
    value.kind = Kind::binary;
    value.a = append(equal);
    value.b = append(uniform(Compute::i32, 1));
    value.binary = binary_kernel(Op::bit_xor, Compute::i32,
                                 spread == Spread::uniform ? Splat::none : Splat::b);
    return value;
  }
  if (from != value.compute) value.unary = convert_kernel(from, value.compute);
  if (is_float(dtype)) value.then = round_kernel(dtype, v.saturate);
  else finish_narrow(value, dtype);
  return value;
}

TileValue Binder::bind(const ReduceValue& v, DType dtype) {
  TileValue value;
  value.kind = Kind::reduce;
  const ConcreteAffine position = address_[next_address_++];
  int operand = value_of_[static_cast<size_t>(v.operand)];
  if (out_->column_reduces) operand = expand(operand, Spread::full);
  const TileValue& from = out_->values[static_cast<size_t>(operand)];
  value.a = operand;
  value.spread = !out_->column_reduces ? from.spread
                 : out_->rows > 1      ? Spread::row
                                       : Spread::uniform;
  const bool arg = v.kind == ReduceKind::argmax || v.kind == ReduceKind::argmin;
  value.compute = arg ? Compute::i64 : from.compute;
  value.detail = static_cast<int>(out_->reduces.size());
  out_->reduces.push_back({v.kind, v.last, position, -1});
  if (!arg) finish_narrow(value, dtype);
  return value;
}

TileValue Binder::bind(const AccumulatorValue&, DType dtype) {
  TileValue value;
  value.kind = Kind::accumulator;
  value.compute = compute_of(dtype);
  value.spread = Spread::full;
  return value;
}

void Binder::bind_value(int id) {
  const LoopValue& body = loops_.body[static_cast<size_t>(id)];
  TileValue value = std::visit([&](const auto& v) { return bind(v, body.dtype); }, body.data);
  const bool by_axes =
      value.kind == Kind::index || value.kind == Kind::load || value.kind == Kind::bounds;
  if (by_axes) value.spread = spread_of(body.axes);
  value.inner = depends_on_reduce(body.axes) && value.kind != Kind::reduce;
  int depth = 0;
  const auto deepen = [&](int operand) {
    if (operand >= 0) depth = std::max(depth, out_->values[static_cast<size_t>(operand)].depth);
  };
  if (value.kind != Kind::constant) deepen(value.a), deepen(value.b), deepen(value.c);
  if (value.kind == Kind::load)
    for (const auto& term : out_->loads[static_cast<size_t>(value.detail)].dynamic)
      deepen(term.value);
  value.depth = depth + (value.kind == Kind::reduce ? 1 : 0);
  value_of_.push_back(append(value));
}

// Whether a store writes rows as some load finds them, or transposed; zeros where a bound leaves
// out whole rows.
bool Binder::is_copied(const TileStore& store) const {
  const TileValue& from = out_->values[static_cast<size_t>(store.value)];
  const auto column = static_cast<size_t>(out_->column);
  if (store.buffer < 0 || from.kind != Kind::load || from.spread != Spread::full ||
      out_->column < 0 || !out_->one_pass || store.address.stride[column] != 1)
    return false;
  const TileLoad& load = out_->loads[static_cast<size_t>(from.detail)];
  const DType dtype = loops_.buffers[static_cast<size_t>(store.buffer)].dtype;
  if (load.dtype != dtype || dtype == DType::boolean || bits(dtype) % 8 != 0 || load.fill != 0 ||
      !load.dynamic.empty())
    return false;
  // A few columns are faster put side by side first.
  const bool transposed = load.address.stride[column] > 1 && out_->cols >= kTransposedColumns / 2 &&
                          !out_->row_axes.empty() &&
                          load.address.stride[static_cast<size_t>(out_->row_axes.back())] == 1;
  if (transposed && load.bounds.empty()) return true;
  if (load.address.stride[column] != 1) return false;
  return std::ranges::all_of(load.bounds, [&](const ConcreteBound& bound) {
    return bound.index.stride[column] == 0 &&
           std::ranges::all_of(bound.index.stride, [](int64_t stride) { return stride >= 0; });
  });
}

void Binder::bind_store(size_t index) {
  const Store& store = loops_.stores[index];
  TileStore result{store.buffer,
                   address_[next_address_++],
                   value_of_[static_cast<size_t>(store.value)],
                   Spread::uniform,
                   false,
                   false,
                   false,
                   nullptr};
  if (store.buffer < 0) {
    result.spread = Spread::full;
  } else {
    uint64_t axes = loops_.body[static_cast<size_t>(store.value)].axes;
    for (const auto& [axis, stride] : store.address.terms) axes |= uint64_t{1} << axis;
    result.spread = join(spread_of(axes), out_->values[static_cast<size_t>(result.value)].spread);
    result.inner = depends_on_reduce(axes);
    result.plain = is_plain(loops_.buffers[static_cast<size_t>(store.buffer)].dtype);
    // Conversions to the 8-bit floats have saturated already, or were told not to.
    result.store =
        store_kernel(loops_.buffers[static_cast<size_t>(store.buffer)].dtype, /*saturate=*/false);
  }
  if (result.spread == Spread::full && is_copied(result)) {
    result.copied = out_->values[static_cast<size_t>(result.value)].detail;
    result.value = -1;
    out_->stores.push_back(result);
    return;
  }
  result.value = expand(result.value, result.spread);
  const Kind kind = out_->values[static_cast<size_t>(result.value)].kind;
  const bool computed = kind == Kind::unary || kind == Kind::binary || kind == Kind::select ||
                        (kind == Kind::convert && result.plain);
  result.direct = computed && result.plain && result.spread == Spread::full &&
                  std::ranges::none_of(out_->stores, [&](const TileStore& other) {
                    return other.value == result.value;
                  });
  out_->stores.push_back(result);
}

// --- the program as a whole

void Binder::drop_unused() {
  std::vector<bool>& used = workspace_.used;
  used.assign(out_->values.size(), false);
  const auto use = [&](int v) {
    if (v >= 0) used[static_cast<size_t>(v)] = true;
  };
  for (const TileStore& store : out_->stores) use(store.value);
  for (size_t i = used.size(); i-- > 0;) {
    const TileValue& value = out_->values[i];
    if (!used[i] || value.kind == Kind::constant) continue;
    use(value.a), use(value.b), use(value.c);
    if (value.kind == Kind::load)
      for (const auto& term : out_->loads[static_cast<size_t>(value.detail)].dynamic)
        use(term.value);
  }
  std::vector<int>& renumbered = workspace_.renumbered;
  std::vector<TileValue>& kept = workspace_.kept;
  renumbered.assign(used.size(), -1);
  kept.clear();
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    TileValue value = out_->values[i];
    const auto renumber = [&](int& v) {
      if (v >= 0) v = renumbered[static_cast<size_t>(v)];
    };
    renumber(value.a), renumber(value.b), renumber(value.c);
    if (value.kind == Kind::load)
      for (auto& term : out_->loads[static_cast<size_t>(value.detail)].dynamic)
        renumber(term.value);
    renumbered[i] = static_cast<int>(kept.size());
    kept.push_back(value);
  }
  for (TileStore& store : out_->stores)
    if (store.value >= 0) store.value = renumbered[static_cast<size_t>(store.value)];
  out_->values.assign(kept.begin(), kept.end());
}

void Binder::collect_inner(int id, std::vector<bool>& seen) const {
  const TileValue& value = out_->values[static_cast<size_t>(id)];
  if (!value.inner || seen[static_cast<size_t>(id)]) return;
  seen[static_cast<size_t>(id)] = true;
  for (int operand : {value.a, value.b, value.c})
    if (operand >= 0) collect_inner(operand, seen);
  if (value.kind == Kind::load)
    for (const auto& term : out_->loads[static_cast<size_t>(value.detail)].dynamic)
      collect_inner(term.value, seen);
}

void Binder::assign_passes() {
  TileKernel::Impl& o = *out_;
  if (o.one_pass) return;
  for (const TileValue& value : o.values)
    if (value.kind == Kind::reduce) o.passes = std::max(o.passes, value.depth);
  o.pass_values.resize(static_cast<size_t>(o.passes) + 1);
  o.outer_values.resize(static_cast<size_t>(o.passes) + 1);
  for (int pass = 0; pass <= o.passes; ++pass) {
    std::vector<bool> seen(o.values.size());
    for (const TileValue& value : o.values)
      if (value.kind == Kind::reduce && value.depth == pass + 1) collect_inner(value.a, seen);
    if (pass == o.passes)
      for (const TileStore& store : o.stores)
        if (store.inner) collect_inner(store.value, seen);
    for (size_t i = 0; i < o.values.size(); ++i) {
      const TileValue& value = o.values[i];
      const bool reduces_here = value.kind == Kind::reduce && value.depth == pass + 1;
      if (seen[i] || reduces_here)
        o.pass_values[static_cast<size_t>(pass)].push_back(static_cast<int>(i));
      if (!value.inner && value.kind != Kind::reduce && value.depth == pass)
        o.outer_values[static_cast<size_t>(pass)].push_back(static_cast<int>(i));
    }
  }
}

void Binder::assign_memory() {
  TileKernel::Impl& o = *out_;
  int64_t next = static_cast<int64_t>(o.uniforms.size()) * 8;
  next = (next + 63) / 64 * 64;
  std::vector<int>& last_use = workspace_.last_use;
  last_use.assign(o.values.size(), -1);
  const auto use = [&](int v, size_t at) {
    if (v >= 0) last_use[static_cast<size_t>(v)] = static_cast<int>(at);
  };
  for (size_t i = 0; i < o.values.size(); ++i) {
    const TileValue& value = o.values[i];
    if (value.kind == Kind::constant) continue;
    use(value.a, i), use(value.b, i), use(value.c, i);
    if (value.kind == Kind::load)
      for (const auto& term : o.loads[static_cast<size_t>(value.detail)].dynamic)
        use(term.value, i);
  }
  for (const TileStore& store : o.stores) use(store.value, o.values.size());
  std::vector<std::pair<int64_t, int64_t>>& free = workspace_.free;
  const auto bytes_of = [&](const TileValue& value) {
    const int64_t n = o.elements(value.spread, o.rows, o.cols);
    return (n * static_cast<int64_t>(size_of(value.compute)) + 63) / 64 * 64;
  };
  const auto take = [&](int64_t bytes) {
    const auto found =
        std::ranges::find_if(free, [&](const auto& piece) { return piece.first == bytes; });
    if (found != free.end()) {
      const int64_t offset = found->second;
      free.erase(found);
      return offset;
    }
    const int64_t offset = next;
    next += bytes;
    return offset;
  };
  for (size_t i = 0; i < o.values.size(); ++i) {
    TileValue& value = o.values[i];
    if (value.kind == Kind::constant) {
      value.offset = static_cast<int64_t>(value.detail) * 8;
      continue;
    }
    // A result may lie where an operand of its element size ends its life: operations are
    // elementwise.
    const auto release = [&](int v, bool before) {
      if (v < 0 || !o.one_pass || last_use[static_cast<size_t>(v)] != static_cast<int>(i)) return;
      const TileValue& operand = o.values[static_cast<size_t>(v)];
      const bool elementwise =
          value.kind == Kind::unary || value.kind == Kind::binary || value.kind == Kind::convert;
      const bool in_place = elementwise && operand.spread == value.spread &&
                            size_of(operand.compute) == size_of(value.compute);
      if (operand.kind != Kind::constant && in_place == before)
        free.emplace_back(bytes_of(operand), operand.offset);
    };
    const auto release_operands = [&](bool before) {
      release(value.a, before);
      if (value.b != value.a) release(value.b, before);
      if (value.c != value.a && value.c != value.b) release(value.c, before);
    };
    release_operands(true);
    value.offset = take(bytes_of(value));
    if (value.kind == Kind::reduce) {
      TileReduce& reduce = o.reduces[static_cast<size_t>(value.detail)];
      if (reduce.kind == ReduceKind::argmax || reduce.kind == ReduceKind::argmin) {
        const int64_t n = o.elements(value.spread, o.rows, o.cols);
        reduce.best = static_cast<int>(next);
        next += (n * 8 + 63) / 64 * 64;
      }
    }
    release_operands(false);
  }
  o.scratch_bytes = next + 64;
}

void Binder::find_pure_load() {
  TileKernel::Impl& o = *out_;
  if (o.stores.size() != 1 || o.stores[0].buffer >= 0) return;
  const TileValue* value = &o.values[static_cast<size_t>(o.stores[0].value)];
  if (value->kind == Kind::expand) value = &o.values[static_cast<size_t>(value->a)];
  if (value->kind != Kind::load) return;
  const TileLoad& load = o.loads[static_cast<size_t>(value->detail)];
  const bool is_byte = load.dtype == DType::u8 || load.dtype == DType::i8;
  if (!load.dynamic.empty() || (load.fill != 0 && !is_byte)) return;
  o.pure = value->detail;
}

}  // namespace

TileKernel::TileKernel(const Loops& loops, const SizeTable& sizes, std::span<const uint8_t> kinds,
                       int column)
    : impl_(Binder(loops, sizes, kinds, column).finish()) {}
TileKernel::~TileKernel() = default;
TileKernel::TileKernel(TileKernel&&) noexcept = default;
TileKernel& TileKernel::operator=(TileKernel&&) noexcept = default;

const TileAxes& TileKernel::axes() const { return impl_->axes; }
int TileKernel::column_axis() const { return impl_->column; }
const MemoryLoad* TileKernel::pure_load() const {
  return impl_->pure < 0 ? nullptr : &impl_->loads[static_cast<size_t>(impl_->pure)];
}

}  // namespace onrush::cpu
