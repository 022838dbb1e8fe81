#include "backend/cpu/contraction_kernel.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/contraction_impl.h"
#include "base/check.h"

namespace onrush::cpu {
namespace {

constexpr int64_t kBlockFloats = 192 * 1024;  // of the left operand, a part of L2
constexpr int64_t kTasksPerThread = 4;

std::vector<uint8_t> axis_kinds(const Contraction& c) {
  std::vector<uint8_t> kinds;
  kinds.insert(kinds.end(), static_cast<size_t>(c.batch_axes), kBatch);
  kinds.insert(kinds.end(), static_cast<size_t>(c.m_axes), kM);
  kinds.insert(kinds.end(), static_cast<size_t>(c.n_axes), kN);
  kinds.insert(kinds.end(), static_cast<size_t>(c.k_axes), kK);
  return kinds;
}

// The innermost axis of a kind, as numbered in the loops.
int last_axis(const Contraction& c, AxisKind kind) {
  const int ends[] = {c.batch_axes, c.batch_axes + c.m_axes, c.batch_axes + c.m_axes + c.n_axes,
                      c.batch_axes + c.m_axes + c.n_axes + c.k_axes};
  const int begin = kind == kBatch ? 0 : ends[kind - 1];
  return ends[kind] > begin ? ends[kind] - 1 : kNoColumn;
}

int64_t extent_of(const Contraction& c, const SizeTable& sizes, AxisKind kind) {
  const std::vector<uint8_t> kinds = axis_kinds(c);
  int64_t extent = 1;
  for (size_t i = 0; i < kinds.size(); ++i)
    if (kinds[i] == kind) extent *= sizes(c.lhs.axes[i].extent);
  return extent;
}

bool is_depthwise(const Contraction& c, const SizeTable& sizes) {
  return c.batch_axes == 1 && extent_of(c, sizes, kN) == 1 && extent_of(c, sizes, kBatch) > 1 &&
         c.k_axes > 0;
}

int epilogue_column(const Contraction& c, const SizeTable& sizes) {
  if (is_depthwise(c, sizes)) return last_axis(c, kBatch);
  return last_axis(c, kN);
}

int lhs_column(const Contraction& c, const SizeTable& sizes) {
  return is_depthwise(c, sizes) ? last_axis(c, kBatch) : last_axis(c, kK);
}

}  // namespace

// --- parts

ContractionPart::ContractionPart(const Loops& loops, const SizeTable& sizes,
                                 std::span<const uint8_t> kinds, int column)
    : kernel(loops, sizes, kinds, column) {
  const TileAxes& all = kernel.axes();
  for (int i = 0; i < all.count; ++i) {
    const auto at = static_cast<size_t>(i);
    axes[all.kind[at]].push_back(i);
    extent[all.kind[at]] *= all.extent[at];
  }
}

void ContractionPart::place(int64_t* index, AxisKind kind, int64_t position) const {
  for (size_t i = axes[kind].size(); i-- > 0;) {
    const int64_t e = kernel.axes().extent[static_cast<size_t>(axes[kind][i])];
    index[axes[kind][i]] = position % e;
    position /= e;
  }
}

void ContractionPart::rows(int64_t* table, const int64_t* base, AxisKind kind, int64_t first,
                           int64_t rows) const {
  const int count = kernel.axes().count;
  for (int64_t r = 0; r < rows; ++r) {
    int64_t* index = table + r * count;
    std::memcpy(index, r == 0 ? base : index - count, static_cast<size_t>(count) * 8);
    if (r == 0) {
      place(index, kind, first);
      continue;
    }
    for (size_t i = axes[kind].size(); i-- > 0;) {
      if (++index[axes[kind][i]] < kernel.axes().extent[static_cast<size_t>(axes[kind][i])]) break;
      index[axes[kind][i]] = 0;
    }
  }
}

int64_t ContractionPart::inner_extent(AxisKind kind) const {
  return axes[kind].empty() ? 1 : kernel.axes().extent[static_cast<size_t>(axes[kind].back())];
}

ContractionKernel::Impl::Impl(const Contraction& c, const SizeTable& sizes,
                              const GemmKernel& kernel)
    : lhs(c.lhs, sizes, axis_kinds(c), lhs_column(c, sizes)),
      rhs(c.rhs, sizes, axis_kinds(c), last_axis(c, kK)),
      epilogue(c.epilogue, sizes, axis_kinds(c), epilogue_column(c, sizes)),
      gemm(kernel) {
  batch = extent_of(c, sizes, kBatch), m = extent_of(c, sizes, kM);
  n = extent_of(c, sizes, kN), k = extent_of(c, sizes, kK);
  depthwise = is_depthwise(c, sizes) && can_run_depthwise();
  if (is_depthwise(c, sizes) && !depthwise) {
    lhs = ContractionPart(c.lhs, sizes, axis_kinds(c), last_axis(c, kK));
    epilogue = ContractionPart(c.epilogue, sizes, axis_kinds(c), last_axis(c, kN));
  }
  simple = simple_epilogue(c.epilogue, sizes, epilogue, depthwise ? kBatch : kN);
  if (!depthwise) plan_copies();
}

// --- the left operand

void ContractionKernel::Impl::plan_copies() {
  const TileKernel::PureLoad* load = lhs.kernel.pure_load();
  const int column = lhs.kernel.column_axis();
  if (!load || load->dtype != DType::f32) return;
  const auto column_stride = [&](const ConcreteAffine& a) {
    return column < 0 ? 0 : a.stride[static_cast<size_t>(column)];
  };
  for (const ConcreteBound& bound : load->bounds)
    if (column_stride(bound.index) != 0) return;
  Copies c;
  c.run = column < 0 ? 1 : lhs.kernel.axes().extent[static_cast<size_t>(column)];
  c.stride = column_stride(load->address);
  c.bounds = load->bounds.size();
  const int64_t runs = c.run ? k / c.run : 0;
  std::array<int64_t, kMaxAxes> index{};
  for (int64_t i = 0; i < runs; ++i) {
    lhs.place(index.data(), kK, i * c.run);
    int64_t offset = 0;
    for (int axis : lhs.axes[kK])
      offset += load->address.stride[static_cast<size_t>(axis)] * index[static_cast<size_t>(axis)];
    c.offsets.push_back(offset);
    for (const ConcreteBound& bound : load->bounds) {
      int64_t position = 0;
      for (int axis : lhs.axes[kK])
        position +=
            bound.index.stride[static_cast<size_t>(axis)] * index[static_cast<size_t>(axis)];
      c.bound_offsets.push_back(position);
    }
  }
  for (const ConcreteBound& bound : load->bounds) c.extents.push_back(bound.extent);
  copies = std::move(c);
}

void ContractionKernel::Impl::copy_block(float* block, int64_t stride, int64_t batch_index,
                                         int64_t first, int64_t rows, void* const* buffers) const {
  const TileKernel::PureLoad& load = *lhs.kernel.pure_load();
  const Copies& c = *copies;
  const int axes = lhs.kernel.axes().count;
  const auto* data = static_cast<const float*>(buffers[load.buffer]);
  std::array<int64_t, kMaxAxes> base{};
  lhs.place(base.data(), kBatch, batch_index);
  auto* table = static_cast<int64_t*>(
      thread_scratch(ScratchSlot::places, static_cast<size_t>((rows + 1) * std::max(axes, 1)) * 8));
  lhs.rows(table, base.data(), kM, first, rows);
  std::array<int64_t, 8> position{};
  internal_check(c.bounds <= position.size(), "at most eight bounded axes");
  const auto run_bytes = static_cast<size_t>(c.run) * sizeof(float);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t* index = table + r * axes;
    const float* row = data + dot(load.address, index, axes);
    for (size_t b = 0; b < c.bounds; ++b) position[b] = dot(load.bounds[b].index, index, axes);
    float* out = block + r * stride;
    const int64_t* bound_offset = c.bound_offsets.data();
    for (const int64_t offset : c.offsets) {
      bool inside = true;
      for (size_t b = 0; b < c.bounds; ++b)
        inside = inside && static_cast<uint64_t>(position[b] + bound_offset[b]) <
                               static_cast<uint64_t>(c.extents[b]);
      bound_offset += c.bounds;
      if (!inside) std::memset(out, 0, run_bytes);
      else if (c.stride == 1) std::memcpy(out, row + offset, run_bytes);
      else
        for (int64_t j = 0; j < c.run; ++j) out[j] = row[offset + j * c.stride];
      out += c.run;
    }
  }
}

