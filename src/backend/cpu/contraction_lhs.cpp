// The left operand of a contraction: blocks of rows as the matrix kernels read them.
#include <algorithm>
#include <cstring>

#include "backend/cpu/contraction_impl.h"
#include "base/check.h"

namespace onrush::cpu {
namespace {

// Pieces are often too short to be worth a call.
template <class Element>
void copy_elements(Element* out, const Element* from, int64_t n) {
  if (n > 64) return void(std::memcpy(out, from, static_cast<size_t>(n) * sizeof(Element)));
  for (; n >= 8; n -= 8, out += 8, from += 8) std::memcpy(out, from, 8 * sizeof(Element));
  for (; n > 0; --n) *out++ = *from++;
}

}  // namespace

// --- copying

void ContractionKernel::Impl::plan_copies() {
  const MemoryLoad* load = lhs.kernel.pure_load();
  const int column = lhs.kernel.column_axis();
  const bool is_source = load && load->dtype == DType::f32 && !gemm.is_integer();
  if (!load || (!is_source && load->dtype != gemm.operand) ||
      load->bounds.size() > RowsInSource::kMaxBounds)
    return;
  const auto along = [](const ConcreteAffine& a, int axis) {
    return axis < 0 ? 0 : a.stride[static_cast<size_t>(axis)];
  };
  const auto extent = [&](int axis) {
    return axis < 0 ? 1 : lhs.kernel.axes().extent[static_cast<size_t>(axis)];
  };
  const AxisList& axes = lhs.axes[kK];
  const bool clipped = std::ranges::any_of(
      load->bounds, [&](const ConcreteBound& bound) { return along(bound.index, column) != 0; });
  Copies c;
  c.fill = static_cast<uint8_t>(load->fill);
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
template <class Element>
void ContractionKernel::Impl::copy_clipped(Element* out, int64_t piece, const RowsInSource& from,
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
  Element *inside = out + begin * c.run, *after = out + end * c.run;
  Element fill;
  std::memset(&fill, c.fill, sizeof(fill));
  std::fill(out, inside, fill);
  const Element* source = static_cast<const Element*>(from.first) + r * from.step +
                          c.offsets[static_cast<size_t>(piece)];
  if (c.stride == 1) copy_elements(inside, source + begin * c.run, after - inside);
  else if (end > begin)
    for (int64_t j = 0; j < c.run; ++j) inside[j] = source[j * c.stride];
  std::fill(after, out + c.repeats * c.run, fill);
}

// A piece of all rows: most are whole.
template <class Element>
void ContractionKernel::Impl::copy_piece(Element* out, int64_t stride, int64_t piece,
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
  const Element* source = static_cast<const Element*>(from.first) + begin * from.step +
                          c.offsets[static_cast<size_t>(piece)];
  out += begin * stride;
  const int64_t length = c.run * c.repeats;
  constexpr auto kBytes = static_cast<int64_t>(sizeof(Element)), kVector = 64 / kBytes;
  if (c.stride == 1 && length >= kVector)
    return copy_rows(out, stride * kBytes, source, from.step * kBytes, end - begin,
                     static_cast<size_t>(length * kBytes));
  for (int64_t r = begin; r < end; ++r, out += stride, source += from.step) {
    if (c.stride == 1) copy_elements(out, source, length);
    else
      for (int64_t j = 0; j < c.run; ++j) out[j] = source[j * c.stride];
  }
}

// Of `rows` rows from `first` on, those that lie along the innermost axis of m.
ContractionKernel::Impl::RowsInSource ContractionKernel::Impl::rows_in_source(
    int64_t batch_index, int64_t first, int64_t rows, void* const* buffers) const {
  const MemoryLoad& load = *lhs.kernel.pure_load();
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
  from.first = advance(buffers[load.buffer], load.dtype, dot(load.address, index.data(), axes));
  for (size_t b = 0; b < load.bounds.size(); ++b) {
    from.position_step[b] = along_rows(load.bounds[b].index);
    from.position[b] = dot(load.bounds[b].index, index.data(), axes);
  }
  return from;
}

template <class Element>
void ContractionKernel::Impl::copy_block(Element* block, int64_t stride, int64_t batch_index,
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

template void ContractionKernel::Impl::copy_block(float* block, int64_t stride, int64_t batch_index,
                                                  int64_t first, int64_t rows,
                                                  void* const* buffers) const;

// --- blocks

// Rows of one k run side by side at an even distance, none of them padding.
bool ContractionKernel::Impl::reads_in_place(int64_t rows) const {
  constexpr int64_t kSetBytes = 4096;  // rows this many bytes apart compete for one cache set
  if (!copies || !copies->bounds.empty() || copies->offsets.size() != 1 || copies->stride != 1)
    return false;
  if (lhs.axes[kM].size() > 1) return false;
  if (!is_operand() || splits(rows)) return true;
  if (gemm.operand == DType::f32 && rows == 1) return true;
  // The kernel reads whole steps of k, of which the rest must be zero.
  return gemm.padded_k(k) == k && row_stride() >= k &&
         row_stride() * gemm.operand_bytes() % kSetBytes != 0;
}

// The last rows of so many in place that are copied, since the kernel reads whole units of rows.
int64_t ContractionKernel::Impl::tail_rows(int64_t rows) const {
  return gemm.operand == DType::f32 || rows % gemm.row_multiple == 0 ? 0 : rows % gemm.rows;
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
  block.in_place = reads_in_place(rows);
  char* begin = reinterpret_cast<char*>(memory.rows);
  int64_t stride = gemm.block_stride(k);
  if (block.in_place) {
    const MemoryLoad& load = *lhs.kernel.pure_load();
    std::array<int64_t, kMaxAxes> index{};
    lhs.place(index.data(), kBatch, batch_index);
    lhs.place(index.data(), kM, first);
    begin = advance(buffers[load.buffer], load.dtype,
                    dot(load.address, index.data(), lhs.kernel.axes().count));
    stride = row_stride();
  }
  if (!is_operand() || gemm.operand == DType::f32) {
    block.source = reinterpret_cast<float*>(begin);
    block.source_stride = stride;
  }
  if (gemm.operand == DType::f32 || (is_operand() && block.in_place)) {
    block.operand = begin;
    block.stride = stride;
  } else {
    block.operand = memory.operand;
    block.stride = gemm.block_stride(k);
  }
  block.row_bytes = block.stride * gemm.operand_bytes();
  if (is_operand() && block.in_place && tail_rows(rows) > 0) {
    block.tail = memory.operand;
    block.tail_first = rows - tail_rows(rows);
  }
  if (splits(rows)) block.split = memory.operand;
  return block;
}

size_t ContractionKernel::Impl::source_bytes(int64_t rows) const {
  if (reads_in_place(rows) || (is_operand() && gemm.operand != DType::f32)) return 0;
  return static_cast<size_t>(gemm.block_stride(k) * padded_rows(rows) + 64) * sizeof(float);
}

size_t ContractionKernel::Impl::operand_bytes(int64_t rows) const {
  if (splits(rows)) return static_cast<size_t>(SplitGemm::units(rows) * SplitGemm::unit_bytes(k));
  if (gemm.operand == DType::f32) return 0;
  const bool in_place = is_operand() && reads_in_place(rows);
  const int64_t stride = in_place ? row_stride() : gemm.block_stride(k);
  // The last block may have a tail where others have none.
  const int64_t count = padded_rows(in_place ? std::min<int64_t>(rows, gemm.rows) : rows);
  return static_cast<size_t>(stride * count * gemm.operand_bytes() + 64);
}

// Rows [begin, end) of a block, begin a multiple of 16; false if they cannot be split.
bool ContractionKernel::Impl::fill_block(const Block& block, int64_t begin, int64_t end,
                                         void* const* buffers) const {
  const bool rounds = gemm.operand != DType::f32;
  if (is_operand() && rounds) {
    fill_operand(block, begin, end, buffers);
    return true;
  }
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
  if (!rounds) return true;
  for (int64_t r = begin; r < end; ++r)
    gemm.round_a(block.operand + r * block.row_bytes, block.source + r * block.source_stride, k);
  pad_operand(block, begin, end);
  return true;
}

// Rows that memory holds as the matrix kernel's operand, bf16 or 8-bit integers.
void ContractionKernel::Impl::fill_operand(const Block& block, int64_t begin, int64_t end,
                                           void* const* buffers) const {
  if (!block.in_place) {
    const auto copy = [&]<class Element>(Element*) {
      copy_block(reinterpret_cast<Element*>(block.operand) + begin * block.stride, block.stride,
                 block.batch_index, block.first + begin, end - begin, buffers);
    };
    if (gemm.is_integer()) copy(static_cast<uint8_t*>(nullptr));
    else copy(static_cast<uint16_t*>(nullptr));
    return pad_operand(block, begin, end);
  }
  if (!block.tail || end != block.rows) return;
  const auto row_bytes = static_cast<size_t>(k * gemm.operand_bytes());
  const int64_t rows = block.rows - block.tail_first;
  for (int64_t r = 0; r < padded_rows(rows); ++r) {
    char* out = block.tail + r * block.row_bytes;
    if (r < rows)
      std::memcpy(out, block.operand + (block.tail_first + r) * block.row_bytes, row_bytes);
    else std::memset(out, 0, row_bytes);
  }
}

// Zeros after rows [begin, end) of a copied operand, and below the last.
void ContractionKernel::Impl::pad_operand(const Block& block, int64_t begin, int64_t end) const {
  if (gemm.padded_k(k) > k)
    for (int64_t r = begin; r < end; ++r)
      std::memset(block.operand + r * block.row_bytes + k * gemm.operand_bytes(), 0,
                  static_cast<size_t>((gemm.padded_k(k) - k) * gemm.operand_bytes()));
  if (end == block.rows)
    for (int64_t r = end; r < padded_rows(end); ++r)
      std::memset(block.operand + r * block.row_bytes, 0, static_cast<size_t>(block.row_bytes));
}

}  // namespace onrush::cpu
