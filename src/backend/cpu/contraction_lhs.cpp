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
  if (!load || load->dtype != DType::f32) return;
  const auto along = [](const ConcreteAffine& a, int axis) {
    return axis < 0 ? 0 : a.stride[static_cast<size_t>(axis)];
  };
  for (const ConcreteBound& bound : load->bounds)
    if (along(bound.index, column) != 0) return;
  Copies c;
  c.run = column < 0 ? 1 : lhs.kernel.axes().extent[static_cast<size_t>(column)];
  c.stride = along(load->address, column);
  // The axis around the column one: its runs may follow each other in memory.
  const std::vector<int>& axes = lhs.axes[kK];
  const int around = axes.size() > 1 ? axes[axes.size() - 2] : -1;
  if (around >= 0 && c.stride == 1 && along(load->address, around) == c.run)
    c.repeats = lhs.kernel.axes().extent[static_cast<size_t>(around)];
  for (const ConcreteBound& bound : load->bounds)
    c.bounds.push_back({bound.extent, c.repeats > 1 ? along(bound.index, around) : 0});
  const int64_t piece = c.run * c.repeats;
  const int64_t pieces = piece > 0 ? k / piece : 0;
  std::array<int64_t, kMaxAxes> index{};
  const auto part_of = [&](const ConcreteAffine& a) {
    int64_t sum = 0;
    for (int axis : axes) sum += along(a, axis) * index[static_cast<size_t>(axis)];
    return sum;
  };
  for (int64_t i = 0; i < pieces; ++i) {
    lhs.place(index.data(), kK, i * piece);
    c.offsets.push_back(part_of(load->address));
    for (const ConcreteBound& bound : load->bounds) c.bound_offsets.push_back(part_of(bound.index));
  }
  copies = std::move(c);
}

// One row of a block. `position`: where the row lies under each bound.
void ContractionKernel::Impl::copy_row(float* out, const float* row,
                                       const int64_t* position) const {
  const Copies& c = *copies;
  const int64_t* bound_offset = c.bound_offsets.data();
  for (const int64_t offset : c.offsets) {
    // The repeats [begin, end) are inside.
    int64_t begin = 0, end = c.repeats;
    for (size_t b = 0; b < c.bounds.size(); ++b) {
      const auto [extent, step] = c.bounds[b];
      const int64_t first = position[b] + *bound_offset++;
      if (step <= 0) {
        const int64_t last = first + step * (c.repeats - 1);
        if (step == 0) {
          if (first < 0 || first >= extent) end = 0;
        } else {
          if (first >= extent) begin = std::max(begin, (first - extent) / -step + 1);
          if (last < 0) end = first < 0 ? 0 : std::min(end, first / -step + 1);
        }
        continue;
      }
      if (first < 0) begin = std::max(begin, (-first + step - 1) / step);
      if (first + step * (c.repeats - 1) >= extent)
        end = first >= extent ? 0 : std::min(end, (extent - first + step - 1) / step);
    }
    begin = std::min(begin, end);
    float *inside = out + begin * c.run, *after = out + end * c.run;
    std::fill(out, inside, 0.0f);
    if (c.stride == 1) copy_floats(inside, row + offset + begin * c.run, after - inside);
    else if (end > begin)
      for (int64_t j = 0; j < c.run; ++j) inside[j] = row[offset + j * c.stride];
    out += c.repeats * c.run;
    std::fill(after, out, 0.0f);
  }
}

void ContractionKernel::Impl::copy_rows(float* block, int64_t stride, int64_t batch_index,
                                        int64_t first, int64_t rows, void* const* buffers) const {
  const TileKernel::PureLoad& load = *lhs.kernel.pure_load();
  const size_t bounds = load.bounds.size();
  const auto* data = static_cast<const float*>(buffers[load.buffer]);
  const int axes = lhs.kernel.axes().count;
  const int inner = lhs.axes[kM].empty() ? -1 : lhs.axes[kM].back();
  const int64_t inner_extent = lhs.inner_extent(kM);
  std::array<int64_t, kMaxAxes> index{};
  lhs.place(index.data(), kBatch, batch_index);
  std::array<int64_t, 8> position{};
  internal_check(bounds <= position.size(), "at most eight bounded axes");
  const float* row = nullptr;
  for (int64_t r = 0; r < rows; ++r) {
    if (r > 0 && (first + r) % inner_extent != 0) {
      const auto i = static_cast<size_t>(inner);
      row += load.address.stride[i];
      for (size_t b = 0; b < bounds; ++b) position[b] += load.bounds[b].index.stride[i];
    } else {
      lhs.place(index.data(), kM, first + r);
      row = data + dot(load.address, index.data(), axes);
      for (size_t b = 0; b < bounds; ++b)
        position[b] = dot(load.bounds[b].index, index.data(), axes);
    }
    copy_row(block + r * stride, row, position.data());
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
    if (copies) copy_rows(source, block.source_stride, block.batch_index, first, rows, buffers);
    else
      compute_block(lhs, kM, source, block.source_stride, block.batch_index, first, rows, buffers);
  }
  if (block.split)
    return split->split_a(block.split + begin / SplitGemm::kTileRows * SplitGemm::unit_bytes(k),
                          source, block.source_stride, rows, k);
  if (gemm.operand == DType::f32) return true;
  const StoreKernel store = store_kernel(gemm.operand);
  auto* operand = static_cast<char*>(block.operand);
  const int64_t operand_bits = bits(gemm.operand);
  for (int64_t r = begin; r < end; ++r) {
    char* out = operand + r * block.row_bytes;
    store(out, 0, 1, block.source + r * block.source_stride, static_cast<size_t>(k));
    std::memset(out + k * operand_bits / 8, 0,
                static_cast<size_t>((gemm.padded_k(k) - k) * operand_bits / 8));
  }
  if (end == block.rows)
    for (int64_t r = end; r < padded_rows(end); ++r)
      std::memset(operand + r * block.row_bytes, 0, static_cast<size_t>(block.row_bytes));
  return true;
}

}  // namespace onrush::cpu
