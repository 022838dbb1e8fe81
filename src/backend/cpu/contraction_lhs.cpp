// The left operand of a contraction: blocks of rows as the matrix kernels read them.
#include <algorithm>
#include <cstring>

#include "backend/cpu/contraction_impl.h"
#include "base/check.h"

namespace onrush::cpu {
namespace {

// Pieces are often too short to be worth a call.
void copy_floats(float* out, const float* from, int64_t n) {
  if (n > 64) return void(std::memcpy(out, from, static_cast<size_t>(n) * sizeof(float)));
  for (; n >= 8; n -= 8, out += 8, from += 8) std::memcpy(out, from, 8 * sizeof(float));
  for (; n > 0; --n) *out++ = *from++;
}

}  // namespace

// --- copying

void ContractionKernel::Impl::plan_copies() {
  const TileKernel::PureLoad* load = lhs.kernel.pure_load();
  const int column = lhs.kernel.column_axis();
  if (!load || load->dtype != DType::f32 || load->bounds.size() > RowsInSource::kMaxBounds) return;
  const auto along = [](const ConcreteAffine& a, int axis) {
    return axis < 0 ? 0 : a.stride[static_cast<size_t>(axis)];
  };
  const auto extent = [&](int axis) {
    return axis < 0 ? 1 : lhs.kernel.axes().extent[static_cast<size_t>(axis)];
  };
  const std::vector<int>& axes = lhs.axes[kK];
  const bool clipped = std::ranges::any_of(
      load->bounds, [&](const ConcreteBound& bound) { return along(bound.index, column) != 0; });
  Copies c;
  c.stride = along(load->address, column);
  // Runs follow each other along the axis around the columns, or are single columns.
  int repeated = axes.size() > 1 ? axes[axes.size() - 2] : -1;
  if (clipped) {
    if (c.stride != 1) return;
    repeated = column;
  } else {
    c.run = extent(column);
  }
  if (repeated >= 0 && c.stride == 1 && along(load->address, repeated) == c.run)
    c.repeats = extent(repeated);
  for (const ConcreteBound& bound : load->bounds)
    c.bounds.push_back({bound.extent, c.repeats > 1 ? along(bound.index, repeated) : 0});
  const int64_t length = c.run * c.repeats;
  const int64_t pieces = length > 0 ? k / length : 0;
  std::array<int64_t, kMaxAxes> index{};
  const auto part_of = [&](const ConcreteAffine& a) {
    int64_t sum = 0;
    for (int axis : axes) sum += along(a, axis) * index[static_cast<size_t>(axis)];
    return sum;
  };
  for (int64_t i = 0; i < pieces; ++i) {
    lhs.place(index.data(), kK, i * length);
    c.offsets.push_back(part_of(load->address));
    for (const ConcreteBound& bound : load->bounds) c.bound_offsets.push_back(part_of(bound.index));
  }
  copies = std::move(c);
}

// A piece of row r, of which bounds may leave out the beginning and the end.
void ContractionKernel::Impl::copy_clipped(float* out, int64_t piece, const RowsInSource& from,
                                           int64_t r) const {
  const Copies& c = *copies;
  const auto bounds = static_cast<int64_t>(c.bounds.size());
  // The repeats [begin, end) are inside.
  int64_t begin = 0, end = c.repeats;
  for (int64_t b = 0; b < bounds; ++b) {
    const auto [extent, step] = c.bounds[static_cast<size_t>(b)];
    const int64_t first = from.position[static_cast<size_t>(b)] +
                          r * from.position_step[static_cast<size_t>(b)] +
                          c.bound_offsets[static_cast<size_t>(piece * bounds + b)];
    if (step > 0) {
      if (first < 0) begin = std::max(begin, (-first + step - 1) / step);
      end = first >= extent ? 0 : std::min(end, (extent - first + step - 1) / step);
    } else if (step < 0) {
      if (first >= extent) begin = std::max(begin, (first - extent) / -step + 1);
      end = first < 0 ? 0 : std::min(end, first / -step + 1);
    } else if (first < 0 || first >= extent) {
      end = 0;
    }
  }
  begin = std::min(begin, end);
  float *inside = out + begin * c.run, *after = out + end * c.run;
  std::fill(out, inside, 0.0f);
  const float* source = from.first + r * from.step + c.offsets[static_cast<size_t>(piece)];
  if (c.stride == 1) copy_floats(inside, source + begin * c.run, after - inside);
  else if (end > begin)
    for (int64_t j = 0; j < c.run; ++j) inside[j] = source[j * c.stride];
  std::fill(after, out + c.repeats * c.run, 0.0f);
}

// A piece of all rows: most are whole.
void ContractionKernel::Impl::copy_piece(float* out, int64_t stride, int64_t piece,
                                         const RowsInSource& from) const {
  const Copies& c = *copies;
  const size_t bounds = c.bounds.size();
  // Rows [begin, end) are inside with all repeats.
  int64_t begin = 0, end = from.rows;
  for (size_t b = 0; b < bounds; ++b) {
    const auto [extent, step] = c.bounds[b];
    const int64_t first =
        from.position[b] + c.bound_offsets[static_cast<size_t>(piece) * bounds + b];
    const int64_t reach = step * (c.repeats - 1);
    const int64_t least = first + std::min<int64_t>(0, reach);
    const int64_t most = first + std::max<int64_t>(0, reach);
    const int64_t row_step = from.position_step[b];
    if (row_step > 0) {
      if (least < 0) begin = std::max(begin, (-least + row_step - 1) / row_step);
      end = most >= extent ? 0 : std::min(end, (extent - most + row_step - 1) / row_step);
    } else if (row_step < 0 || least < 0 || most >= extent) {
      end = 0;
    }
  }
  begin = std::min(begin, end);
  for (int64_t r = 0; r < begin; ++r) copy_clipped(out + r * stride, piece, from, r);
  for (int64_t r = end; r < from.rows; ++r) copy_clipped(out + r * stride, piece, from, r);
  const float* source = from.first + begin * from.step + c.offsets[static_cast<size_t>(piece)];
  out += begin * stride;
  const int64_t length = c.run * c.repeats;
  constexpr int64_t kVector = 16;
  if (c.stride == 1 && length >= kVector)
    return copy_rows(out, stride * 4, source, from.step * 4, end - begin,
                     static_cast<size_t>(length) * 4);
  for (int64_t r = begin; r < end; ++r, out += stride, source += from.step) {
    if (c.stride == 1) copy_floats(out, source, length);
    else
      for (int64_t j = 0; j < c.run; ++j) out[j] = source[j * c.stride];
  }
}

// Of `rows` rows from `first` on, those that lie along the innermost axis of m.
ContractionKernel::Impl::RowsInSource ContractionKernel::Impl::rows_in_source(
    int64_t batch_index, int64_t first, int64_t rows, void* const* buffers) const {
  const TileKernel::PureLoad& load = *lhs.kernel.pure_load();
  const int axes = lhs.kernel.axes().count;
  const int inner = lhs.axes[kM].empty() ? -1 : lhs.axes[kM].back();
  const auto along_rows = [&](const ConcreteAffine& a) {
    return inner < 0 ? 0 : a.stride[static_cast<size_t>(inner)];
  };
  std::array<int64_t, kMaxAxes> index{};
  lhs.place(index.data(), kBatch, batch_index);
  lhs.place(index.data(), kM, first);
  const int64_t extent = lhs.inner_extent(kM);
  RowsInSource from{};
  from.rows = std::min(rows, extent - first % extent);
  from.step = along_rows(load.address);
  from.first =
      static_cast<const float*>(buffers[load.buffer]) + dot(load.address, index.data(), axes);
  for (size_t b = 0; b < load.bounds.size(); ++b) {
    from.position_step[b] = along_rows(load.bounds[b].index);
    from.position[b] = dot(load.bounds[b].index, index.data(), axes);
  }
  return from;
}

void ContractionKernel::Impl::copy_block(float* block, int64_t stride, int64_t batch_index,
                                         int64_t first, int64_t rows, void* const* buffers) const {
  const auto pieces = static_cast<int64_t>(copies->offsets.size());
  const int64_t length = copies->run * copies->repeats;
  for (int64_t r = 0; r < rows;) {
    const RowsInSource from = rows_in_source(batch_index, first + r, rows - r, buffers);
    for (int64_t piece = 0; piece < pieces; ++piece)
      copy_piece(block + r * stride + piece * length, stride, piece, from);
    r += from.rows;
  }
}

// --- blocks

// Rows of one k run side by side at an even distance, none of them padding.
bool ContractionKernel::Impl::reads_in_place(int64_t rows) const {
  constexpr int64_t kSetStride = 1024;  // rows this many floats apart compete for one cache set
  if (!copies || !copies->bounds.empty() || copies->offsets.size() != 1 || copies->stride != 1)
    return false;
  if (lhs.axes[kM].size() > 1) return false;
  const bool converts = gemm.operand != DType::f32 || splits(rows);
  return converts || rows == 1 || row_stride() % kSetStride != 0;
}

int64_t ContractionKernel::Impl::row_stride() const {
  const ConcreteAffine& address = lhs.kernel.pure_load()->address;
  return lhs.axes[kM].empty() ? 0 : address.stride[static_cast<size_t>(lhs.axes[kM][0])];
}

ContractionKernel::Impl::Block ContractionKernel::Impl::new_block(int64_t batch_index,
                                                                  int64_t first, int64_t rows,
                                                                  void* const* buffers,
                                                                  BlockMemory memory) const {
  Block block{.batch_index = batch_index, .first = first, .rows = rows};
  if (reads_in_place(rows)) {
    const TileKernel::PureLoad& load = *lhs.kernel.pure_load();
    std::array<int64_t, kMaxAxes> index{};
    lhs.place(index.data(), kBatch, batch_index);
    lhs.place(index.data(), kM, first);
    block.source = static_cast<float*>(buffers[load.buffer]) +
                   dot(load.address, index.data(), lhs.kernel.axes().count);
    block.source_stride = row_stride();
    block.in_place = true;
  } else {
    block.source = memory.rows;
    block.source_stride = gemm.block_stride(k);
  }
  if (gemm.operand == DType::f32) {
    block.operand = block.source;
    block.stride = block.source_stride;
  } else {
    block.operand = memory.operand;
    block.stride = gemm.block_stride(k);
  }
  block.row_bytes = block.stride * bits(gemm.operand) / 8;
  if (splits(rows)) block.split = memory.operand;
  return block;
}

size_t ContractionKernel::Impl::source_bytes(int64_t rows) const {
  if (reads_in_place(rows)) return 0;
  return static_cast<size_t>(gemm.block_stride(k) * padded_rows(rows) + 64) * sizeof(float);
}

size_t ContractionKernel::Impl::operand_bytes(int64_t rows) const {
  if (splits(rows)) return static_cast<size_t>(SplitGemm::units(rows) * SplitGemm::unit_bytes(k));
  if (gemm.operand == DType::f32) return 0;
  const int64_t row_bytes = gemm.block_stride(k) * bits(gemm.operand) / 8;
  return static_cast<size_t>(row_bytes * padded_rows(rows) + 64);
}

// Rows [begin, end) of a block, begin a multiple of 16; false if they cannot be split.
bool ContractionKernel::Impl::fill_block(const Block& block, int64_t begin, int64_t end,
                                         void* const* buffers) const {
  float* source = block.source + begin * block.source_stride;
  const int64_t rows = end - begin, first = block.first + begin;
  if (!block.in_place) {
    if (copies) copy_block(source, block.source_stride, block.batch_index, first, rows, buffers);
    else
      compute_block(lhs, kM, source, block.source_stride, block.batch_index, first, rows, buffers);
  }
  if (block.split)
    return split->split_a(block.split + begin / SplitGemm::kTileRows * SplitGemm::unit_bytes(k),
                          source, block.source_stride, rows, k);
  if (gemm.operand == DType::f32) return true;
  auto* operand = static_cast<char*>(block.operand);
  const int64_t operand_bits = bits(gemm.operand);
  for (int64_t r = begin; r < end; ++r) {
    char* out = operand + r * block.row_bytes;
    gemm.round_a(out, block.source + r * block.source_stride, k);
    std::memset(out + k * operand_bits / 8, 0,
                static_cast<size_t>((gemm.padded_k(k) - k) * operand_bits / 8));
  }
  if (end == block.rows)
    for (int64_t r = end; r < padded_rows(end); ++r)
      std::memset(operand + r * block.row_bytes, 0, static_cast<size_t>(block.row_bytes));
  return true;
}

}  // namespace onrush::cpu
