// Convolutions with as many groups as channels: one multiplication a tap and element, no matrix.
#include <algorithm>
#include <limits>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {

// What is read: channels (the batch axis) lie side by side; along a row of results (the innermost
// axis of m) the window moves along one of its own axes, which are its columns.
void ContractionKernel::Impl::plan_depthwise() {
  const MemoryLoad* load = lhs.kernel.pure_load();
  const TileAxes& axes = lhs.kernel.axes();
  const int channel = lhs.kernel.column_axis();
  // Sums of integers are exact in f32 up to 2^24.
  constexpr int64_t kMostTaps = (1 << 24) / (2 * 255 * 255);
  const bool fits = load && (gemm.is_integer() ? load->dtype == gemm.operand && k <= kMostTaps
                                               : is_activation(load->dtype));
  if (!fits || channel < 0 || lhs.axes[kBatch].size() != 1 || epilogue.axes[kBatch].size() != 1)
    return;
  const auto along = [](const ConcreteAffine& a, int axis) {
    return axis < 0 ? 0 : a.stride[static_cast<size_t>(axis)];
  };
  if (along(load->address, channel) != 1) return;
  const int pixel = lhs.axes[kM].empty() ? -1 : lhs.axes[kM].back();
  int column = lhs.axes[kK].empty() ? -1 : lhs.axes[kK].back();
  for (const ConcreteBound& bound : load->bounds)
    for (int axis : lhs.axes[kK])
      if (along(bound.index, pixel) != 0 && along(bound.index, axis) != 0) column = axis;
  Depthwise d{.width = lhs.inner_extent(kM),
              .pixel_step = along(load->address, pixel),
              .column_step = along(load->address, column)};
  std::vector<const ConcreteBound*> column_bounds;
  for (const ConcreteBound& bound : load->bounds) {
    const bool by_column = along(bound.index, pixel) != 0 || along(bound.index, column) != 0;
    for (int axis = 0; axis < axes.count; ++axis) {
      const bool may_vary = by_column ? axis == pixel || axis == column : axis != channel;
      if (along(bound.index, axis) != 0 && !may_vary) return;
    }
    if (by_column) column_bounds.push_back(&bound);
    else d.row_bounds.push_back(bound);
  }
  const int64_t columns = column < 0 ? 1 : axes.extent[static_cast<size_t>(column)];
  for (int64_t x = 0; x < d.width; ++x) {
    const auto is_inside = [&](int64_t j) {
      return std::ranges::all_of(column_bounds, [&](const ConcreteBound* bound) {
        const int64_t at =
            bound->index.offset + x * along(bound->index, pixel) + j * along(bound->index, column);
        return at >= 0 && at < bound->extent;
      });
    };
    int64_t begin = 0, end = columns;
    while (begin < end && !is_inside(begin)) ++begin;
    while (end > begin && !is_inside(end - 1)) --end;
    if (d.runs.empty() || d.runs.back().column != begin || d.runs.back().columns != end - begin)
      d.runs.push_back({x, 0, begin, end - begin});
    ++d.runs.back().count;
  }
  for (int axis : lhs.axes[kK])
    if (axis > column) d.weight_step *= axes.extent[static_cast<size_t>(axis)];
  std::array<int64_t, kMaxAxes> index{};
  for (int64_t t = 0; t < k; ++t) {
    lhs.place(index.data(), kK, t);
    if (column >= 0 && index[static_cast<size_t>(column)] != 0) continue;
    const auto offset = [&](const ConcreteAffine& a) {
      return dot(a, index.data(), axes.count) - a.offset;
    };
    d.window_rows.push_back({offset(load->address), t});
    for (const ConcreteBound& bound : d.row_bounds) d.bound_offsets.push_back(offset(bound.index));
  }
  depthwise = std::move(d);
}

