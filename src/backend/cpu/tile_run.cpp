// Running: one tile after another.
#include <algorithm>
#include <cstring>
#include <optional>

#include "backend/cpu/tile_impl.h"
#include "base/check.h"
#include "base/pages.h"

namespace onrush::cpu {

void* thread_scratch(ScratchSlot slot, size_t bytes) {
  thread_local std::array<Tensor, static_cast<size_t>(ScratchSlot::columns) + 1> blocks;
  Tensor& block = blocks[static_cast<size_t>(slot)];
  if (!block || block.bytes() < bytes) {
    block = {};
    block = paged_tensor(DType::u8, {static_cast<int64_t>((bytes + 4095) / 4096 * 4096)});
  }
  return block.data();
}

namespace {

using enum ScratchSlot;

void repeat(void* out, const void* element, size_t size, int64_t n) {
  if (size == 4)
    std::fill_n(static_cast<uint32_t*>(out), n, *static_cast<const uint32_t*>(element));
  else std::fill_n(static_cast<uint64_t*>(out), n, *static_cast<const uint64_t*>(element));
}

// The columns [begin, end) of a row on which all bounds hold.
struct ColumnRange {
  int64_t begin, end;
};

// The rows [begin, end) of a run on which all bounds hold.
struct RowRange {
  int64_t begin, end;
};

// Rows of a tile along its innermost row axis: whatever is affine grows evenly from row to row.
struct RowRun {
  int64_t row, rows;
  std::array<int64_t, kMaxAxes> index;  // of every axis, of the first row
};

// Whether a pass that computes these values reads rows of memory and combines them, no more.
bool combines_rows(const TileKernel::Impl& k, const std::vector<int>& values) {
  if (k.column_reduces || values.size() != 2) return false;
  const TileValue& from = k.values[static_cast<size_t>(values[0])];
  const TileValue& sum = k.values[static_cast<size_t>(values[1])];
  if (from.kind != TileValue::Kind::load || sum.kind != TileValue::Kind::reduce ||
      sum.a != values[0] || from.spread != Spread::full)
    return false;
  const ReduceKind kind = k.reduces[static_cast<size_t>(sum.detail)].kind;
  if (kind == ReduceKind::argmax || kind == ReduceKind::argmin) return false;
  const TileLoad& load = k.loads[static_cast<size_t>(from.detail)];
  const auto along_columns = [&](const ConcreteAffine& a) {
    return k.column < 0 ? 0 : a.stride[static_cast<size_t>(k.column)];
  };
  if ((load.dtype != DType::f32 && load.dtype != DType::bf16) || !load.dynamic.empty() ||
      along_columns(load.address) != 1 || load.bounds.size() > kMaxAxes)
    return false;
  // What lies outside must not count.
  float identity, fill;
  fill_identity(kind, Compute::f32, &identity, 1);
  std::memcpy(&fill, &load.fill, sizeof(fill));
  return load.bounds.empty() ||
         (fill == identity && std::ranges::all_of(load.bounds, [&](const ConcreteBound& bound) {
            return along_columns(bound.index) == 0;
          }));
}

// How many positions along the reduce axes there are.
int64_t reduced_positions(const TileKernel::Impl& k) {
  int64_t count = 1;
  for (int axis : k.reduce_axes) count *= k.axes.extent[static_cast<size_t>(axis)];
  return count;
}

class TileRun {
 public:
  TileRun(const TileKernel::Impl& kernel, const TilePlace& place)
      : k_(kernel),
        place_(place),
        inner_(place.row_axes.empty() ? -1 : place.row_axes.back()),
        n_full_(place.rows * place.cols),
        scratch_(static_cast<char*>(
            thread_scratch(tile_arrays, static_cast<size_t>(kernel.scratch_bytes)))),
        at_(static_cast<char**>(thread_scratch(tile_places, kernel.values.size() * 8 + 8))),
        offsets_(static_cast<int64_t*>(
            thread_scratch(row_offsets, static_cast<size_t>(place.rows + 1) * 8))) {
    if (!kernel.uniforms.empty())
      std::memcpy(scratch_, kernel.uniforms.data(), kernel.uniforms.size() * 8);
    for (size_t i = 0; i < kernel.values.size(); ++i) at_[i] = scratch_ + kernel.values[i].offset;
  }

  // Index of axes outside of the rows: reduce axes, and the first column.
  std::array<int64_t, kMaxAxes> base{};

  void set_cols(int64_t cols) {
    place_.cols = cols;
    n_full_ = place_.rows * cols;
  }

  void run_once();
  void execute(int value);
  void start_reduction(int value);
  void accumulate(int value);
  void finish_reduction(int value);
  void store(const TileStore& store);
  void copy(const TileStore& store);
  // Where combines_rows() holds for a pass: all of it without a copy, or of the positions along the
  // reduce axes only those in [first_tap, last_tap).
  void combine_rows(const std::vector<int>& values, int64_t first_tap, int64_t last_tap);
  // The sums of a part of the elements: written to `out`, and added to those that are there.
  void take_sums(int value, float* out) const;
  void add_sums(int value, const float* part);

 private:
  using Kind = TileValue::Kind;

