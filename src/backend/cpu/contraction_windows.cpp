// Convolutions of few products on vector units: windows are read where they are in the image.
#include <algorithm>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {
namespace {

constexpr int64_t kMostTaps = 512;  // of a row: what a tile reads stays in L1
constexpr int64_t kTasksPerThread = 8;
constexpr int64_t kFewTiles = 4;  // of a line: at the edges there are tiles of their own

}  // namespace

void ContractionKernel::Impl::plan_windows() {
  const MemoryLoad* load = lhs.kernel.pure_load();
  if (!copies || load->dtype != DType::f32 || copies->bounds.empty() || k > kMostTaps ||
      splits(m) || direct)
    return;
  // Rounding a block costs more than it saves where sums are short.
  if (gemm.operand != DType::f32) {
    if (!sums_are_short()) return;
    gemm = gemm_f32();
  }
  Windows w;
  std::array<int64_t, kMaxAxes> index{};
  const int axes = lhs.kernel.axes().count;
  w.bounds.resize(load->bounds.size());
  for (int64_t p = 0; p < k; ++p) {
    lhs.place(index.data(), kK, p);
    w.offsets.push_back(dot(load->address, index.data(), axes) - load->address.offset);
    for (size_t b = 0; b < w.bounds.size(); ++b) {
      const ConcreteAffine& at = load->bounds[b].index;
      const int64_t offset = dot(at, index.data(), axes) - at.offset;
      Windows::Range& range = w.bounds[b];
      range = p == 0 ? Windows::Range{offset, offset}
                     : Windows::Range{std::min(range.least, offset), std::max(range.most, offset)};
    }
  }
  windows = std::move(w);
}

// The rows of a line whose windows are inside the image: [first, second), or none.
std::pair<int64_t, int64_t> ContractionKernel::Impl::rows_inside(const RowsInSource& line) const {
  int64_t begin = 0, end = line.rows;
  for (size_t b = 0; b < windows->bounds.size(); ++b) {
    const int64_t step = line.position_step[b];
    const int64_t least = line.position[b] + windows->bounds[b].least;
    const int64_t left = lhs.kernel.pure_load()->bounds[b].extent - 1 - line.position[b] -
                         windows->bounds[b].most;  // beyond the first row's window
    if (step > 0) {
      if (least < 0) begin = std::max(begin, (-least + step - 1) / step);
      end = left < 0 ? 0 : std::min(end, left / step + 1);
    } else if (least + step * (line.rows - 1) < 0 || left < 0) {
      return {0, 0};
    }
  }
  return begin < end ? std::pair(begin, end) : std::pair<int64_t, int64_t>(0, 0);
}

// Tasks are lines of results along the innermost axis of m.
void ContractionKernel::Impl::run_windows(ThreadPool& pool, void* const* lhs_buffers,
                                          const char* packed, void* const* epilogue_buffers) const {
  if (batch * m * n == 0) return;
  const int64_t line = lhs.inner_extent(kM), lines = batch * m / line;
  const bool cuts = line <= kFewTiles * gemm.rows;
  const int64_t tasks = std::min(lines, kTasksPerThread * pool.threads());
  pool.run(tasks, [&](int64_t task) {
    alignas(64) float product[kTileElements];
    const int64_t stride = gemm.block_stride(k);
    auto* block = static_cast<float*>(thread_scratch(
        ScratchSlot::lhs_block, static_cast<size_t>(gemm.rows * stride) * sizeof(float)));
    for (int64_t l = lines * task / tasks; l < lines * (task + 1) / tasks; ++l) {
      const int64_t batch_index = l * line / m, m_first = l * line % m;
      const RowsInSource all = rows_in_source(batch_index, m_first, line, lhs_buffers);
      const auto [inside_begin, inside_end] = rows_inside(all);
      for (int64_t panel = 0; panel < panels(); ++panel) {
        std::optional<Registers> r;
        if (simple) r = registers(batch_index, m_first, first_column(panel), epilogue_buffers);
        GemmTile t{.cols = columns(panel),
                   .k = k,
                   .b = packed + (batch_index * panels() + panel) * panel_bytes(),
                   .c = simple ? static_cast<void*>(r->c) : product,
                   .c_stride = simple ? r->c_stride : gemm.cols,
                   .c_dtype = simple ? simple->output_dtype : DType::f32,
                   .epilogue = simple ? &r->epilogue : nullptr};
        for (int64_t first = 0; first < line; first += t.rows) {
          int64_t end = line;  // of the rows that are divided into tiles evenly
          if (cuts && first < inside_begin) end = inside_begin;
          else if (cuts && first < inside_end) end = inside_end;
          const int64_t tiles = (end - first + gemm.rows - 1) / gemm.rows;
          t.rows = static_cast<int>((end - first + tiles - 1) / tiles);
          if (first >= inside_begin && first + t.rows <= inside_end) {
            t.a = advance(all.first, DType::f32, first * all.step);
            t.a_stride = all.step, t.a_offsets = windows->offsets.data();
          } else {
            copy_block(block, stride, batch_index, m_first + first, t.rows, lhs_buffers);
            t.a = block, t.a_stride = stride, t.a_offsets = nullptr;
          }
          gemm.run(t);
          if (simple) {
            next_rows(t, &r->epilogue, t.rows);
          } else {
            run_epilogue(product, gemm.cols, batch_index, m_first + first, t.rows,
                         first_column(panel), t.cols, epilogue_buffers);
          }
        }
      }
    }
  });
}

}  // namespace onrush::cpu
