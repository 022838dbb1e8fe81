#include "backend/cpu/contraction_kernel.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <numeric>

#include "backend/cpu/contraction_impl.h"
#include "base/check.h"

namespace onrush::cpu {
namespace {

// The axes of a kind, as numbered in the loops.
struct AxisRange {
  int begin, end;
};
AxisRange axes_of(const Contraction& c, AxisKind kind) {
  const int ends[] = {0, c.batch_axes, c.batch_axes + c.m_axes, c.batch_axes + c.m_axes + c.n_axes,
                      c.batch_axes + c.m_axes + c.n_axes + c.k_axes};
  return {ends[kind], ends[kind + 1]};
}

// The kind of each axis.
class AxisKinds {
 public:
  explicit AxisKinds(const Contraction& c) {
    for (AxisKind kind : {kBatch, kM, kN, kK})
      for (AxisRange axes = axes_of(c, kind); axes.begin < axes.end; ++axes.begin)
        kinds_.at(count_++) = kind;
  }
  operator std::span<const uint8_t>() const { return {kinds_.data(), count_}; }  // NOLINT: as one

 private:
  std::array<uint8_t, 64> kinds_;
  size_t count_ = 0;
};

int last_axis(const Contraction& c, AxisKind kind) {
  const auto [begin, end] = axes_of(c, kind);
  return end > begin ? end - 1 : kNoColumn;
}

int64_t extent_of(const Contraction& c, const SizeTable& sizes, AxisKind kind) {
  int64_t extent = 1;
  for (auto [axis, end] = axes_of(c, kind); axis < end; ++axis)
    extent *= sizes(c.lhs.axes[static_cast<size_t>(axis)].extent);
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
                              const GemmKernel& kernel, bool packs)
    : lhs(c.lhs, sizes, AxisKinds(c), lhs_column(c, sizes)),
      epilogue(c.epilogue, sizes, AxisKinds(c), epilogue_column(c, sizes)),
      gemm(kernel) {
  if (packs) rhs.emplace(c.rhs, sizes, AxisKinds(c), last_axis(c, kK));
  batch = extent_of(c, sizes, kBatch), m = extent_of(c, sizes, kM);
  n = extent_of(c, sizes, kN), k = extent_of(c, sizes, kK);
  if (is_depthwise(c, sizes)) plan_depthwise();
  if (is_depthwise(c, sizes) && !depthwise) {
    lhs = ContractionPart(c.lhs, sizes, AxisKinds(c), last_axis(c, kK));
    epilogue = ContractionPart(c.epilogue, sizes, AxisKinds(c), last_axis(c, kN));
  }
  if (gemm.operand == DType::f32) split = split_gemm();
  const AxisKind column = depthwise ? kBatch : kN;
  if (gemm.is_integer()) program = integer_program(c.epilogue, sizes, epilogue, column);
  else simple = simple_epilogue(c.epilogue, sizes, epilogue, column);
  if (!depthwise) plan_copies(), plan_direct(), plan_windows();
}

// Rows of a kernel's store into [rows][stride], by the tile interpreter.
void ContractionKernel::Impl::compute_block(const ContractionPart& part, AxisKind row_kind,
                                            float* block, int64_t stride, int64_t batch_index,
                                            int64_t first, int64_t rows,
                                            void* const* buffers) const {
  const int column = part.kernel.column_axis();
  const int64_t run = part.inner_extent(kK);
  TilePlace place;
  place.row_axes = part.axes[row_kind];
  place.buffers = buffers;
  place.operand_stride = stride;
  part.place(place.first.data(), kBatch, batch_index);
  for (int64_t p = 0; p < k && run > 0; p += run) {
    part.place(place.first.data(), kK, p);
    for (int64_t col = 0; col < run; col += kTileElements) {
      place.cols = std::min(kTileElements, run - col);
      if (column >= 0) place.first[static_cast<size_t>(column)] = col;
      const int64_t rows_at_once = std::max<int64_t>(1, kTileElements / place.cols);
      for (int64_t r = 0; r < rows; r += rows_at_once) {
        place.rows = std::min(rows_at_once, rows - r);
        part.place(place.first.data(), row_kind, first + r);
        place.operand = block + r * stride + p + col;
        part.kernel.run_tile(place);
      }
    }
  }
}

// --- the right operand

void ContractionKernel::Impl::pack_panel(int64_t batch_index, int64_t panel, void* const* buffers,
                                         char* packed) const {
  const int64_t first = panel * gemm.cols;
  const int cols = static_cast<int>(std::min<int64_t>(gemm.cols, n - first));
  char* out = packed + (batch_index * panels() + panel) * panel_bytes();
  const MemoryLoad* load = rhs->kernel.pure_load();
  if (load && (!gemm.is_integer() || load->dtype == gemm.rhs) && load->bounds.empty() &&
      rhs->axes[kN].size() <= 1 && rhs->axes[kK].size() <= 1) {
    std::array<int64_t, kMaxAxes> index{};
    rhs->place(index.data(), kBatch, batch_index);
    rhs->place(index.data(), kN, first);
    const auto stride = [&](AxisKind kind) {
      return rhs->axes[kind].empty()
                 ? 0
                 : load->address.stride[static_cast<size_t>(rhs->axes[kind][0])];
    };
    const int64_t offset = dot(load->address, index.data(), rhs->kernel.axes().count);
    const auto* data =
        static_cast<const char*>(buffers[load->buffer]) + offset * bits(load->dtype) / 8;
    return gemm.pack_b(out, data, load->dtype, stride(kK), stride(kN), k, cols);
  }
  const int64_t stride = std::max<int64_t>(1, k);
  auto* rows = static_cast<float*>(
      thread_scratch(ScratchSlot::lhs_block, static_cast<size_t>(stride * cols + 16) * 4));
  compute_block(*rhs, kN, rows, stride, batch_index, first, cols, buffers);
  gemm.pack_b(out, rows, gemm.product(), 1, stride, k, cols);
}

// [taps][channels], and for integers the sum of the taps times the padding.
void ContractionKernel::Impl::pack_depthwise(void* const* buffers, float* packed) const {
  auto* row =
      static_cast<float*>(thread_scratch(ScratchSlot::lhs_block, static_cast<size_t>(k + 16) * 4));
  for (int64_t channel = 0; channel < batch; ++channel) {
    compute_block(*rhs, kN, row, k, channel, 0, 1, buffers);
    if (gemm.is_integer()) {
      convert_kernel(Compute::i32, Compute::f32)(row, row, static_cast<size_t>(k));
      const auto padding = static_cast<float>(lhs.kernel.pure_load()->integer_fill());
      packed[k * batch + channel] = padding * std::accumulate(row, row + k, 0.0f);
    }
    for (int64_t tap = 0; tap < k; ++tap) packed[tap * batch + channel] = row[tap];
  }
}

// --- the class

ContractionKernel::ContractionKernel(const Contraction& c, const SizeTable& sizes,
                                     const GemmKernel& gemm, bool packs)
    : impl_(std::make_unique<Impl>(c, sizes, gemm, packs)) {}
ContractionKernel::~ContractionKernel() = default;
ContractionKernel::ContractionKernel(ContractionKernel&&) noexcept = default;

int64_t ContractionKernel::packed_bytes() const {
  if (impl_->depthwise)
    return (impl_->k + (impl_->gemm.is_integer() ? 1 : 0)) * impl_->batch *
           static_cast<int64_t>(sizeof(float));
  return impl_->batch * impl_->panels() * impl_->panel_bytes();
}

std::string ContractionKernel::packed_layout() const {
  if (impl_->depthwise && impl_->gemm.is_integer())
    return fmt::format("depthwise integers, padding {}",
                       impl_->lhs.kernel.pure_load()->integer_fill());
  return impl_->depthwise ? "depthwise" : impl_->gemm.name;
}

void ContractionKernel::pack_rhs(ThreadPool& pool, void* const* buffers, void* packed) const {
  internal_check(impl_->rhs.has_value(), "a kernel that packs");
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
  else if (impl_->windows)
    impl_->run_windows(pool, lhs_buffers, static_cast<const char*>(packed), epilogue_buffers);
  else if (!impl_->direct || !impl_->run_direct(pool, lhs_buffers, static_cast<const char*>(packed),
                                                epilogue_buffers))
    impl_->run_gemm(pool, lhs_buffers, static_cast<const char*>(packed), epilogue_buffers);
}

}  // namespace onrush::cpu
