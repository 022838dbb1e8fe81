// Blocks of rows times packed panels, and the epilogue.
#include <algorithm>
#include <atomic>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {
namespace {

constexpr int64_t kBlockBytes = 1024 * 1024;  // of the left operand, a part of L2
// Where all panels are split beforehand and fit the rest of L2, blocks may be so small that they
// are still in L1 when they are read; else panels are split for each block of kSplitRows rows.
constexpr int64_t kSplitPanelsBytes = 1280 * 1024;
constexpr int64_t kSmallBlockBytes = 32 * 1024, kSmallBlockRows = 64;
constexpr int64_t kSplitRows = 256;
constexpr int64_t kMostChunkSteps = 64;  // of k: the panel is in L2 as well
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kFewRows = 8;    // that the vector units multiply sooner than a unit of SplitGemm
constexpr int64_t kFillRows = 16;  // of a block that one task fills

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace

// --- the epilogue

ContractionKernel::Impl::Registers ContractionKernel::Impl::registers(int64_t batch_index,
                                                                      int64_t m_first,
                                                                      int64_t n_first,
                                                                      void* const* buffers) const {
  std::array<int64_t, kMaxAxes> index{};
  epilogue.place(index.data(), kBatch, batch_index);
  epilogue.place(index.data(), kM, m_first);
  epilogue.place(index.data(), kN, n_first);
  const int axes = epilogue.kernel.axes().count;
  const auto at = [&](int buffer, const ConcreteAffine& a, DType dtype) -> char* {
    return buffer < 0 ? nullptr : advance(buffers[buffer], dtype, dot(a, index.data(), axes));
  };
  const auto row_stride = [&](const ConcreteAffine& a) {
    return epilogue.axes[kM].empty() ? 0 : a.stride[static_cast<size_t>(epilogue.axes[kM][0])];
  };
  if (program)
    return {.epilogue = {},
            .integer_epilogue = integer_stages(
                index.data(), std::min<int64_t>(IntegerProgram::kColumns, n - n_first), buffers),
            .c = at(program->output, program->output_address, program->output_dtype),
            .c_stride = row_stride(program->output_address)};
  const DType residual = simple->residual_dtype;
  return {{.bias = reinterpret_cast<float*>(at(simple->bias, simple->bias_address, DType::f32)),
           .residual = at(simple->residual, simple->residual_address, residual),
           .residual_stride = row_stride(simple->residual_address),
           .residual_dtype = residual,
           .activation = simple->activation,
           .low = simple->low,
           .high = simple->high},
          {},
          at(simple->output, simple->output_address, simple->output_dtype),
          row_stride(simple->output_address)};
}

void ContractionKernel::Impl::run_epilogue(const void* tile, int64_t tile_stride,
                                           int64_t batch_index, int64_t m_first, int64_t rows,
                                           int64_t n_first, int64_t cols,
                                           void* const* buffers) const {
  const int64_t inner = epilogue.inner_extent(kN);
  TilePlace place;
  place.rows = rows;
  place.row_axes = epilogue.axes[kM];
  place.buffers = buffers;
  place.accumulator_stride = tile_stride;
  epilogue.place(place.first.data(), kBatch, batch_index);
  epilogue.place(place.first.data(), kM, m_first);
  // A panel may cross from one index of an outer n axis to the next.
  for (int64_t done = 0; done < cols; done += place.cols) {
    place.cols = std::min(cols - done, inner - (n_first + done) % inner);
    epilogue.place(place.first.data(), kN, n_first + done);
    place.accumulator = advance(tile, gemm.product(), done);
    epilogue.kernel.run_tile(place);
  }
}

// --- one block

// All panels as SplitGemm reads them, in memory of the calling thread; null if they cannot be
// split.
const char* ContractionKernel::Impl::split_panels(ThreadPool& pool, const char* packed) const {
  const int64_t count = batch * panels(), bytes = SplitGemm::panel_bytes(k);
  auto* memory = static_cast<char*>(
      thread_scratch(ScratchSlot::split_panels, static_cast<size_t>(count * bytes)));
  std::atomic<bool> all_split = true;
  pool.run(count, [&](int64_t i) {
    const auto* panel = reinterpret_cast<const float*>(packed + i * panel_bytes());
    if (!split->split_b(memory + i * bytes, panel, k)) all_split = false;
  });
  return all_split ? memory : nullptr;
}

// Rows [p, p + rows) of a panel as SplitGemm reads them; null if they cannot be split.
const char* ContractionKernel::Impl::split_panel(const Panels& all, int64_t panel, int64_t p,
                                                 int64_t rows) const {
  if (all.split)
    return all.split + panel * SplitGemm::panel_bytes(k) +
           p / SplitGemm::kStep * SplitGemm::panel_bytes(SplitGemm::kStep);
  auto* memory = static_cast<char*>(
      thread_scratch(ScratchSlot::split_panel, static_cast<size_t>(SplitGemm::panel_bytes(rows))));
  const char* b = all.packed + panel * panel_bytes() + gemm.panel_offset(p) * 4;
  return split->split_b(memory, reinterpret_cast<const float*>(b), rows) ? memory : nullptr;
}

// C = rows [first, first + t.rows) of the block times `t.k` rows of a panel, from row `p` of it on:
// split_b, or t.b where that is null. t.next is read ahead in the course of it. Moves t.c, t.b and
// the epilogue's residual: copies of what was just written would wait for all earlier stores.
void ContractionKernel::Impl::multiply(const Block& block, GemmTile& t, GemmEpilogue* epilogue,
                                       const char* split_b, int64_t first, int64_t p) const {
  const void* b = t.b;
  t.epilogue = epilogue;
  for (int64_t left = t.rows; left > 0; left -= t.rows) {
    // A few rows beyond whole units are faster row by row.
    int64_t rows = split_b ? std::min(left, int64_t{SplitGemm::kRows}) : 0;
    if (const int64_t rest = rows % SplitGemm::kTileRows; rest <= kFewRows) rows -= rest;
    if (rows > 0) {
      t.rows = static_cast<int>(rows);
      t.a_stride = SplitGemm::unit_bytes(k);
      t.a = block.split + first / SplitGemm::kTileRows * t.a_stride +
            p / SplitGemm::kStep * SplitGemm::unit_bytes(SplitGemm::kStep);
      t.b = split_b;
      split->run(t);
    } else {
      t.rows = static_cast<int>(std::min<int64_t>(gemm.rows, left));
      t.a_stride = block.stride;
      t.a = block.row(first) + p * gemm.operand_bytes();
      t.b = b;
      gemm.run(t);
    }
    first += t.rows;
    next_rows(t, epilogue, t.rows);
  }
}

// All rows of a block times a panel, epilogue included.
void ContractionKernel::Impl::run_panel(const Block& block, const Panels& all, int64_t panel,
                                        bool last, void* const* epilogue_buffers) const {
  const int64_t n_first = first_column(panel);
  const char* b = all.packed + panel * panel_bytes();
  const char* split_b = block.split ? split_panel(all, panel, 0, k) : nullptr;
  const int64_t unit = split_b ? SplitGemm::kRows : gemm.rows;
  GemmTile t{.cols = columns(panel), .k = split_b ? k : gemm.padded_k(k)};
  // What the epilogue does not do in registers goes through a dense tile that stays in L1.
  const int64_t step =
      in_registers() ? unit : std::max<int64_t>(unit, kTileElements / t.cols / unit * unit);
  std::optional<Registers> r;
  float* tile = nullptr;
  if (in_registers()) {
    r = registers(block.batch_index, block.first, n_first, epilogue_buffers);
    t.c = r->c, t.c_stride = r->c_stride, t.c_dtype = output_dtype();
    if (program) t.integer_epilogue = &r->integer_epilogue;
  } else {
    tile = static_cast<float*>(
        thread_scratch(ScratchSlot::result_tile, static_cast<size_t>(step * t.cols) * 4));
    t.c_stride = t.cols;
  }
  for (int64_t first = 0; first < block.rows; first += step) {
    const int64_t rows = std::min(step, block.rows - first);
    t.rows = static_cast<int>(rows);
    t.b = b;
    if (!last) {
      t.next = b + panel_bytes() + panel_bytes() * first / block.rows / 64 * 64;
      t.next_bytes = panel_bytes() * rows / block.rows;
    }
    if (!in_registers()) t.c = tile;
    multiply(block, t, simple ? &r->epilogue : nullptr, split_b, first, 0);
    if (!in_registers())
      run_epilogue(tile, t.cols, block.batch_index, block.first + first, rows, n_first, t.cols,
                   epilogue_buffers);
  }
}

// The same for several panels of a long k: some of k at a time, so that the parts of the block that
// are in use stay in L2. The sums are kept in memory until they are complete.
void ContractionKernel::Impl::run_in_chunks(const Block& block, const Panels& all,
                                            int64_t panel_first, int64_t panel_last, int64_t chunk,
                                            void* const* epilogue_buffers) const {
  const int64_t stride = (panel_last - panel_first) * gemm.cols;
  auto* sums = static_cast<float*>(
      thread_scratch(ScratchSlot::result_tile, static_cast<size_t>(block.rows * stride) * 4));
  for (int64_t p = 0; p < k; p += chunk)
    for (int64_t panel = panel_first; panel < panel_last; ++panel) {
      const int64_t here = std::min(chunk, k - p);
      const char* b = all.packed + panel * panel_bytes() + gemm.panel_offset(p) * 4;
      const char* split_b = split_panel(all, panel, p, here);
      GemmTile t{.cols = gemm.cols,
                 .k = here,
                 .c = sums + (panel - panel_first) * gemm.cols,
                 .c_stride = stride,
                 .accumulate = p > 0};
      const int64_t step = SplitGemm::kRows;
      for (int64_t first = 0; first < block.rows; first += step) {
        const int64_t rows = std::min(step, block.rows - first);
        t.rows = static_cast<int>(rows);
        t.b = b;
        if (panel + 1 < panel_last) {
          const int64_t bytes = here * gemm.cols * 4;
          t.next = b + panel_bytes() + bytes * first / block.rows / 64 * 64;
          t.next_bytes = bytes * rows / block.rows;
        }
        multiply(block, t, nullptr, split_b, first, p);
      }
    }
  for (int64_t panel = panel_first; panel < panel_last; ++panel) {
    const int64_t n_first = first_column(panel);
    const int cols = columns(panel);
    const float* tile = sums + (panel - panel_first) * gemm.cols;
    if (simple) {
      const Registers r = registers(block.batch_index, block.first, n_first, epilogue_buffers);
      finish_tile({.rows = static_cast<int>(block.rows),
                   .cols = cols,
                   .c = r.c,
                   .c_stride = r.c_stride,
                   .c_dtype = simple->output_dtype,
                   .epilogue = &r.epilogue},
                  tile, stride);
      continue;
    }
    const int64_t step = kTileElements / gemm.cols;
    for (int64_t first = 0; first < block.rows; first += step)
      run_epilogue(tile + first * stride, stride, block.batch_index, block.first + first,
                   std::min(step, block.rows - first), n_first, cols, epilogue_buffers);
  }
}

void ContractionKernel::Impl::run_block(const Block& block, const Panels& all, int64_t panel_first,
                                        int64_t panel_last, void* const* epilogue_buffers) const {
  const GemmScope scope(gemm);
  std::optional<GemmScope> split_scope;
  if (block.split) {
    split_scope.emplace(*split);
    const int64_t fitting = kBlockBytes / (SplitGemm::units(block.rows) * SplitGemm::unit_bytes(1));
    const int64_t chunks =
        divide_up(SplitGemm::steps(k), std::clamp<int64_t>(fitting, 8, kMostChunkSteps));
    const int64_t chunk = divide_up(SplitGemm::steps(k), chunks) * SplitGemm::kStep;
    if (chunks > 1)
      return run_in_chunks(block, all, panel_first, panel_last, chunk, epilogue_buffers);
  }
  for (int64_t panel = panel_first; panel < panel_last; ++panel)
    run_panel(block, all, panel, panel + 1 == panel_last, epilogue_buffers);
}

// --- all of them

// What the pieces of a product take, in cycles that were measured for AMX and AVX-512.
struct ContractionKernel::Impl::Costs {
  int64_t unit;                         // rows that are multiplied at once
  int64_t multiply, split_panel, fill;  // a unit by a panel; a panel; a unit
  int64_t unit_bytes;                   // that are read for each panel
  static constexpr int64_t kTask = 1500;
  static constexpr int64_t kL1Bytes = 48 * 1024;