  char* at(int value) const { return at_[value]; }
  const TileValue& value(int id) const { return k_.values[static_cast<size_t>(id)]; }
  int64_t count(Spread spread) const {
    switch (spread) {
      case Spread::uniform: return 1;
      case Spread::row: return place_.rows;
      case Spread::column: return place_.cols;
      case Spread::full: break;
    }
    return n_full_;
  }
  // Rows and columns of an array.
  int64_t cols_of(Spread spread) const {
    return spread == Spread::full || spread == Spread::column ? place_.cols : 1;
  }
  int64_t rows_of(Spread spread) const {
    return spread == Spread::full || spread == Spread::row ? place_.rows : 1;
  }

  // Calls f(RowRun) for all rows, or the first `rows`.
  class Taps;
  template <class F>
  void for_each_run(int64_t rows, F f) const;
  int64_t evaluate(const ConcreteAffine& a, const RowRun& run) const {
    int64_t sum = a.offset;
    for (int i = 0; i < k_.axes.count; ++i) {
      const auto axis = static_cast<size_t>(i);
      sum += a.stride[axis] * (run.index[axis] + base[axis]);
    }
    return sum;
  }
  int64_t row_stride(const ConcreteAffine& a) const {
    return inner_ < 0 ? 0 : a.stride[static_cast<size_t>(inner_)];
  }
  int64_t column_stride(const ConcreteAffine& a) const {
    return k_.column < 0 ? 0 : a.stride[static_cast<size_t>(k_.column)];
  }
  // The address of the whole tile if it lies side by side in memory, as the array does.
  std::optional<int64_t> dense(const ConcreteAffine& a) const;
  ColumnRange inside(const std::vector<ConcreteBound>& bounds, const RowRun& run, int64_t r,
                     int64_t cols) const;
  std::optional<RowRange> rows_inside(const std::vector<ConcreteBound>& bounds,
                                      const RowRun& run) const;
  void load(int id);
  void load_row(const TileValue& value, const TileLoad& load, const RowRun& run, int64_t r,
                char* out);
  void load_each_row(int id, const TileLoad& load);
  int64_t dynamic_offset(const TileLoad::Dynamic& term, int64_t row, int64_t col) const;
  bool varies_along_columns(const TileLoad::Dynamic& term) const {
    return cols_of(value(term.value).spread) > 1;
  }
  void add_dynamic(const TileLoad::Dynamic& term, int64_t row, ColumnRange range, int64_t* offsets);
  bool is_transposed(const TileLoad& load) const;
  void load_transposed(const TileLoad& load, const RowRun& run, char* out);
  bool chooses_rows_or_columns(const TileLoad& load) const;
  void load_chosen(int id, const TileLoad& load);
  void binary_by_row(int id);
  void expand(int id);
  void bounds(int id);
  void index(int id);