// Rows of a kernel's store into [rows][stride], by the tile interpreter.
void ContractionKernel::Impl::compute_block(const ContractionPart& part, AxisKind row_kind,
                                            float* block, int64_t stride, int64_t batch_index,
                                            int64_t first, int64_t rows,
                                            void* const* buffers) const {
  const int axes = part.kernel.axes().count;
  const int column = part.kernel.column_axis();
  const int64_t run = part.inner_extent(kK);
  std::array<int64_t, kMaxAxes> base{};
  part.place(base.data(), kBatch, batch_index);
  auto* table = static_cast<int64_t*>(
      thread_scratch(ScratchSlot::places, static_cast<size_t>((rows + 1) * std::max(axes, 1)) * 8));
  for (int64_t p = 0; p < k; p += run) {
    if (run == 0) break;
    part.place(base.data(), kK, p);
    for (int64_t col = 0; col < run; col += kTileElements) {
      const int64_t cols = std::min(kTileElements, run - col);
      const int64_t rows_at_once = std::max<int64_t>(1, kTileElements / cols);
      if (column >= 0) base[static_cast<size_t>(column)] = col;
      for (int64_t r = 0; r < rows; r += rows_at_once) {
        TilePlace place;
        place.rows = std::min(rows_at_once, rows - r);
        part.rows(table, base.data(), row_kind, first + r, place.rows);
        place.row_indices = table;
        place.cols = cols;
        place.buffers = buffers;
        place.operand = block + r * stride + p + col;
        place.operand_stride = stride;
        part.kernel.run_tile(place);
      }
    }
  }
}

