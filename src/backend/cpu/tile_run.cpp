// Running: one tile after another.
#include <algorithm>
#include <cstring>
#include <new>

#include "backend/cpu/tile_impl.h"
#include "base/check.h"

namespace onrush::cpu {

void* thread_scratch(ScratchSlot slot, size_t bytes) {
  struct Block {
    char* data = nullptr;
    size_t bytes = 0;
    ~Block() { std::free(data); }
  };
  thread_local std::array<Block, 11> blocks;
  Block& block = blocks[static_cast<size_t>(slot)];
  if (block.bytes < bytes) {
    std::free(block.data);
    block.bytes = (bytes + 4095) / 4096 * 4096;
    block.data = static_cast<char*>(std::aligned_alloc(64, block.bytes));
    if (!block.data) {
      block.bytes = 0;
      fail(ErrorCode::out_of_memory, "cannot allocate {} bytes of scratch memory", bytes);
    }
  }
  return block.data;
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

class TileRun {
 public:
  TileRun(const TileKernel::Impl& kernel, const TilePlace& place)
      : k_(kernel),
        place_(place),
        n_full_(place.rows * place.cols),
        scratch_(static_cast<char*>(
            thread_scratch(tile_arrays, static_cast<size_t>(kernel.scratch_bytes)))),
        offsets_(static_cast<int64_t*>(
            thread_scratch(row_offsets, static_cast<size_t>(place.rows + 1) * 8))) {
    if (!kernel.uniforms.empty())
      std::memcpy(scratch_, kernel.uniforms.data(), kernel.uniforms.size() * 8);
  }

  // Index of axes outside of the rows: reduce axes, and the first column.
  std::array<int64_t, kMaxAxes> base{};

  void set_cols(int64_t cols) {
    place_.cols = cols;
    n_full_ = place_.rows * cols;
  }

  void execute(int value);
  void start_reduction(int value);
  void accumulate(int value);
  void finish_reduction(int value);
  void store(const TileStore& store);

 private:
  using Kind = TileValue::Kind;

  char* at(const TileValue& value) const { return scratch_ + value.offset; }
  char* at(int value) const { return at(k_.values[static_cast<size_t>(value)]); }
  int64_t count(Spread spread) const {
    return spread == Spread::uniform ? 1 : spread == Spread::row ? place_.rows : n_full_;
  }
  int64_t evaluate(const ConcreteAffine& a, int64_t row) const {
    int64_t sum = a.offset;
    const int64_t* index = place_.row_indices + row * k_.axes.count;
    for (int i = 0; i < k_.axes.count; ++i)
      sum += a.stride[static_cast<size_t>(i)] * (index[i] + base[static_cast<size_t>(i)]);
    return sum;
  }
  int64_t column_stride(const ConcreteAffine& a) const {
    return k_.column < 0 ? 0 : a.stride[static_cast<size_t>(k_.column)];
  }
  ColumnRange inside(const std::vector<ConcreteBound>& bounds, int64_t row, int64_t cols) const;
  void load(const TileValue& value);
  void load_row(const TileValue& value, const TileLoad& load, int64_t row, char* out);
  void load_indexed(const TileValue& value, const TileLoad& load, int64_t row, char* out,
                    int64_t element);
  void load_each_row(const TileValue& value, const TileLoad& load);
  int64_t dynamic_offset(const TileLoad::Dynamic& term, int64_t element) const;
  void expand(const TileValue& value);
  void bounds(const TileValue& value);
  void index(const TileValue& value);

  const TileKernel::Impl& k_;
  TilePlace place_;
  int64_t n_full_;
  char* scratch_;
  int64_t* offsets_;
};

ColumnRange TileRun::inside(const std::vector<ConcreteBound>& bounds, int64_t row,
                            int64_t cols) const {
  ColumnRange range{0, cols};
  for (const ConcreteBound& bound : bounds) {
    const int64_t first = evaluate(bound.index, row);
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

// The address part of an index value for one element of the tile, checked.
int64_t TileRun::dynamic_offset(const TileLoad::Dynamic& term, int64_t element) const {
  const TileValue& value = k_.values[static_cast<size_t>(term.value)];
  const int64_t position = value.spread == Spread::uniform ? 0
                           : value.spread == Spread::row   ? element / place_.cols
                                                           : element;
  const int64_t index = reinterpret_cast<const int64_t*>(at(value))[position];
  if (index < 0 || index >= term.extent)
    fail(ErrorCode::invalid_argument, "index {} is outside an axis of extent {}", index,
         term.extent);
  return index * term.stride;
}

// Elements whose places are given by values: one address each.
void TileRun::load_indexed(const TileValue& value, const TileLoad& load, int64_t row, char* out,
                           int64_t) {
  const ColumnRange range = inside(load.bounds, row, place_.cols);
  const size_t size = size_of(value.compute);
  repeat(out, &load.fill, size, place_.cols);
  int64_t* offsets = static_cast<int64_t*>(
      thread_scratch(element_offsets, static_cast<size_t>(place_.cols + 1) * 8));
  const int64_t first = evaluate(load.address, row), stride = column_stride(load.address);
  for (int64_t j = range.begin; j < range.end; ++j) {
    int64_t offset = first + j * stride;
    for (const auto& term : load.dynamic) offset += dynamic_offset(term, row * place_.cols + j);
    offsets[j] = offset;
  }
  load.gather(out + static_cast<size_t>(range.begin) * size, place_.buffers[load.buffer],
              offsets + range.begin, static_cast<size_t>(range.end - range.begin));
}

void TileRun::load_row(const TileValue& value, const TileLoad& load, int64_t row, char* out) {
  const bool by_element =
      std::any_of(load.dynamic.begin(), load.dynamic.end(), [&](const auto& term) {
        return k_.values[static_cast<size_t>(term.value)].spread == Spread::full;
      });
  if (by_element) return load_indexed(value, load, row, out, 0);
  const ColumnRange range =
      load.bounds.empty() ? ColumnRange{0, place_.cols} : inside(load.bounds, row, place_.cols);
  const size_t size = size_of(value.compute);
  if (range.begin > 0) repeat(out, &load.fill, size, range.begin);
  if (range.end < place_.cols)
    repeat(out + static_cast<size_t>(range.end) * size, &load.fill, size, place_.cols - range.end);
  if (range.begin >= range.end) return;
  const int64_t stride = column_stride(load.address);
  int64_t offset = evaluate(load.address, row) + range.begin * stride;
  for (const auto& term : load.dynamic) offset += dynamic_offset(term, row * place_.cols);
  load.load(out + static_cast<size_t>(range.begin) * size, place_.buffers[load.buffer], offset,
            stride, static_cast<size_t>(range.end - range.begin));
}

// One element a row.
void TileRun::load_each_row(const TileValue& value, const TileLoad& load) {
  const int64_t n = count(value.spread);
  const size_t size = size_of(value.compute);
  if (load.bounds.empty()) {
    for (int64_t r = 0; r < n; ++r) {
      offsets_[r] = evaluate(load.address, r);
      for (const auto& term : load.dynamic) offsets_[r] += dynamic_offset(term, r * place_.cols);
    }
    return load.gather(at(value), place_.buffers[load.buffer], offsets_, static_cast<size_t>(n));
  }
  for (int64_t r = 0; r < n; ++r) {
    char* out = at(value) + static_cast<size_t>(r) * size;
    repeat(out, &load.fill, size, 1);
    if (inside(load.bounds, r, 1).end == 0) continue;
    int64_t offset = evaluate(load.address, r);
    for (const auto& term : load.dynamic) offset += dynamic_offset(term, r * place_.cols);
    load.gather(out, place_.buffers[load.buffer], &offset, 1);
  }
}

void TileRun::load(const TileValue& value) {
  const TileLoad& load = k_.loads[static_cast<size_t>(value.detail)];
  if (value.spread != Spread::full) return load_each_row(value, load);
  const size_t row_bytes = static_cast<size_t>(place_.cols) * size_of(value.compute);
  for (int64_t r = 0; r < place_.rows; ++r) {
    char* out = at(value) + static_cast<size_t>(r) * row_bytes;
    if (r > 0 && !load.varies_by_row) std::memcpy(out, at(value), row_bytes);
    else load_row(value, load, r, out);
  }
}

void TileRun::expand(const TileValue& value) {
  const TileValue& from = k_.values[static_cast<size_t>(value.a)];
  const size_t size = size_of(value.compute);
  if (from.spread == Spread::uniform) return repeat(at(value), at(from), size, count(value.spread));
  for (int64_t r = 0; r < place_.rows; ++r)
    repeat(at(value) + static_cast<size_t>(r * place_.cols) * size,
           at(from) + static_cast<size_t>(r) * size, size, place_.cols);
}

void TileRun::bounds(const TileValue& value) {
  auto* out = reinterpret_cast<int32_t*>(at(value));
  const auto& bounds = k_.bounds[static_cast<size_t>(value.detail)];
  const int64_t cols = value.spread == Spread::full ? place_.cols : 1;
  const int64_t rows = count(value.spread) / std::max<int64_t>(1, cols);
  for (int64_t r = 0; r < rows; ++r) {
    const ColumnRange range = inside(bounds, r, cols);
    std::fill_n(out + r * cols, cols, 0);
    std::fill_n(out + r * cols + range.begin, range.end - range.begin, 1);
  }
}

void TileRun::index(const TileValue& value) {
  auto* out = reinterpret_cast<int64_t*>(at(value));
  const ConcreteAffine& affine = k_.affines[static_cast<size_t>(value.detail)];
  const int64_t cols = value.spread == Spread::full ? place_.cols : 1;
  const int64_t rows = count(value.spread) / std::max<int64_t>(1, cols);
  const int64_t stride = column_stride(affine);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t first = evaluate(affine, r);
    for (int64_t j = 0; j < cols; ++j) out[r * cols + j] = first + j * stride;
  }
}

void TileRun::execute(int id) {
  const TileValue& value = k_.values[static_cast<size_t>(id)];
  const auto n = static_cast<size_t>(count(value.spread));
  switch (value.kind) {
    case Kind::constant: return;
    case Kind::index: return index(value);
    case Kind::load: return load(value);
    case Kind::bounds: return bounds(value);
    case Kind::expand: return expand(value);
    case Kind::unary: value.unary(at(value), at(value.a), n); break;
    case Kind::binary: value.binary(at(value), at(value.a), at(value.b), n); break;
    case Kind::select:
      value.select(at(value), reinterpret_cast<const int32_t*>(at(value.a)), at(value.b),
                   at(value.c), n);
      break;
    case Kind::convert:
      if (value.unary) value.unary(at(value), at(value.a), n);
      else std::memmove(at(value), at(value.a), n * size_of(value.compute));
      break;
    case Kind::accumulator:
      for (int64_t r = 0; r < place_.rows; ++r)
        std::memcpy(
            at(value) + static_cast<size_t>(r * place_.cols) * 4,
            static_cast<const char*>(place_.accumulator) + r * place_.accumulator_stride * 4,
            static_cast<size_t>(place_.cols) * 4);
      return;
    case Kind::reduce:
      start_reduction(id);
      accumulate(id);
      break;
  }
  if (value.then) value.then(at(value), at(value), n);
}

void TileRun::start_reduction(int id) {
  const TileValue& value = k_.values[static_cast<size_t>(id)];
  const TileReduce& reduce = k_.reduces[static_cast<size_t>(value.detail)];
  const auto n = static_cast<size_t>(count(value.spread));
  if (reduce.kind == ReduceKind::argmax || reduce.kind == ReduceKind::argmin)
    std::fill_n(reinterpret_cast<int64_t*>(at(value)), n, int64_t{-1});
  else fill_identity(reduce.kind, value.compute, at(value), n);
}

void TileRun::finish_reduction(int id) {
  const TileValue& value = k_.values[static_cast<size_t>(id)];
  if (value.then) value.then(at(value), at(value), static_cast<size_t>(count(value.spread)));
}

void TileRun::accumulate(int id) {
  const TileValue& value = k_.values[static_cast<size_t>(id)];
  const TileReduce& reduce = k_.reduces[static_cast<size_t>(value.detail)];
  const TileValue& x = k_.values[static_cast<size_t>(value.a)];
  const bool arg = reduce.kind == ReduceKind::argmax || reduce.kind == ReduceKind::argmin;
  const size_t size = size_of(x.compute);
  auto* indices = reinterpret_cast<int64_t*>(at(value));
  char* best = arg ? scratch_ + reduce.best : nullptr;
  if (!k_.column_reduces) {
    const auto n = static_cast<size_t>(count(value.spread));
    if (arg)
      arg_accumulate_kernel(reduce.kind, x.compute, reduce.last)(best, indices, at(x),
                                                                 evaluate(reduce.position, 0), n);
    else accumulate_kernel(reduce.kind, x.compute)(at(value), at(x), n);
    return;
  }
  for (int64_t r = 0; r < place_.rows; ++r) {
    const char* row = at(x) + static_cast<size_t>(r * place_.cols) * size;
    const auto cols = static_cast<size_t>(place_.cols);
    const auto row_ = static_cast<size_t>(r);
    if (arg)
      arg_reduce_kernel(reduce.kind, x.compute, reduce.last)(best + row_ * size, indices + r, row,
                                                             evaluate(reduce.position, r), cols);
    else reduce_kernel(reduce.kind, x.compute)(at(value) + row_ * size, row, cols);
  }
}

void TileRun::store(const TileStore& store) {
  const TileValue& value = k_.values[static_cast<size_t>(store.value)];
  const size_t size = size_of(value.compute);
  const char* from = at(value);
  if (store.buffer < 0) {
    for (int64_t r = 0; r < place_.rows; ++r)
      std::memcpy(static_cast<char*>(place_.operand) +
                      static_cast<size_t>(r * place_.operand_stride) * size,
                  from + static_cast<size_t>(r * place_.cols) * size,
                  static_cast<size_t>(place_.cols) * size);
    return;
  }
  void* buffer = place_.buffers[store.buffer];
  const int64_t cols = store.spread == Spread::full ? place_.cols : 1;
  const int64_t rows = count(store.spread) / std::max<int64_t>(1, cols);
  const int64_t stride = cols == 1 ? 1 : column_stride(store.address);
  for (int64_t r = 0; r < rows; ++r)
    store.store(buffer, evaluate(store.address, r), stride,
                from + static_cast<size_t>(r * cols) * size, static_cast<size_t>(cols));
}

// All tiles of a kernel that ranges over its axes by itself.
class TileLoop {
 public:
  TileLoop(const TileKernel::Impl& kernel, void* const* buffers) : k_(kernel), buffers_(buffers) {}

  void run(int64_t tile) {
    const int64_t column_blocks =
        k_.column_reduces ? 1 : std::max<int64_t>(1, (k_.column_extent + k_.cols - 1) / k_.cols);
    const int64_t first_row = tile / column_blocks * k_.rows;
    const int64_t first_col = tile % column_blocks * k_.cols;
    TilePlace place;
    place.rows = std::min(k_.rows, k_.total_rows - first_row);
    place.cols = std::min(k_.cols, k_.column_extent - first_col);
    place.row_indices = row_indices(first_row, place.rows);
    place.buffers = buffers_;
    TileRun run(k_, place);
    if (k_.column >= 0) run.base[static_cast<size_t>(k_.column)] = first_col;
    if (k_.one_pass) {
      for (int v = 0; v < static_cast<int>(k_.values.size()); ++v) run.execute(v);
      for (const TileStore& store : k_.stores) run.store(store);
    } else {
      run_passes(run);
    }
  }

 private:
  const int64_t* row_indices(int64_t first, int64_t rows) const;
  void run_passes(TileRun& run) const;
  template <class F>
  void for_each_reduced(TileRun& run, F body) const;

  const TileKernel::Impl& k_;
  void* const* buffers_;
};

const int64_t* TileLoop::row_indices(int64_t first, int64_t rows) const {
  const int axes = k_.axes.count;
  const size_t bytes = static_cast<size_t>(rows * std::max(axes, 1)) * 8;
  auto* table = static_cast<int64_t*>(thread_scratch(row_index_table, bytes));
  std::memset(table, 0, bytes);
  for (int64_t r = 0; r < rows; ++r) {
    int64_t* index = table + r * axes;
    if (r == 0) {
      int64_t rest = first;
      for (size_t i = k_.row_axes.size(); i-- > 0;) {
        const int64_t extent = k_.axes.extent[static_cast<size_t>(k_.row_axes[i])];
        index[k_.row_axes[i]] = rest % extent;
        rest /= extent;
      }
      continue;
    }
    std::memcpy(index, index - axes, static_cast<size_t>(axes) * 8);
    for (size_t i = k_.row_axes.size(); i-- > 0;) {
      if (++index[k_.row_axes[i]] < k_.axes.extent[static_cast<size_t>(k_.row_axes[i])]) break;
      index[k_.row_axes[i]] = 0;
    }
  }
  return table;
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

}  // namespace

void TileKernel::run_task(int64_t task, void* const* buffers) const {
  TileLoop loop(*impl_, buffers);
  const int64_t end = std::min(impl_->tiles, (task + 1) * impl_->tiles_per_task);
  for (int64_t tile = task * impl_->tiles_per_task; tile < end; ++tile) loop.run(tile);
}

void TileKernel::run_tile(const TilePlace& place) const {
  TileRun run(*impl_, place);
  for (int v = 0; v < static_cast<int>(impl_->values.size()); ++v) run.execute(v);
  for (const TileStore& store : impl_->stores) run.store(store);
}

}  // namespace onrush::cpu