  const TileKernel::Impl& k_;
  TilePlace place_;
  int inner_;  // the innermost row axis, or -1
  int64_t n_full_;
  char* scratch_;
  char** at_;  // by value: its array
  int64_t* offsets_;
};

template <class F>
void TileRun::for_each_run(int64_t rows, F f) const {
  RowRun run{0, rows, place_.first};
  if (inner_ < 0) return f(run);
  const auto extent = [&](int axis) { return k_.axes.extent[static_cast<size_t>(axis)]; };
  const auto index = [&](int axis) -> int64_t& { return run.index[static_cast<size_t>(axis)]; };
  while (true) {
    run.rows = std::min(rows - run.row, extent(inner_) - index(inner_));
    f(run);
    run.row += run.rows;
    if (run.row >= rows) return;
    index(inner_) = 0;
    for (size_t i = place_.row_axes.size() - 1; i-- > 0;) {
      if (++index(place_.row_axes[i]) < extent(place_.row_axes[i])) break;
      index(place_.row_axes[i]) = 0;
    }
  }
}

std::optional<int64_t> TileRun::dense(const ConcreteAffine& a) const {
  if (place_.cols > 1 && column_stride(a) != 1) return std::nullopt;
  if (place_.rows > 1) {
    const int64_t left =
        k_.axes.extent[static_cast<size_t>(inner_)] - place_.first[static_cast<size_t>(inner_)];
    if (left < place_.rows || row_stride(a) != place_.cols) return std::nullopt;
  }
  return evaluate(a, {0, 0, place_.first});
}

ColumnRange TileRun::inside(const std::vector<ConcreteBound>& bounds, const RowRun& run, int64_t r,
                            int64_t cols) const {
  ColumnRange range{0, cols};
  for (const ConcreteBound& bound : bounds) {
    const int64_t first = evaluate(bound.index, run) + r * row_stride(bound.index);
    const int64_t stride = column_stride(bound.index);
    if (stride == 0) {
      if (first < 0 || first >= bound.extent) return {0, 0};
    } else if (stride > 0) {
      if (first < 0) range.begin = std::max(range.begin, (-first + stride - 1) / stride);
      range.end = first >= bound.extent
                      ? 0
                      : std::min(range.end, (bound.extent - first + stride - 1) / stride);
    } else {
      if (first >= bound.extent)
        range.begin = std::max(range.begin, (first - bound.extent) / -stride + 1);
      range.end = first < 0 ? 0 : std::min(range.end, first / -stride + 1);
    }
  }
  if (range.end < range.begin) return {0, 0};
  return range;
}

// Nothing where a bound depends on the column.
std::optional<RowRange> TileRun::rows_inside(const std::vector<ConcreteBound>& bounds,
                                             const RowRun& run) const {
  RowRange range{0, run.rows};
  for (const ConcreteBound& bound : bounds) {
    if (column_stride(bound.index) != 0) return std::nullopt;
    const int64_t first = evaluate(bound.index, run), step = row_stride(bound.index);
    if (step < 0) return std::nullopt;
    if (step == 0) {
      if (first < 0 || first >= bound.extent) range.end = 0;
      continue;
    }
    if (first < 0) range.begin = std::max(range.begin, (-first + step - 1) / step);
    range.end =
        first >= bound.extent ? 0 : std::min(range.end, (bound.extent - first + step - 1) / step);
  }
  range.begin = std::min(range.begin, std::max<int64_t>(0, range.end));
  range.end = std::max(range.begin, range.end);
  return range;
}

// The address part of an index value for one element of the tile, checked.
int64_t TileRun::dynamic_offset(const TileLoad::Dynamic& term, int64_t row, int64_t col) const {
  const Spread spread = value(term.value).spread;
  const int64_t position =
      (rows_of(spread) > 1 ? row * cols_of(spread) : 0) + (cols_of(spread) > 1 ? col : 0);
  const int64_t index = reinterpret_cast<const int64_t*>(at(term.value))[position];
  if (index < 0 || index >= term.extent)
    fail(ErrorCode::invalid_argument, "index {} is outside an axis of extent {}", index,
         term.extent);
  return index * term.stride;
}

// Row r of a run.
void TileRun::load_row(const TileValue& value, const TileLoad& load, const RowRun& run, int64_t r,
                       char* out) {
  const ColumnRange range =
      load.bounds.empty() ? ColumnRange{0, place_.cols} : inside(load.bounds, run, r, place_.cols);
  const size_t size = size_of(value.compute);
  if (range.begin > 0) repeat(out, &load.fill, size, range.begin);
  if (range.end < place_.cols)
    repeat(out + static_cast<size_t>(range.end) * size, &load.fill, size, place_.cols - range.end);
  if (range.begin >= range.end) return;
  const int64_t stride = column_stride(load.address);
  int64_t offset = evaluate(load.address, run) + r * row_stride(load.address);
  const void* buffer = place_.buffers[load.buffer];
  char* inside_out = out + static_cast<size_t>(range.begin) * size;
  const auto n = static_cast<size_t>(range.end - range.begin);
  const bool by_element = std::any_of(load.dynamic.begin(), load.dynamic.end(),
                                      [&](const auto& term) { return varies_along_columns(term); });
  for (const auto& term : load.dynamic)
    if (!varies_along_columns(term)) offset += dynamic_offset(term, run.row + r, 0);
  if (!by_element) return load.load(inside_out, buffer, offset + range.begin * stride, stride, n);
  int64_t* offsets = static_cast<int64_t*>(
      thread_scratch(element_offsets, static_cast<size_t>(place_.cols + 1) * 8));
  for (int64_t j = range.begin; j < range.end; ++j) offsets[j] = offset + j * stride;
  for (const auto& term : load.dynamic)
    if (varies_along_columns(term)) add_dynamic(term, run.row + r, range, offsets);
  load.gather(inside_out, buffer, offsets + range.begin, n);
}

// Adds the address part of an index value to the offsets of some columns of a row.
void TileRun::add_dynamic(const TileLoad::Dynamic& term, int64_t row, ColumnRange range,
                          int64_t* offsets) {
  const int64_t first = rows_of(value(term.value).spread) > 1 ? row * place_.cols : 0;
  const auto* indices = reinterpret_cast<const int64_t*>(at(term.value)) + first;
  if (add_indices(offsets + range.begin, indices + range.begin, term.stride, term.extent,
                  static_cast<size_t>(range.end - range.begin)))
    return;
  for (int64_t j = range.begin; j < range.end; ++j) dynamic_offset(term, row, j);  // one fails
}

// Whether each index value chooses rows or columns, and elements are whole bytes.
bool TileRun::chooses_rows_or_columns(const TileLoad& load) const {
  return !load.dynamic.empty() && load.bounds.empty() && bits(load.dtype) % 8 == 0 &&
         std::ranges::none_of(load.dynamic, [&](const auto& term) {
           return varies_along_columns(term) && rows_of(value(term.value).spread) > 1;
         });
}

void TileRun::load_chosen(int id, const TileLoad& load) {
  const int64_t stride = column_stride(load.address), size = bits(load.dtype) / 8;
  int64_t* offsets = nullptr;  // of the columns, unless they are evenly spaced
  for (const auto& term : load.dynamic) {
    if (!varies_along_columns(term)) continue;
    if (!offsets) {
      offsets = static_cast<int64_t*>(
          thread_scratch(element_offsets, static_cast<size_t>(place_.cols + 1) * 8));
      for (int64_t j = 0; j < place_.cols; ++j) offsets[j] = j * stride;
    }
    add_dynamic(term, 0, {0, place_.cols}, offsets);
  }
  const auto n = static_cast<size_t>(place_.cols);
  const size_t row_bytes = n * size_of(value(id).compute);
  const auto* buffer = static_cast<const char*>(place_.buffers[load.buffer]);
  for_each_run(rows_of(value(id).spread), [&](const RowRun& run) {
    int64_t first = evaluate(load.address, run);
    for (int64_t r = run.row; r < run.row + run.rows; ++r, first += row_stride(load.address)) {
      int64_t offset = first;
      for (const auto& term : load.dynamic)
        if (!varies_along_columns(term)) offset += dynamic_offset(term, r, 0);
      char* out = at(id) + static_cast<size_t>(r) * row_bytes;
      if (offsets) load.gather(out, buffer + offset * size, offsets, n);
      else load.load(out, buffer, offset, stride, n);
    }
  });
}

// One element a row.
void TileRun::load_each_row(int id, const TileLoad& load) {
  const Spread spread = value(id).spread;
  const size_t size = size_of(value(id).compute);
  const void* buffer = place_.buffers[load.buffer];
  for_each_run(rows_of(spread), [&](const RowRun& run) {
    const int64_t first = evaluate(load.address, run), stride = row_stride(load.address);
    for (int64_t r = 0; r < run.rows; ++r) {
      const int64_t row = run.row + r;
      int64_t& offset = offsets_[row] = first + r * stride;
      char* out = at(id) + static_cast<size_t>(row) * size;
      if (!load.bounds.empty()) {
        repeat(out, &load.fill, size, 1);
        if (inside(load.bounds, run, r, 1).end == 0) continue;
      }
      for (const auto& term : load.dynamic) offset += dynamic_offset(term, row, 0);
      if (!load.bounds.empty()) load.gather(out, buffer, &offset, 1);
    }
  });
  if (load.bounds.empty())
    load.gather(at(id), buffer, offsets_, static_cast<size_t>(rows_of(spread)));
}

void TileRun::load(int id) {
  const TileValue& v = value(id);
  const TileLoad& load = k_.loads[static_cast<size_t>(v.detail)];
  if (v.spread == Spread::uniform || v.spread == Spread::row) return load_each_row(id, load);
  const size_t size = size_of(v.compute);
  const bool simple = load.plain && load.dynamic.empty();
  if (load.dynamic.empty() && load.bounds.empty() && v.spread == Spread::full)
    if (const auto address = dense(load.address)) {
      char* buffer = static_cast<char*>(place_.buffers[load.buffer]);
      at_[id] = load.plain ? buffer + *address * static_cast<int64_t>(size) : scratch_ + v.offset;
      if (!load.plain)
        load.load(at_[id], buffer, *address, 1, static_cast<size_t>(place_.rows * place_.cols));
      return;
    }
  const auto row_bytes = static_cast<size_t>(place_.cols) * size;
  char* array = at_[id] = scratch_ + v.offset;
  if (chooses_rows_or_columns(load)) return load_chosen(id, load);
  for_each_run(rows_of(v.spread), [&](const RowRun& run) {
    char* out = array + static_cast<size_t>(run.row) * row_bytes;
    if (simple && column_stride(load.address) == 1) {
      if (const auto rows = rows_inside(load.bounds, run)) {
        const auto bytes = [&](int64_t elements) { return elements * static_cast<int64_t>(size); };
        const int64_t step = row_stride(load.address);
        const char* from = static_cast<const char*>(place_.buffers[load.buffer]) +
                           bytes(evaluate(load.address, run) + rows->begin * step);
        char* inside = out + rows->begin * static_cast<int64_t>(row_bytes);
        char* after = out + rows->end * static_cast<int64_t>(row_bytes);
        repeat(out, &load.fill, size, rows->begin * place_.cols);
        copy_rows(inside, static_cast<int64_t>(row_bytes), from, bytes(step),
                  rows->end - rows->begin, row_bytes);
        repeat(after, &load.fill, size, (run.rows - rows->end) * place_.cols);
        return;
      }
    }
    if (is_transposed(load) && run.rows > 1) return load_transposed(load, run, out);
    for (int64_t r = 0; r < run.rows; ++r, out += row_bytes) load_row(v, load, run, r, out);
  });
}

// Whether a row of columns and the innermost row axis are, in memory, the other way round.
bool TileRun::is_transposed(const TileLoad& load) const {
  return load.dynamic.empty() && load.bounds.empty() && bits(load.dtype) % 8 == 0 &&
         row_stride(load.address) == 1 && column_stride(load.address) > 1;
}

void TileRun::load_transposed(const TileLoad& load, const RowRun& run, char* out) {
  const int size = bits(load.dtype) / 8;
  const auto count = static_cast<size_t>(run.rows * place_.cols);
  const char* from =
      static_cast<const char*>(place_.buffers[load.buffer]) + evaluate(load.address, run) * size;
  auto* block = load.plain ? out : static_cast<char*>(thread_scratch(element_offsets, count * 8));
  transpose_copy(block, place_.cols, from, column_stride(load.address), place_.cols, run.rows,
                 size);
  if (!load.plain) load.load(out, block, 0, 1, count);
}

void TileRun::expand(int id) {
  const Spread from = value(value(id).a).spread, to = value(id).spread;
  const size_t size = size_of(value(id).compute);
  const char* source = at(value(id).a);
  if (from == Spread::uniform) return repeat(at(id), source, size, count(to));
  const auto row_bytes = static_cast<size_t>(place_.cols) * size;
  for (int64_t r = 0; r < place_.rows; ++r) {
    char* out = at(id) + static_cast<size_t>(r) * row_bytes;
    if (from == Spread::column) std::memcpy(out, source, row_bytes);
    else repeat(out, source + static_cast<size_t>(r) * size, size, place_.cols);
  }
}

void TileRun::bounds(int id) {
  const TileValue& v = value(id);
  auto* out = reinterpret_cast<int32_t*>(at(id));
  const auto& bounds = k_.bounds[static_cast<size_t>(v.detail)];
  const int64_t cols = cols_of(v.spread);
  for_each_run(rows_of(v.spread), [&](const RowRun& run) {
    for (int64_t r = 0; r < run.rows; ++r) {
      const ColumnRange range = inside(bounds, run, r, cols);
      int32_t* row = out + (run.row + r) * cols;
      std::fill_n(row, cols, 0);
      std::fill_n(row + range.begin, range.end - range.begin, 1);
    }
  });
}

void TileRun::index(int id) {
  const TileValue& v = value(id);
  auto* out = reinterpret_cast<int64_t*>(at(id));
  const ConcreteAffine& affine = k_.affines[static_cast<size_t>(v.detail)];
  const int64_t cols = cols_of(v.spread), stride = column_stride(affine);
  for_each_run(rows_of(v.spread), [&](const RowRun& run) {
    int64_t first = evaluate(affine, run);
    for (int64_t r = 0; r < run.rows; ++r, first += row_stride(affine))
      for (int64_t j = 0; j < cols; ++j) out[(run.row + r) * cols + j] = first + j * stride;
  });
}

void TileRun::binary_by_row(int id) {
  const TileValue& v = value(id);
  struct Operand {
    const char* at;
    size_t step;
  };
  const auto operand = [&](int o) {
    const Spread spread = value(o).spread;
    const bool varies = spread == Spread::full || spread == Spread::row;
    return Operand{at(o),
                   varies ? static_cast<size_t>(cols_of(spread)) * size_of(value(o).compute) : 0};
  };
  Operand a = operand(v.a), b = operand(v.b);
  char* out = at(id);
  const auto cols = static_cast<size_t>(place_.cols);
  for (int64_t r = 0; r < place_.rows; ++r) {
    v.binary(out, a.at, b.at, cols);
    out += cols * size_of(v.compute), a.at += a.step, b.at += b.step;
  }
}

void TileRun::execute(int id) {
  const TileValue& v = value(id);
  const auto n = static_cast<size_t>(count(v.spread));
  switch (v.kind) {
    case Kind::constant: return;
    case Kind::index: return index(id);
    case Kind::load: return load(id);
    case Kind::bounds: return bounds(id);
    case Kind::expand: return expand(id);
    case Kind::unary: v.unary(at(id), at(v.a), n); break;
    case Kind::binary:
      if (v.by_row) binary_by_row(id);
      else v.binary(at(id), at(v.a), at(v.b), n);
      break;
    case Kind::select:
      v.select(at(id), reinterpret_cast<const int32_t*>(at(v.a)), at(v.b), at(v.c), n);
      break;
    case Kind::convert:
      if (v.unary) v.unary(at(id), at(v.a), n);
      else std::memmove(at(id), at(v.a), n * size_of(v.compute));
      break;
    case Kind::accumulator:
      if (place_.accumulator_stride == place_.cols) {
        at_[id] = static_cast<char*>(const_cast<void*>(place_.accumulator));
        return;
      }
      return copy_rows(at(id), place_.cols * 4, static_cast<const char*>(place_.accumulator),
                       place_.accumulator_stride * 4, place_.rows,
                       static_cast<size_t>(place_.cols) * 4);
    case Kind::reduce:
      start_reduction(id);
      accumulate(id);
      break;
  }
  if (v.then) v.then(at(id), at(id), n);
}

// Everything in order; what is stored side by side is computed where it is stored.
void TileRun::run_once() {
  uint64_t stored = 0;  // by store: done already
  for (size_t i = 0; i < k_.stores.size() && i < 64; ++i) {
    const TileStore& store = k_.stores[i];
    if (!store.direct) continue;
    if (const auto address = dense(store.address)) {
      const auto size = static_cast<int64_t>(size_of(value(store.value).compute));
      at_[store.value] = static_cast<char*>(place_.buffers[store.buffer]) + *address * size;
      stored |= uint64_t{1} << i;
    }
  }
  for (int v = 0; v < static_cast<int>(k_.values.size()); ++v) execute(v);
  for (size_t i = 0; i < k_.stores.size(); ++i) {
    if (i < 64 && (stored >> i & 1) != 0) continue;
    k_.stores[i].copied >= 0 ? copy(k_.stores[i]) : store(k_.stores[i]);
  }
}

void TileRun::start_reduction(int id) {
  const TileValue& v = value(id);
  const TileReduce& reduce = k_.reduces[static_cast<size_t>(v.detail)];
  const auto n = static_cast<size_t>(count(v.spread));
  if (reduce.kind == ReduceKind::argmax || reduce.kind == ReduceKind::argmin)
    std::fill_n(reinterpret_cast<int64_t*>(at(id)), n, int64_t{-1});
  else fill_identity(reduce.kind, v.compute, at(id), n);
}

void TileRun::finish_reduction(int id) {
  const TileValue& v = value(id);
  if (v.then) v.then(at(id), at(id), static_cast<size_t>(count(v.spread)));
}

void TileRun::accumulate(int id) {
  const TileValue& v = value(id);
  const TileReduce& reduce = k_.reduces[static_cast<size_t>(v.detail)];
  const TileValue& x = value(v.a);
  const bool arg = reduce.kind == ReduceKind::argmax || reduce.kind == ReduceKind::argmin;
  const size_t size = size_of(x.compute);
  auto* indices = reinterpret_cast<int64_t*>(at(id));
  char* best = arg ? scratch_ + reduce.best : nullptr;
  if (!k_.column_reduces) {
    const auto n = static_cast<size_t>(count(v.spread));
    if (!arg) return accumulate_kernel(reduce.kind, x.compute)(at(id), at(v.a), n);
    const int64_t position = evaluate(reduce.position, {0, 0, place_.first});
    return arg_accumulate_kernel(reduce.kind, x.compute, reduce.last)(best, indices, at(v.a),
                                                                      position, n);
  }
  const auto cols = static_cast<size_t>(place_.cols);
  const auto row_at = [&](int64_t r) { return at(v.a) + static_cast<size_t>(r) * cols * size; };
  if (!arg) {
    const ReduceKernel kernel = reduce_kernel(reduce.kind, x.compute);
    for (int64_t r = 0; r < place_.rows; ++r)
      kernel(at(id) + static_cast<size_t>(r) * size, row_at(r), cols);
    return;
  }
  const ArgReduceKernel kernel = arg_reduce_kernel(reduce.kind, x.compute, reduce.last);
  for_each_run(place_.rows, [&](const RowRun& run) {
    int64_t position = evaluate(reduce.position, run);
    for (int64_t r = run.row; r < run.row + run.rows; ++r, position += row_stride(reduce.position))
      kernel(best + static_cast<size_t>(r) * size, indices + r, row_at(r), position, cols);
  });
}

// Positions [first, last) of a load along the reduce axes: some at a time, counted from where they
// all are 0.
class TileRun::Taps {
 public:
  static constexpr int64_t kMost = 64;
  Taps(const TileKernel::Impl& kernel, const TileLoad& load, int64_t first, int64_t last)
      : k_(kernel),
        load_(load),
        bounds_(load.bounds.size()),
        positions_(static_cast<int64_t*>(
            thread_scratch(element_offsets, static_cast<size_t>(kMost) * (bounds_ + 1) * 8))),
        left_(last - first) {
    for (size_t a = k_.reduce_axes.size(); a-- > 0 && first > 0;) {
      const auto axis = static_cast<size_t>(k_.reduce_axes[a]);
      index_[axis] = first % k_.axes.extent[axis];
      first /= k_.axes.extent[axis];
    }
  }
  // False if there are none left.
  bool next() {
    count_ = static_cast<size_t>(std::min(kMost, left_));
    left_ -= std::min(kMost, left_);
    for (size_t t = 0; t < count_; ++t) {
      int64_t* at = positions_ + t * (bounds_ + 1);
      at[bounds_] = along(load_.address);
      for (size_t b = 0; b < bounds_; ++b) at[b] = along(load_.bounds[b].index);
      for (size_t a = k_.reduce_axes.size(); a-- > 0;) {
        const auto axis = static_cast<size_t>(k_.reduce_axes[a]);
        if (++index_[axis] < k_.axes.extent[axis]) break;
        index_[axis] = 0;
      }
    }
    return count_ > 0;
  }
  size_t count() const { return count_; }
  int64_t address(size_t tap) const { return positions_[tap * (bounds_ + 1) + bounds_]; }
  // Whether a tap is inside all bounds, whose indices are `at` where it is counted from.
  bool is_inside(size_t tap, const int64_t* at) const {
    const int64_t* position = positions_ + tap * (bounds_ + 1);
    bool inside = true;
    for (size_t b = 0; b < bounds_; ++b)
      inside &= static_cast<uint64_t>(at[b] + position[b]) <
                static_cast<uint64_t>(load_.bounds[b].extent);
    return inside;
  }