// Rows of one k run side by side at an even distance, none of them padding.
std::optional<ContractionKernel::Impl::Rows> ContractionKernel::Impl::direct_rows(
    int64_t batch_index, int64_t first, void* const* buffers) const {
  if (!copies || copies->bounds != 0 || copies->offsets.size() != 1 || copies->stride != 1)
    return std::nullopt;
  if (lhs.axes[kM].size() > 1) return std::nullopt;
  const TileKernel::PureLoad& load = *lhs.kernel.pure_load();
  const int64_t stride =
      lhs.axes[kM].empty() ? 0 : load.address.stride[static_cast<size_t>(lhs.axes[kM][0])];
  std::array<int64_t, kMaxAxes> index{};
  lhs.place(index.data(), kBatch, batch_index);
  lhs.place(index.data(), kM, first);
  const auto* data = static_cast<const float*>(buffers[load.buffer]);
  return Rows{data + dot(load.address, index.data(), lhs.kernel.axes().count), stride};
}

// The rows as f32, in place or gathered.
ContractionKernel::Impl::Rows ContractionKernel::Impl::load_rows(int64_t batch_index, int64_t first,
                                                                 int64_t rows,
                                                                 void* const* buffers) const {
  constexpr int64_t kSetStride = 1024;  // rows this many floats apart compete for one cache set
  const auto direct = direct_rows(batch_index, first, buffers);
  const bool multiplied_in_place =
      gemm.operand == DType::f32 && gemm.row_multiple == 1 && gemm.k_multiple == 1;
  if (direct && (!multiplied_in_place || rows == 1 || direct->stride % kSetStride != 0))
    return *direct;
  const int64_t stride = gemm.block_stride(k);
  auto* block = static_cast<float*>(
      thread_scratch(ScratchSlot::lhs_block,
                     static_cast<size_t>(stride * padded_rows(rows) + 64) * sizeof(float)));
  if (copies) copy_block(block, stride, batch_index, first, rows, buffers);
  else compute_block(lhs, kM, block, stride, batch_index, first, rows, buffers);
  return {block, stride};
}