// The program on [width][channels] sums, from channel c_first on.
void ContractionKernel::Impl::finish_depthwise_row(const int32_t* sums, int64_t row,
                                                   int64_t c_first, int64_t channels,
                                                   void* const* buffers) const {
  const int64_t width = depthwise->width;
  const int axes = epilogue.kernel.axes().count;
  constexpr auto kColumns = static_cast<int64_t>(IntegerProgram::kColumns);
  std::array<int64_t, kMaxAxes> index{};
  epilogue.place(index.data(), kM, row * width);
  for (int64_t c = 0; c < channels; c += kColumns) {
    epilogue.place(index.data(), kBatch, c_first + c);
    const int64_t columns = std::min(kColumns, channels - c);
    const IntegerEpilogue stages = integer_stages(index.data(), columns, buffers);
    finish_integers(
        {.product = sums + c,
         .product_stride = channels,
         .rows = static_cast<int>(width),
         .columns = static_cast<int>(columns),
         .first_row = 0,
         .stages = stages,
         .out = advance(buffers[program->output], program->output_dtype,
                        dot(program->output_address, index.data(), axes)),
         .out_stride =
             epilogue.axes[kM].empty()
                 ? batch
                 : program->output_address.stride[static_cast<size_t>(epilogue.axes[kM][0])],
         .dtype = program->output_dtype});
  }
}