 private:
  int64_t along(const ConcreteAffine& a) const {
    int64_t sum = 0;
    for (int axis : k_.reduce_axes)
      sum += a.stride[static_cast<size_t>(axis)] * index_[static_cast<size_t>(axis)];
    return sum;
  }

  const TileKernel::Impl& k_;
  const TileLoad& load_;
  size_t bounds_;
  int64_t* positions_;  // by tap: under each bound, and the address
  std::array<int64_t, kMaxAxes> index_{};
  size_t count_ = 0;
  int64_t left_;
};

void TileRun::combine_rows(const std::vector<int>& values, int64_t first_tap, int64_t last_tap) {
  const TileLoad& load = k_.loads[static_cast<size_t>(value(values[0]).detail)];
  const auto kernel = accumulate_rows_kernel(
      k_.reduces[static_cast<size_t>(value(values[1]).detail)].kind, load.dtype);
  auto* sums = reinterpret_cast<float*>(at(values[1]));
  const auto* data = static_cast<const char*>(place_.buffers[load.buffer]);
  const int64_t size = bits(load.dtype) / 8;
  for (int axis : k_.reduce_axes) base[static_cast<size_t>(axis)] = 0;
  Taps taps(k_, load, first_tap, last_tap);
  while (taps.next())
    for_each_run(place_.rows, [&](const RowRun& run) {
      const int64_t first = evaluate(load.address, run), step = row_stride(load.address);
      std::array<int64_t, kMaxAxes> bound, last;
      for (size_t b = 0; b < load.bounds.size(); ++b) {
        bound[b] = evaluate(load.bounds[b].index, run);
        last[b] = bound[b] + (run.rows - 1) * row_stride(load.bounds[b].index);
      }
      std::array<const void*, Taps::kMost> rows;
      // Rows all of whose taps are inside and that lie side by side are one.
      bool whole = step == place_.cols;
      for (size_t t = 0; t < taps.count() && whole; ++t) {
        rows[t] = data + (first + taps.address(t)) * size;
        whole = taps.is_inside(t, bound.data()) && taps.is_inside(t, last.data());
      }
      float* out = sums + run.row * place_.cols;
      if (whole)
        return kernel(out, rows.data(), taps.count(), static_cast<size_t>(run.rows * place_.cols));
      for (int64_t r = 0; r < run.rows; ++r, out += place_.cols) {
        size_t count = 0;
        for (size_t t = 0; t < taps.count(); ++t)
          if (taps.is_inside(t, bound.data()))
            rows[count++] = data + (first + r * step + taps.address(t)) * size;
        kernel(out, rows.data(), count, static_cast<size_t>(place_.cols));
        for (size_t b = 0; b < load.bounds.size(); ++b)
          bound[b] += row_stride(load.bounds[b].index);
      }
    });
}

void TileRun::take_sums(int id, float* out) const {
  std::memcpy(out, at(id), static_cast<size_t>(n_full_) * sizeof(float));
}

void TileRun::add_sums(int id, const float* part) {
  const ReduceKind kind = k_.reduces[static_cast<size_t>(value(id).detail)].kind;
  accumulate_kernel(kind, Compute::f32)(at(id), part, static_cast<size_t>(n_full_));
}

// Rows of memory that are stored as they are, or transposed.
void TileRun::copy(const TileStore& store) {
  const TileLoad& load = k_.loads[static_cast<size_t>(store.copied)];
  const int64_t size = bits(load.dtype) / 8;
  const auto row_bytes = static_cast<size_t>(place_.cols * size);
  const auto* source = static_cast<const char*>(place_.buffers[load.buffer]);
  auto* target = static_cast<char*>(place_.buffers[store.buffer]);
  if (const int64_t stride = column_stride(load.address); stride != 1)
    return for_each_run(place_.rows, [&](const RowRun& run) {
      transpose_copy(target + evaluate(store.address, run) * size, row_stride(store.address),
                     source + evaluate(load.address, run) * size, stride, place_.cols, run.rows,
                     static_cast<int>(size));
    });
  for_each_run(place_.rows, [&](const RowRun& run) {
    const RowRange inside = *rows_inside(load.bounds, run);
    const int64_t step = row_stride(store.address) * size, from_step = row_stride(load.address);
    char* out = target + evaluate(store.address, run) * size;
    const char* from = source + (evaluate(load.address, run) + inside.begin * from_step) * size;
    for (int64_t r = 0; r < inside.begin; ++r) std::memset(out + r * step, 0, row_bytes);
    copy_rows(out + inside.begin * step, step, from, from_step * size, inside.end - inside.begin,
              row_bytes);
    for (int64_t r = inside.end; r < run.rows; ++r) std::memset(out + r * step, 0, row_bytes);
  });
}

void TileRun::store(const TileStore& store) {
  const auto size = static_cast<int64_t>(size_of(value(store.value).compute));
  const char* from = at(store.value);
  const int64_t cols = cols_of(store.spread), row_bytes = cols * size;
  if (store.buffer < 0)
    return copy_rows(static_cast<char*>(place_.operand), place_.operand_stride * size, from,
                     row_bytes, place_.rows, static_cast<size_t>(row_bytes));
  auto* buffer = static_cast<char*>(place_.buffers[store.buffer]);
  const int64_t stride = cols == 1 ? 1 : column_stride(store.address);
  if (store.spread == Spread::full)
    if (const auto address = dense(store.address))
      return store.store(buffer, *address, 1, from, static_cast<size_t>(n_full_));
  for_each_run(rows_of(store.spread), [&](const RowRun& run) {
    int64_t address = evaluate(store.address, run);
    const int64_t step = row_stride(store.address);
    const char* row = from + run.row * row_bytes;
    if (store.plain && stride == 1)
      return copy_rows(buffer + address * size, step * size, row, row_bytes, run.rows,
                       static_cast<size_t>(row_bytes));
    for (int64_t r = 0; r < run.rows; ++r, address += step, row += row_bytes)
      store.store(buffer, address, stride, row, static_cast<size_t>(cols));
  });
}

// All tiles of a kernel that ranges over its axes by itself.
class TileLoop {
 public:
  TileLoop(const TileKernel::Impl& kernel, void* const* buffers) : k_(kernel), buffers_(buffers) {}