// The rows as the matrix kernel reads them: of its operand dtype, zeros beyond k.
ContractionKernel::Impl::Block ContractionKernel::Impl::load_block(int64_t batch_index,
                                                                   int64_t first, int64_t rows,
                                                                   void* const* buffers) const {
  const Rows source = load_rows(batch_index, first, rows, buffers);
  if (gemm.operand == DType::f32 && gemm.k_multiple == 1)
    return {source.data, source.stride * 4, source.stride};
  const int64_t stride = gemm.block_stride(k);
  const int64_t row_bytes = stride * bits(gemm.operand) / 8;
  auto* block = static_cast<char*>(thread_scratch(
      ScratchSlot::lhs_operand, static_cast<size_t>(row_bytes * padded_rows(rows) + 64)));
  const StoreKernel store = store_kernel(gemm.operand);
  for (int64_t r = 0; r < rows; ++r) {
    store(block + r * row_bytes, 0, 1, source.data + r * source.stride, static_cast<size_t>(k));
    std::memset(block + r * row_bytes + k * bits(gemm.operand) / 8, 0,
                static_cast<size_t>((gemm.padded_k(k) - k) * bits(gemm.operand) / 8));
  }
  for (int64_t r = rows; r < padded_rows(rows); ++r)
    std::memset(block + r * row_bytes, 0, static_cast<size_t>(row_bytes));
  return {block, row_bytes, stride};
}

// --- the right operand

void ContractionKernel::Impl::pack_panel(int64_t batch_index, int64_t panel, void* const* buffers,
                                         char* packed) const {
  const int64_t first = panel * gemm.cols;
  const int cols = static_cast<int>(std::min<int64_t>(gemm.cols, n - first));
  char* out = packed + (batch_index * panels() + panel) * panel_bytes();
  const TileKernel::PureLoad* load = rhs.kernel.pure_load();
  if (load && load->bounds.empty() && rhs.axes[kN].size() <= 1 && rhs.axes[kK].size() <= 1) {
    std::array<int64_t, kMaxAxes> index{};
    rhs.place(index.data(), kBatch, batch_index);
    rhs.place(index.data(), kN, first);
    const auto stride = [&](AxisKind kind) {
      return rhs.axes[kind].empty() ? 0
                                    : load->address.stride[static_cast<size_t>(rhs.axes[kind][0])];
    };
    const int64_t offset = dot(load->address, index.data(), rhs.kernel.axes().count);
    const auto* data =
        static_cast<const char*>(buffers[load->buffer]) + offset * bits(load->dtype) / 8;
    return gemm.pack_b(out, data, load->dtype, stride(kK), stride(kN), k, cols);
  }
  const int64_t stride = std::max<int64_t>(1, k);
  auto* rows = static_cast<float*>(
      thread_scratch(ScratchSlot::lhs_block, static_cast<size_t>(stride * cols + 16) * 4));
  compute_block(rhs, kN, rows, stride, batch_index, first, cols, buffers);
  gemm.pack_b(out, rows, DType::f32, 1, stride, k, cols);
}

// [taps][channels]
void ContractionKernel::Impl::pack_depthwise(void* const* buffers, float* packed) const {
  auto* row =
      static_cast<float*>(thread_scratch(ScratchSlot::lhs_block, static_cast<size_t>(k + 16) * 4));
  for (int64_t channel = 0; channel < batch; ++channel) {
    compute_block(rhs, kN, row, k, channel, 0, 1, buffers);
    for (int64_t tap = 0; tap < k; ++tap) packed[tap * batch + channel] = row[tap];
  }
}