// Channels [c_first, c_last) of a row of results.
void ContractionKernel::Impl::depthwise_row(int64_t row, int64_t c_first, int64_t c_last,
                                            void* const* lhs_buffers, const float* packed,
                                            void* const* epilogue_buffers) const {
  const MemoryLoad& load = *lhs.kernel.pure_load();
  const Depthwise& d = *depthwise;
  const int64_t width = d.width, channels = c_last - c_first;
  const int axes = lhs.kernel.axes().count;
  std::array<int64_t, kMaxAxes> index{};
  lhs.place(index.data(), kM, row * width);
  const char* first = advance(lhs_buffers[load.buffer], load.dtype,
                              dot(load.address, index.data(), axes) + c_first);
  // The window's rows that are inside the image.
  auto* window = static_cast<DepthwiseRow::WindowRow*>(thread_scratch(
      ScratchSlot::pointers, (d.window_rows.size() + 1) * sizeof(DepthwiseRow::WindowRow)));
  int row_count = 0;
  for (size_t t = 0; t < d.window_rows.size(); ++t) {
    bool is_inside = true;
    for (size_t b = 0; b < d.row_bounds.size(); ++b) {
      const int64_t at = dot(d.row_bounds[b].index, index.data(), axes) +
                         d.bound_offsets[t * d.row_bounds.size() + b];
      is_inside = is_inside && at >= 0 && at < d.row_bounds[b].extent;
    }
    if (is_inside)
      window[row_count++] = {advance(first, load.dtype, d.window_rows[t].offset),
                             packed + d.window_rows[t].tap * batch + c_first};
  }
  DepthwiseRow r{.rows = window,
                 .row_count = row_count,
                 .pixel_dtype = load.dtype,
                 .pixel_zero = static_cast<float>(load.integer_fill()),
                 .pixel_step = d.pixel_step,
                 .column_step = d.column_step,
                 .weight_step = d.weight_step * batch,
                 .channels = channels,
                 .low = -std::numeric_limits<float>::infinity(),
                 .high = std::numeric_limits<float>::infinity()};
  const auto compute = [&](float* out, int64_t out_stride) {
    r.out_stride = out_stride;
    for (const Depthwise::Run& run : d.runs) {
      r.first_pixel = run.first * d.pixel_step + run.column * d.column_step;
      r.first_weight = run.column * r.weight_step;
      r.columns = static_cast<int>(run.columns);
      r.width = run.count;
      r.out = out + run.first * out_stride;
      depthwise_f32(r);
    }
  };
  const auto scratch = [&] {
    return static_cast<float*>(
        thread_scratch(ScratchSlot::result_tile, static_cast<size_t>(width * channels + 16) * 4));
  };
  if (simple && simple->residual < 0) {
    index = {};
    epilogue.place(index.data(), kM, row * width);
    epilogue.place(index.data(), kBatch, c_first);
    const auto at = [&](int buffer, const ConcreteAffine& a, DType dtype) {
      return advance(epilogue_buffers[buffer], dtype,
                     dot(a, index.data(), epilogue.kernel.axes().count));
    };
    const DType dtype = simple->output_dtype;
    char* out = at(simple->output, simple->output_address, dtype);
    const int64_t out_stride =
        epilogue.axes[kM].empty()
            ? batch
            : simple->output_address.stride[static_cast<size_t>(epilogue.axes[kM][0])];
    if (simple->bias >= 0)
      r.bias = reinterpret_cast<float*>(at(simple->bias, simple->bias_address, DType::f32));
    r.low = simple->low, r.high = simple->high;
    const UnaryKernel activation = activation_kernel(simple->activation);
    if (!activation && dtype == DType::f32)
      return compute(reinterpret_cast<float*>(out), out_stride);
    float* sums = scratch();
    compute(sums, channels);
    const auto count = static_cast<size_t>(width * channels);
    if (activation && (dtype != DType::f32 || out_stride != channels))
      activation(sums, sums, count);
    else if (activation) return activation(out, sums, count);
    const StoreKernel store = store_kernel(dtype);
    if (out_stride == channels) return store(out, 0, 1, sums, count);
    for (int64_t x = 0; x < width; ++x)
      store(out, x * out_stride, 1, sums + x * channels, static_cast<size_t>(channels));
    return;
  }
  float* sums = scratch();
  if (gemm.is_integer()) r.bias = packed + k * batch + c_first;
  compute(sums, channels);
  if (gemm.is_integer())
    convert_kernel(Compute::f32, Compute::i32)(sums, sums, static_cast<size_t>(width * channels));
  if (program)
    return finish_depthwise_row(reinterpret_cast<int32_t*>(sums), row, c_first, channels,
                                epilogue_buffers);
  const int64_t cols_at_once = std::min<int64_t>(channels, kTileElements);
  const int64_t rows_at_once = std::max<int64_t>(1, kTileElements / cols_at_once);
  for (int64_t x = 0; x < width; x += rows_at_once)
    for (int64_t c = 0; c < channels; c += cols_at_once) {
      TilePlace place;
      place.rows = std::min(rows_at_once, width - x);
      place.row_axes = epilogue.axes[kM];
      epilogue.place(place.first.data(), kBatch, c_first + c);
      epilogue.place(place.first.data(), kM, row * width + x);
      place.cols = std::min(cols_at_once, channels - c);
      place.buffers = epilogue_buffers;
      place.accumulator = sums + x * channels + c;
      place.accumulator_stride = channels;
      epilogue.kernel.run_tile(place);
    }
}

void ContractionKernel::Impl::run_depthwise(ThreadPool& pool, void* const* lhs_buffers,
                                            const float* packed,
                                            void* const* epilogue_buffers) const {
  if (m == 0) return;
  // So many channels at a time that their weights stay in L1.
  constexpr int64_t kWeightBytes = 16 * 1024, kLeastChannels = 64;
  const int64_t fitting = kWeightBytes / (k * 4) / kLeastChannels * kLeastChannels;
  const int64_t each = std::min(batch, std::max(kLeastChannels, fitting));
  const int64_t blocks = (batch + each - 1) / each, rows = m / depthwise->width;
  // Rows one after the other read the same rows of the image, and a thread all channels of them:
  // other kernels divide the image by rows, too, so what it reads is in its own cache.
  const int64_t parts = std::min(rows, int64_t{4} * pool.threads());
  pool.run(parts * blocks, [&](int64_t task) {
    const int64_t part = task / blocks, c = task % blocks * each;
    for (int64_t row = rows * part / parts; row < rows * (part + 1) / parts; ++row)
      depthwise_row(row, c, std::min(batch, c + each), lhs_buffers, packed, epilogue_buffers);
  });
}

}  // namespace onrush::cpu