  void run(int64_t tile) const {
    TileRun run = at(tile);
    if (k_.one_pass) run.run_once();
    else run_passes(run);
  }

  // Into how many parts the positions along the reduce axes are divided, for several threads: where
  // there are few sums. It depends on sizes alone, and so does the result.
  int64_t parts() const {
    constexpr int64_t kMostTiles = 8, kMostParts = 64;
    constexpr int64_t kPart = 8 * 1024;  // elements: what other threads wrote is dear to read
    if (k_.one_pass || k_.passes != 1 || k_.tiles > kMostTiles ||
        !combines_rows(k_, k_.pass_values[0]) || !k_.pass_values[1].empty() ||
        std::ranges::any_of(k_.stores, [](const TileStore& s) { return s.inner; }))
      return 1;
    const int64_t positions = reduced_positions(k_);
    return std::max<int64_t>(
        1, std::min({positions * k_.rows * k_.cols / kPart, positions, kMostParts}));
  }

  void run_in_parts(int64_t parts, ThreadPool& pool) const;

 private:
  TileRun at(int64_t tile) const;
  void run_passes(TileRun& run) const;
  template <class F>
  void for_each_reduced(TileRun& run, F body) const;

  const TileKernel::Impl& k_;
  void* const* buffers_;
};

TileRun TileLoop::at(int64_t tile) const {
  const int64_t column_blocks =
      k_.column_reduces ? 1 : std::max<int64_t>(1, (k_.column_extent + k_.cols - 1) / k_.cols);
  const int64_t first_row = tile / column_blocks * k_.rows;
  const int64_t first_col = tile % column_blocks * k_.cols;
  TilePlace place;
  place.rows = std::min(k_.rows, k_.total_rows - first_row);
  place.cols = std::min(k_.cols, k_.column_extent - first_col);
  place.row_axes = k_.row_axes;
  for (size_t i = k_.row_axes.size(), rest = static_cast<size_t>(first_row); i-- > 0;) {
    const auto axis = static_cast<size_t>(k_.row_axes[i]);
    const auto extent = static_cast<size_t>(k_.axes.extent[axis]);
    place.first[axis] = static_cast<int64_t>(rest % extent);
    rest /= extent;
  }
  place.buffers = buffers_;
  TileRun run(k_, place);
  if (k_.column >= 0) run.base[static_cast<size_t>(k_.column)] = first_col;
  return run;
}

// Calls body for every chunk of columns at every index of the other reduce axes.
template <class F>
void TileLoop::for_each_reduced(TileRun& run, F body) const {
  const int64_t chunks = k_.column_reduces ? (k_.column_extent + k_.cols - 1) / k_.cols : 1;
  int64_t total = chunks;
  for (int axis : k_.reduce_axes) total *= k_.axes.extent[static_cast<size_t>(axis)];
  for (int axis : k_.reduce_axes) run.base[static_cast<size_t>(axis)] = 0;
  int64_t chunk = 0;
  for (int64_t i = 0; i < total; ++i) {
    if (k_.column_reduces) {
      run.base[static_cast<size_t>(k_.column)] = chunk * k_.cols;
      run.set_cols(std::min(k_.cols, k_.column_extent - chunk * k_.cols));
    }
    body();
    if (++chunk < chunks) continue;
    chunk = 0;
    for (size_t a = k_.reduce_axes.size(); a-- > 0;) {
      int64_t& index = run.base[static_cast<size_t>(k_.reduce_axes[a])];
      if (++index < k_.axes.extent[static_cast<size_t>(k_.reduce_axes[a])]) break;
      index = 0;
    }
  }
}

void TileLoop::run_passes(TileRun& run) const {
  using Kind = TileValue::Kind;
  const auto is_reduce = [&](int v) {
    return k_.values[static_cast<size_t>(v)].kind == Kind::reduce;
  };
  for (int pass = 0; pass <= k_.passes; ++pass) {
    for (int v : k_.outer_values[static_cast<size_t>(pass)]) run.execute(v);
    const std::vector<int>& inner = k_.pass_values[static_cast<size_t>(pass)];
    for (int v : inner)
      if (is_reduce(v)) run.start_reduction(v);
    if (pass == k_.passes && inner.empty() &&
        std::none_of(k_.stores.begin(), k_.stores.end(), [](auto& s) { return s.inner; }))
      break;
    if (combines_rows(k_, inner)) {
      run.combine_rows(inner, 0, reduced_positions(k_));
      run.finish_reduction(inner[1]);
      continue;
    }
    for_each_reduced(run, [&] {
      for (int v : inner) is_reduce(v) ? run.accumulate(v) : run.execute(v);
      if (pass == k_.passes)
        for (const TileStore& store : k_.stores)
          if (store.inner) run.store(store);
    });
    for (int v : inner)
      if (is_reduce(v)) run.finish_reduction(v);
  }
  for (const TileStore& store : k_.stores)
    if (!store.inner) run.store(store);
}

void TileLoop::run_in_parts(int64_t parts, ThreadPool& pool) const {
  const std::vector<int>& inner = k_.pass_values[0];
  const int sum = inner[1];
  const int64_t positions = reduced_positions(k_), tile_size = k_.rows * k_.cols;
  auto* sums = static_cast<float*>(thread_scratch(
      partial_sums, static_cast<size_t>(parts * k_.tiles * tile_size) * sizeof(float)));
  pool.run(parts * k_.tiles, [&](int64_t task) {
    const int64_t part = task / k_.tiles;
    TileRun run = at(task % k_.tiles);
    run.start_reduction(sum);
    run.combine_rows(inner, positions * part / parts, positions * (part + 1) / parts);
    run.take_sums(sum, sums + task * tile_size);
  });
  for (int64_t tile = 0; tile < k_.tiles; ++tile) {
    TileRun run = at(tile);
    for (int v : k_.outer_values[0]) run.execute(v);
    run.start_reduction(sum);
    for (int64_t part = 0; part < parts; ++part)
      run.add_sums(sum, sums + (part * k_.tiles + tile) * tile_size);
    run.finish_reduction(sum);
    for (int v : k_.outer_values[1]) run.execute(v);
    for (const TileStore& store : k_.stores) run.store(store);
  }
}

}  // namespace

void TileKernel::run(ThreadPool& pool, void* const* buffers) const {
  const TileLoop loop(*impl_, buffers);
  if (const int64_t parts = loop.parts(); parts > 1) return loop.run_in_parts(parts, pool);
  const int64_t tiles = impl_->tiles, each = impl_->tiles_per_task;
  pool.run((tiles + each - 1) / each, [&](int64_t task) {
    for (int64_t tile = task * each; tile < std::min(tiles, (task + 1) * each); ++tile)
      loop.run(tile);
  });
}

void TileKernel::run_tile(const TilePlace& place) const { TileRun(*impl_, place).run_once(); }

}  // namespace onrush::cpu