// --- multiplication

void ContractionKernel::Impl::run_epilogue(const float* tile, int64_t tile_stride,
                                           int64_t batch_index, int64_t m_first, int64_t rows,
                                           int64_t n_first, int64_t cols,
                                           void* const* buffers) const {
  const int axes = epilogue.kernel.axes().count;
  const int64_t inner = epilogue.inner_extent(kN);
  std::array<int64_t, kMaxAxes> base{};
  epilogue.place(base.data(), kBatch, batch_index);
  auto* table = static_cast<int64_t*>(
      thread_scratch(ScratchSlot::places, static_cast<size_t>((rows + 1) * std::max(axes, 1)) * 8));
  // A panel may cross from one index of an outer n axis to the next.
  for (int64_t done = 0; done < cols;) {
    const int64_t run = std::min(cols - done, inner - (n_first + done) % inner);
    epilogue.place(base.data(), kN, n_first + done);
    TilePlace place;
    place.rows = rows;
    epilogue.rows(table, base.data(), kM, m_first, rows);
    place.row_indices = table;
    place.cols = run;
    place.buffers = buffers;
    place.accumulator = tile + done;
    place.accumulator_stride = tile_stride;
    epilogue.kernel.run_tile(place);
    done += run;
  }
}

void ContractionKernel::Impl::run_block(int64_t batch_index, int64_t m_first, int64_t m_last,
                                        int64_t panel_first, int64_t panel_last,
                                        void* const* lhs_buffers, const char* packed,
                                        void* const* epilogue_buffers) const {
  const int64_t rows = m_last - m_first;
  const GemmScope scope(gemm);
  const Block block = load_block(batch_index, m_first, rows, lhs_buffers);
  const int64_t tile_rows =
      std::max<int64_t>(gemm.rows, kTileElements / gemm.cols / gemm.rows * gemm.rows);
  auto* tile = static_cast<float*>(
      thread_scratch(ScratchSlot::result_tile, static_cast<size_t>(tile_rows * gemm.cols) * 4));

  GemmEpilogue in_registers;
  GemmTile t;
  t.k = gemm.padded_k(k);
  t.a_stride = block.stride;
  std::array<int64_t, kMaxAxes> index{};
  const int axes = epilogue.kernel.axes().count;
  for (int64_t panel = panel_first; panel < panel_last; ++panel) {
    const int64_t n_first = panel * gemm.cols;
    t.cols = static_cast<int>(std::min<int64_t>(gemm.cols, n - n_first));
    t.b = packed + (batch_index * panels() + panel) * panel_bytes();
    for (int64_t r = 0; r < rows; r += simple ? gemm.rows : tile_rows) {
      if (simple) {
        epilogue.place(index.data(), kBatch, batch_index);
        epilogue.place(index.data(), kM, m_first + r);
        epilogue.place(index.data(), kN, n_first);
        const auto at = [&](int buffer, const ConcreteAffine& a) {
          return static_cast<float*>(epilogue_buffers[buffer]) + dot(a, index.data(), axes);
        };
        const auto row_stride = [&](const ConcreteAffine& a) {
          return epilogue.axes[kM].empty() ? 0
                                           : a.stride[static_cast<size_t>(epilogue.axes[kM][0])];
        };
        t.rows = static_cast<int>(std::min<int64_t>(gemm.rows, rows - r));
        t.a = block.row(r);
        t.c = at(simple->output, simple->output_address);
        t.c_stride = row_stride(simple->output_address);
        in_registers.bias = simple->bias < 0 ? nullptr : at(simple->bias, simple->bias_address);
        in_registers.residual =
            simple->residual < 0 ? nullptr : at(simple->residual, simple->residual_address);
        in_registers.residual_stride = row_stride(simple->residual_address);
        in_registers.low = simple->low, in_registers.high = simple->high;
        t.epilogue = &in_registers;
        gemm.run(t);
        continue;
      }
      const int64_t here = std::min(tile_rows, rows - r);
      for (int64_t i = 0; i < here; i += gemm.rows) {
        t.rows = static_cast<int>(std::min<int64_t>(gemm.rows, here - i));
        t.a = block.row(r + i);
        t.c = tile + i * gemm.cols;
        t.c_stride = gemm.cols;
        gemm.run(t);
      }
      run_epilogue(tile, gemm.cols, batch_index, m_first + r, here, n_first, t.cols,
                   epilogue_buffers);
    }
  }
}

