// Convolutions with as many groups as channels: one multiplication a tap and element, no matrix.
#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {
// Channels (the batch axis) must lie side by side in the left operand, which is only read.
bool ContractionKernel::Impl::can_run_depthwise() const {
  const TileKernel::PureLoad* load = lhs.kernel.pure_load();
  const int column = lhs.kernel.column_axis();
  if (!load || load->dtype != DType::f32 || column < 0 || lhs.axes[kBatch].size() != 1 ||
      epilogue.axes[kBatch].size() != 1)
    return false;
  if (load->address.stride[static_cast<size_t>(column)] != 1) return false;
  return std::all_of(load->bounds.begin(), load->bounds.end(), [&](const ConcreteBound& bound) {
    return bound.index.stride[static_cast<size_t>(column)] == 0;
  });
}

void ContractionKernel::Impl::depthwise_row(int64_t row, void* const* lhs_buffers,
                                            const float* packed,
                                            void* const* epilogue_buffers) const {
  const TileKernel::PureLoad& load = *lhs.kernel.pure_load();
  const int axes = lhs.kernel.axes().count;
  const int64_t width = lhs.inner_extent(kM);
  const int64_t taps = k, channels = batch;
  // Taps of every pixel: their address, or a row of zeros.
  auto* zeros = static_cast<float*>(
      thread_scratch(ScratchSlot::lhs_block, static_cast<size_t>(channels + 16) * 4));
  std::fill_n(zeros, channels, 0.0f);
  auto* table = static_cast<int64_t*>(thread_scratch(
      ScratchSlot::places, static_cast<size_t>((width + taps + 2) * std::max(axes, 1)) * 8));
  auto* pointers = static_cast<const float**>(thread_scratch(
      ScratchSlot::pointers, static_cast<size_t>(width * taps + 1) * sizeof(float*)));
  const std::array<int64_t, kMaxAxes> zero{};
  lhs.rows(table, zero.data(), kM, row * width, 1);
  int64_t* tap_table = table + axes;
  lhs.rows(tap_table, zero.data(), kK, 0, taps);
  const auto along_row = [&](const ConcreteAffine& a) {
    return lhs.axes[kM].empty() ? 0 : a.stride[static_cast<size_t>(lhs.axes[kM].back())];
  };
  const auto* data = static_cast<const float*>(lhs_buffers[load.buffer]);
  const int64_t step = along_row(load.address);
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t* tap = tap_table + t * axes;
    // The pixels [begin, end) of the row that this tap finds inside the image.
    int64_t begin = 0, end = width;
    for (const ConcreteBound& bound : load.bounds) {
      const int64_t first =
          dot(bound.index, table, axes) + dot(bound.index, tap, axes) - bound.index.offset;
      const int64_t stride = along_row(bound.index);
      if (stride == 0) {
        if (first < 0 || first >= bound.extent) end = 0;
        continue;
      }
      if (first < 0) begin = std::max(begin, (-first + stride - 1) / stride);
      end = first >= bound.extent ? 0 : std::min(end, (bound.extent - first + stride - 1) / stride);
    }
    begin = std::min(begin, end);
    const float* address =
        data + dot(load.address, table, axes) + dot(load.address, tap, axes) - load.address.offset;
    for (int64_t x = 0; x < begin; ++x) pointers[x * taps + t] = zeros;
    for (int64_t x = begin; x < end; ++x) pointers[x * taps + t] = address + x * step;
    for (int64_t x = end; x < width; ++x) pointers[x * taps + t] = zeros;
  }
  DepthwiseRow r{pointers,
                 packed,
                 nullptr,
                 nullptr,
                 channels,
                 static_cast<int>(taps),
                 width,
                 channels,
                 -std::numeric_limits<float>::infinity(),
                 std::numeric_limits<float>::infinity()};
  // A step along the row moves as far as a step along the window, in memory and in the image:
  // neighbours share their taps. (Where the image is one pixel wide, the row runs along its height
  // or along the batch.)
  const auto slides = [&](const ConcreteAffine& a) {
    return a.stride[static_cast<size_t>(lhs.axes[kK].back())] == along_row(a);
  };
  if (!lhs.axes[kK].empty() && slides(load.address) &&
      std::ranges::all_of(load.bounds, [&](const ConcreteBound& b) { return slides(b.index); }))
    r.sliding_columns = static_cast<int>(lhs.inner_extent(kK));
  std::array<int64_t, kMaxAxes> index{};
  const int out_axes = epilogue.kernel.axes().count;
  if (simple && simple->residual < 0) {
    epilogue.place(index.data(), kM, row * width);
    const auto at = [&](int buffer, const ConcreteAffine& a) {
      return static_cast<float*>(epilogue_buffers[buffer]) + dot(a, index.data(), out_axes);
    };
    float* out = at(simple->output, simple->output_address);
    r.out = out;
    r.out_stride = epilogue.axes[kM].empty()
                       ? channels
                       : simple->output_address.stride[static_cast<size_t>(epilogue.axes[kM][0])];
    r.bias = simple->bias < 0 ? nullptr : at(simple->bias, simple->bias_address);
    r.low = simple->low, r.high = simple->high;
    const UnaryKernel activation = activation_kernel(simple->activation);
    if (!activation) return depthwise_f32(r);
    const int64_t out_stride = std::exchange(r.out_stride, channels);
    r.out = static_cast<float*>(
        thread_scratch(ScratchSlot::result_tile, static_cast<size_t>(width * channels) * 4));
    depthwise_f32(r);
    if (out_stride == channels)
      return activation(out, r.out, static_cast<size_t>(width * channels));
    for (int64_t x = 0; x < width; ++x)
      activation(out + x * out_stride, r.out + x * channels, static_cast<size_t>(channels));
    return;
  }
  r.out = static_cast<float*>(
      thread_scratch(ScratchSlot::result_tile, static_cast<size_t>(width * channels) * 4));
  depthwise_f32(r);
  const int64_t cols_at_once = std::min<int64_t>(channels, kTileElements);
  const int64_t rows_at_once = std::max<int64_t>(1, kTileElements / cols_at_once);
  for (int64_t x = 0; x < width; x += rows_at_once)
    for (int64_t c = 0; c < channels; c += cols_at_once) {
      TilePlace place;
      place.rows = std::min(rows_at_once, width - x);
      place.row_axes = epilogue.axes[kM];
      epilogue.place(place.first.data(), kBatch, c);
      epilogue.place(place.first.data(), kM, row * width + x);
      place.cols = std::min(cols_at_once, channels - c);
      place.buffers = epilogue_buffers;
      place.accumulator = r.out + x * channels + c;
      place.accumulator_stride = channels;
      epilogue.kernel.run_tile(place);
    }
}

void ContractionKernel::Impl::run_depthwise(ThreadPool& pool, void* const* lhs_buffers,
                                            const float* packed,
                                            void* const* epilogue_buffers) const {
  const int64_t width = lhs.inner_extent(kM);
  if (width == 0 || m == 0) return;
  pool.run(m / width,
           [&](int64_t row) { depthwise_row(row, lhs_buffers, packed, epilogue_buffers); });
}

}  // namespace onrush::cpu