  // So many units by a panel: more where they are read from L2.
  int64_t product(int64_t units) const {
    return units * multiply * (units * unit_bytes > kL1Bytes ? 3 : 2) / 2;
  }
};

ContractionKernel::Impl::Costs ContractionKernel::Impl::costs(bool splits) const {
  const int64_t rows = gemm.rows;
  if (!splits) {
    const bool matrix_units = gemm.multiply_pixels != nullptr;
    const int64_t bytes = gemm.operand_bytes();
    const int64_t multiply = matrix_units ? k * bytes + 10 * rows : k * rows * bytes / 4;
    const int64_t fill = k * rows / (is_operand() && gemm.operand != DType::f32 ? 64 / bytes : 8);
    return {rows, multiply, 0, reads_in_place(m) && is_operand() ? 0 : fill, 0};
  }
  const int64_t steps = SplitGemm::steps(k);
  return {SplitGemm::kTileRows, 220 * steps, 300 * steps, 150 * steps, SplitGemm::unit_bytes(k)};
}

ContractionKernel::Impl::Partition ContractionKernel::Impl::partition(const Costs& costs,
                                                                      int64_t blocks, int64_t parts,
                                                                      bool split_panels,
                                                                      int threads) const {
  Partition p{.split_panels = split_panels};
  p.block_rows = std::min(m, round_up(divide_up(m, blocks), costs.unit));
  p.blocks = divide_up(m, p.block_rows);
  p.panels_each = divide_up(panels(), parts);
  p.parts = divide_up(panels(), p.panels_each);
  const int64_t units = divide_up(p.block_rows, costs.unit), tasks = batch * p.blocks * p.parts;
  const auto shared = [&](int64_t cycles) { return cycles / threads + Costs::kTask; };
  int64_t task = p.panels_each * costs.product(units) + Costs::kTask;
  if (split_panels) p.cycles += shared(batch * panels() * costs.split_panel);
  task += p.panels_each * costs.split_panel / (split_panels ? 3 : 1);
  if (p.parts > 1) p.cycles += shared(batch * p.blocks * units * costs.fill);
  else task += units * costs.fill;
  p.cycles += divide_up(tasks, threads) * task;
  return p;
}

ContractionKernel::Impl::Partition ContractionKernel::Impl::best_partition(int threads) const {
  const bool split_rows = splits(m);
  const Costs costs = this->costs(split_rows);
  std::optional<Partition> best;
  // With blocks of so many rows at most: as many as fill the threads.
  const auto consider = [&](int64_t rows, bool split_panels) {
    const int64_t least = divide_up(m, std::max(rows, costs.unit));
    int64_t blocks = least;
    for (int64_t turns = 0; turns <= kTasksPerThread; ++turns) {
      for (int64_t parts = 1; parts <= panels(); parts = parts == 1 ? threads : 2 * parts) {
        const Partition p = partition(costs, blocks, parts, split_panels, threads);
        if (!best || p.cycles < best->cycles) best = p;
        if (threads == 1 || split_panels || parts >= kTasksPerThread * threads) break;
      }
      if (least * batch >= kTasksPerThread * threads) break;
      blocks = divide_up(round_up(blocks * batch + 1, threads), batch);
    }
  };
  if (split_rows) {
    const int64_t row_bytes = SplitGemm::unit_bytes(k) / SplitGemm::kTileRows;
    const int64_t unit = SplitGemm::kRows;
    consider(std::max(kSplitRows, kBlockBytes / row_bytes / unit * unit), false);
    if (batch * panels() * SplitGemm::panel_bytes(k) <= kSplitPanelsBytes)
      consider(std::max(kSmallBlockRows, kSmallBlockBytes / row_bytes / unit * unit), true);
  } else {
    const int64_t row_bytes = gemm.block_stride(k) * gemm.operand_bytes();
    consider(kBlockBytes / row_bytes / costs.unit * costs.unit, false);
  }
  return *best;
}

void ContractionKernel::Impl::run_gemm(ThreadPool& pool, void* const* lhs_buffers,
                                       const char* packed, void* const* epilogue_buffers) const {
  if (batch * m * n == 0) return;
  std::call_once(partitioned, [&] { partition_of_runs = best_partition(pool.threads()); });
  const Partition& p = partition_of_runs;
  const int64_t blocks = batch * p.blocks;
  // The last block may be too short for what the others do: to be split, or read in place.
  const int64_t last_rows = m - (p.blocks - 1) * p.block_rows;
  const auto memory = [&](size_t count) {
    const size_t source = std::max(source_bytes(p.block_rows), source_bytes(last_rows));
    const size_t operand = std::max(operand_bytes(p.block_rows), operand_bytes(last_rows));
    return [source, operand,
            rows = static_cast<char*>(thread_scratch(ScratchSlot::lhs_block, source * count)),
            parts = static_cast<char*>(thread_scratch(ScratchSlot::lhs_operand, operand * count))](
               size_t i) {
      return BlockMemory{reinterpret_cast<float*>(rows + i * source), parts + i * operand};
    };
  };
  const auto block_at = [&](int64_t i, BlockMemory at) {
    const int64_t first = i % p.blocks * p.block_rows;
    return new_block(i / p.blocks, first, std::min(p.block_rows, m - first), lhs_buffers, at);
  };
  Panels all{packed};
  if (p.split_panels) all.split = split_panels(pool, packed);
  const auto run = [&](const Block& block, int64_t first, int64_t last) {
    const int64_t before = block.batch_index * panels();
    run_block(block, all, before + first, before + last, epilogue_buffers);
  };
  if (p.parts == 1) {
    pool.run(blocks, [&](int64_t i) {
      Block block = block_at(i, memory(1)(0));
      if (!fill_block(block, 0, block.rows, lhs_buffers)) block.split = nullptr;
      run(block, 0, panels());
    });
    return;
  }
  // Several tasks share a block: fill all blocks first.
  const auto shared = memory(static_cast<size_t>(blocks));
  const int64_t fills = divide_up(p.block_rows, kFillRows);
  std::atomic<bool> all_split = true;
  const bool filled = is_operand() && reads_in_place(p.block_rows) && !splits(p.block_rows) &&
                      m % gemm.row_multiple == 0;
  pool.run(filled ? 0 : blocks * fills, [&](int64_t task) {
    const Block block = block_at(task / fills, shared(static_cast<size_t>(task / fills)));
    const int64_t begin = task % fills * kFillRows;
    if (begin < block.rows &&
        !fill_block(block, begin, std::min(block.rows, begin + kFillRows), lhs_buffers))
      all_split = false;
  });
  pool.run(blocks * p.parts, [&](int64_t task) {
    Block block = block_at(task / p.parts, shared(static_cast<size_t>(task / p.parts)));
    if (!all_split) block.split = nullptr;
    const int64_t first = task % p.parts * p.panels_each;
    run(block, first, std::min(panels(), first + p.panels_each));
  });
}

}  // namespace onrush::cpu