void ContractionKernel::Impl::run_gemm(ThreadPool& pool, void* const* lhs_buffers,
                                       const char* packed, void* const* epilogue_buffers) const {
  if (batch * m * n == 0) return;
  // Blocks of rows that fit the cache; split the panels too where there are few blocks.
  const int64_t fitting =
      std::max<int64_t>(1, kBlockFloats / std::max<int64_t>(1, gemm.block_stride(k)));
  const int64_t wanted = std::max<int64_t>(gemm.rows, fitting / gemm.rows * gemm.rows);
  const int64_t blocks = (m + wanted - 1) / wanted;
  const int64_t even = (m + blocks - 1) / blocks;
  const int64_t block_rows = std::min<int64_t>(m, (even + gemm.rows - 1) / gemm.rows * gemm.rows);
  const int64_t m_blocks = (m + block_rows - 1) / block_rows;
  const int64_t wanted_tasks = pool.threads() > 1 ? pool.threads() * kTasksPerThread : 1;
  const int64_t splits =
      std::clamp<int64_t>(wanted_tasks / std::max<int64_t>(1, batch * m_blocks), 1, panels());
  const int64_t per_split = (panels() + splits - 1) / splits;
  const int64_t n_tasks = (panels() + per_split - 1) / per_split;
  pool.run(batch * m_blocks * n_tasks, [&](int64_t task) {
    const int64_t split = task % n_tasks, rest = task / n_tasks;
    const int64_t m_first = rest % m_blocks * block_rows;
    run_block(rest / m_blocks, m_first, std::min(m, m_first + block_rows), split * per_split,
              std::min(panels(), (split + 1) * per_split), lhs_buffers, packed, epilogue_buffers);
  });
}

// --- the class

ContractionKernel::ContractionKernel(const Contraction& c, const SizeTable& sizes,
                                     const GemmKernel& gemm)
    : impl_(std::make_unique<Impl>(c, sizes, gemm)) {}
ContractionKernel::~ContractionKernel() = default;
ContractionKernel::ContractionKernel(ContractionKernel&&) noexcept = default;

int64_t ContractionKernel::packed_bytes() const {
  if (impl_->depthwise) return impl_->k * impl_->batch * static_cast<int64_t>(sizeof(float));
  return impl_->batch * impl_->panels() * impl_->panel_bytes();
}

std::string ContractionKernel::packed_layout() const {
  return impl_->depthwise ? "depthwise" : impl_->gemm.name;
}

void ContractionKernel::pack_rhs(ThreadPool& pool, void* const* buffers, void* packed) const {
  if (impl_->depthwise) return impl_->pack_depthwise(buffers, static_cast<float*>(packed));
  const int64_t panels = impl_->panels();
  pool.run(impl_->batch * panels, [&](int64_t task) {
    impl_->pack_panel(task / panels, task % panels, buffers, static_cast<char*>(packed));
  });
}

void ContractionKernel::run(ThreadPool& pool, void* const* lhs_buffers, const void* packed,
                            void* const* epilogue_buffers) const {
  if (impl_->depthwise)
    impl_->run_depthwise(pool, lhs_buffers, static_cast<const float*>(packed), epilogue_buffers);
  else impl_->run_gemm(pool, lhs_buffers, static_cast<const char*>(packed), epilogue_buffers);
}

}  // namespace onrush::cpu
