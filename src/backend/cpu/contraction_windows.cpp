// Convolutions of few products on vector units: windows are read where they are in the image.
#include <algorithm>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {
namespace {

constexpr int64_t kMostTaps = 512;  // of a row: what a tile reads stays in L1
constexpr int64_t kTasksPerThread = 8;

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

bool ContractionKernel::Impl::windows_inside(const RowsInSource& rows) const {
  for (size_t b = 0; b < windows->bounds.size(); ++b) {
    const auto [least, most] = windows->bounds[b];
    const int64_t first = rows.position[b];
    const int64_t last = first + (rows.rows - 1) * rows.position_step[b];
    if (std::min(first, last) + least < 0) return false;
    if (std::max(first, last) + most >= lhs.kernel.pure_load()->bounds[b].extent) return false;
  }
  return true;
}

// Tasks are lines of results along the innermost axis of m.
void ContractionKernel::Impl::run_windows(ThreadPool& pool, void* const* lhs_buffers,
                                          const char* packed, void* const* epilogue_buffers) const {
  if (batch * m * n == 0) return;
  const int64_t line = lhs.inner_extent(kM), lines = batch * m / line;
  const int64_t tiles = (line + gemm.rows - 1) / gemm.rows;
  const int64_t tasks = std::min(lines, kTasksPerThread * pool.threads());
  pool.run(tasks, [&](int64_t task) {
    alignas(64) float product[kTileElements];
    const int64_t stride = gemm.block_stride(k);
    auto* block = static_cast<float*>(thread_scratch(
        ScratchSlot::lhs_block, static_cast<size_t>(gemm.rows * stride) * sizeof(float)));
    for (int64_t l = lines * task / tasks; l < lines * (task + 1) / tasks; ++l) {
      const int64_t batch_index = l * line / m, m_first = l * line % m;
      const RowsInSource all = rows_in_source(batch_index, m_first, line, lhs_buffers);
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
        for (int64_t i = 0; i < tiles; ++i) {
          const int64_t first = line * i / tiles;
          RowsInSource rows = all;
          rows.rows = line * (i + 1) / tiles - first;
          rows.first = advance(rows.first, DType::f32, first * all.step);
          for (size_t b = 0; b < windows->bounds.size(); ++b)
            rows.position[b] += first * all.position_step[b];
          t.rows = static_cast<int>(rows.rows);
          if (windows_inside(rows)) {
            t.a = rows.first, t.a_stride = rows.step, t.a_offsets = windows->offsets.data();
          } else {
            copy_block(block, stride, batch_index, m_first + first, rows.rows, lhs_buffers);
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
