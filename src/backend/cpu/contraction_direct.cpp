// Convolutions with overlapping windows on matrix units: the image is split (or rounded to bf16)
// once and read in place.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {
namespace {

constexpr int64_t kMostPadding = 5;        // one part in so many of the channels, or of the rows
constexpr int64_t kPanelsBytes = 1 << 20;  // split beforehand, if all panels take no more
constexpr int64_t kTilesPerTask = 16;
constexpr int64_t kImageBytes = 64 << 20;

int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

}  // namespace

// The image along one spatial axis, if positions in it are those of the bound.
std::optional<ContractionKernel::Impl::Direct::Axis> ContractionKernel::Impl::image_axis(
    const ConcreteBound& bound, int m_axis, int k_axis) const {
  const auto m = static_cast<size_t>(m_axis), k = static_cast<size_t>(k_axis);
  const ConcreteAffine& address = lhs.kernel.pure_load()->address;
  Direct::Axis axis{.size = bound.extent,
                    .padding = -bound.index.offset,
                    .results = lhs.kernel.axes().extent[m],
                    .step = bound.index.stride[m],
                    .window = lhs.kernel.axes().extent[k],
                    .dilation = bound.index.stride[k]};
  if (axis.step <= 0 || axis.dilation <= 0 || axis.padding < 0) return std::nullopt;
  axis.pitch = address.stride[m] / axis.step;
  ConcreteAffine expected;
  expected.stride[m] = axis.step, expected.stride[k] = axis.dilation;
  if (expected.stride != bound.index.stride || address.stride[m] != axis.pitch * axis.step ||
      address.stride[k] != axis.pitch * axis.dilation)
    return std::nullopt;
  const int64_t reach = axis.step * (axis.results - 1) + axis.dilation * (axis.window - 1) + 1;
  axis.padded = std::max(axis.padding + axis.size, reach);
  return axis;
}

// What the left operand reads, if it is windows of an image with channels innermost.
std::optional<ContractionKernel::Impl::Direct> ContractionKernel::Impl::image() const {
  const MemoryLoad* load = lhs.kernel.pure_load();
  if (!copies || load->bounds.size() != 2 || batch != 1) return std::nullopt;
  const AxisList &m_axes = lhs.axes[kM], &k_axes = lhs.axes[kK];
  if (m_axes.size() != 2 || k_axes.size() != 3) return std::nullopt;
  const auto rows = image_axis(load->bounds[0], m_axes[0], k_axes[0]);
  auto columns = image_axis(load->bounds[1], m_axes[1], k_axes[1]);
  // Channels are innermost, or the window's columns are.
  const int channels = columns ? k_axes[2] : k_axes[1];
  if (!columns) columns = image_axis(load->bounds[1], m_axes[1], k_axes[2]);
  if (!rows || !columns) return std::nullopt;
  Direct d{.rows = *rows,
           .columns = *columns,
           .channels = lhs.kernel.axes().extent[static_cast<size_t>(channels)],
           .channel_pitch = load->address.stride[static_cast<size_t>(channels)],
           .channels_last = channels == k_axes[2]};
  d.origin = load->address.offset + rows->padding * rows->pitch + columns->padding * columns->pitch;
  return d;
}

ContractionKernel::Impl::Direct::Tile ContractionKernel::Impl::Direct::tile(int64_t index) const {
  constexpr int64_t kRows = SplitGemm::kTileRows;
  const int64_t width = columns.results, first = index * kRows;
  int64_t y = first / line, x = first % line;
  Tile tile{};
  tile.pixel = joined ? first : y * rows.step * columns.padded + x * columns.step;
  for (int64_t row = 0; row < kRows && y < rows.results; ++y, x = 0) {
    const int64_t end = std::min(kRows, row + line - x);
    if (x < width && tile.count++ < std::ssize(tile.segments))
      tile.segments[tile.count - 1] = {
          static_cast<int>(row), static_cast<int>(std::min(end - row, width - x)), y * width + x};
    row = end;
  }
  return tile;
}

// Rows of results follow each other evenly if the steps are 1: then a tile may go from one to the
// next, and what lies between them is thrown away. False if too much would be.
bool ContractionKernel::Impl::plan_tiles(Direct& d) const {
  constexpr int64_t kRows = SplitGemm::kTileRows;
  const int64_t width = d.columns.results, height = d.rows.results;
  d.joined = d.columns.step == 1 && d.rows.step == 1;
  d.line = d.joined ? d.columns.padded : divide_up(width, kRows) * kRows;
  d.tiles = divide_up((height - 1) * d.line + width, kRows);
  if (d.line * kMostPadding > width * (kMostPadding + 1)) return false;
  // Tiles of short lines may have more segments than there is room for; so many repeat.
  for (int64_t i = 0; d.line < kRows && i < std::min(d.tiles, d.line); ++i)
    if (const Direct::Tile tile = d.tile(i); tile.count > std::ssize(tile.segments)) return false;
  return true;
}

// How pixels and taps lie: in whole steps of k for each pixel, or for each row of the window if
// that adds less. False if both add too much.
bool ContractionKernel::Impl::plan_pixels(Direct& d) const {
  const int64_t bytes = split ? 2 : gemm.operand_bytes();
  d.step_length = split ? SplitGemm::kStep : gemm.k_multiple;
  const auto padded = [&](int64_t length) { return d.steps(length) * d.step_length; };
  const int64_t row = d.columns.window * d.channels;
  const bool pixels = d.channels_last && d.channel_pitch == 1 &&
                      padded(d.channels) * kMostPadding <= d.channels * (kMostPadding + 2) &&
                      (split || d.channels * bytes % 4 == 0);  // which lie together in a panel
  const bool rows = !split && !sums_are_short() && d.columns.dilation == 1 &&
                    (d.channel_pitch == 1 || d.columns.pitch == 1);
  // What is read of a row begins anywhere in a cache line, so it is two of them.
  d.by_row = rows && (!pixels || 2 * padded(row) <= padded(d.channels) * d.columns.window);
  if (!pixels && !d.by_row) return false;
  d.tap_length = d.by_row ? row : d.channels;
  const int64_t steps = d.steps(d.tap_length), columns = d.by_row ? 1 : d.columns.window;
  const int64_t step_bytes = (split ? 3 : 1) * d.step_length * bytes;
  d.pixel_bytes = d.by_row ? d.channels * bytes : steps * step_bytes;
  d.tap_bytes = steps * step_bytes * SplitGemm::kCols;
  d.panels_ready = !split && d.channels_last && d.tap_length % d.step_length == 0;
  for (int64_t y = 0; y < d.rows.window; ++y)
    for (int64_t x = 0; x < columns; ++x)
      for (int64_t s = 0; s < steps; ++s)
        d.offsets.push_back((y * d.rows.dilation * d.columns.padded + x * d.columns.dilation) *
                                d.pixel_bytes +
                            s * step_bytes);
  return d.rows.padded * d.columns.padded * d.pixel_bytes <= kImageBytes;
}

void ContractionKernel::Impl::plan_direct() {
  std::optional<Direct> d = split || gemm.multiply_pixels ? image() : std::nullopt;
  // Worth it where a pixel is in several windows and little is added to what there is.
  if (!d || d->rows.window * d->columns.window < 2 * d->rows.step * d->columns.step) return;
  if (plan_pixels(*d) && plan_tiles(*d)) direct = std::move(d);
}

// Pixels of few channels, side by side; false if an element is infinite or NaN. Element: uint16_t
// for bf16, or uint8_t for 8-bit integers.
template <class Element>
bool ContractionKernel::Impl::write_joined_pixels(Element* out, const void* pixels) const {
  const Direct& d = *direct;
  const int64_t count = d.columns.size, channels = d.channels;
  const DType dtype = lhs.kernel.pure_load()->dtype;
  const auto write = [&](Element* to, const void* from, int64_t n) {
    if (dtype == gemm.operand) std::memcpy(to, from, static_cast<size_t>(n) * sizeof(Element));
    else gemm.round_a(to, from, n);
  };
  if (d.channel_pitch != 1) {
    auto* line = static_cast<Element*>(
        thread_scratch(ScratchSlot::lhs_block, static_cast<size_t>(count) * sizeof(Element)));
    for (int64_t c = 0; c < channels; ++c) {
      write(line, advance(pixels, dtype, c * d.channel_pitch), count);
      for (int64_t i = 0; i < count; ++i) out[i * channels + c] = line[i];
    }
  } else if (d.columns.pitch == channels) {
    write(out, pixels, count * channels);
  } else {
    for (int64_t i = 0; i < count; ++i)
      write(out + i * channels, advance(pixels, dtype, i * d.columns.pitch), channels);
  }
  if constexpr (sizeof(Element) == 1) return true;
  constexpr uint16_t kExponent = 0x7f80;
  uint16_t special = 0;
  for (int64_t i = 0; i < count * channels; ++i)
    special |= static_cast<uint16_t>((out[i] & kExponent) == kExponent);
  return special == 0;
}

// A row of the image; false if some pixel cannot be split.
bool ContractionKernel::Impl::write_pixels(char* out, const void* pixels) const {
  const Direct& d = *direct;
  const int64_t count = d.columns.size, channels = d.channels;
  if (d.by_row && gemm.is_integer())
    return write_joined_pixels(reinterpret_cast<uint8_t*>(out), pixels);
  if (d.by_row) return write_joined_pixels(reinterpret_cast<uint16_t*>(out), pixels);
  if (split)
    return split->split_pixels(out, d.pixel_bytes, static_cast<const float*>(pixels),
                               d.columns.pitch, count, channels);
  const int64_t element = gemm.operand_bytes(), bytes = channels * element;
  const DType dtype = lhs.kernel.pure_load()->dtype;
  const auto write = [&](const void* from, int64_t n) {
    if (dtype == gemm.operand) std::memcpy(out, from, static_cast<size_t>(n * element));
    else gemm.round_a(out, from, n);
  };
  if (bytes == d.pixel_bytes && d.columns.pitch == channels) {
    write(pixels, count * channels);
    return true;
  }
  if (dtype == gemm.operand) {
    const auto row = static_cast<size_t>(bytes);
    const int64_t pitch = d.columns.pitch * element;
    if (bytes == d.pixel_bytes) copy_rows(out, bytes, pixels, pitch, count, row);
    else pad_rows(out, d.pixel_bytes, pixels, pitch, count, row);
    return true;
  }
  for (int64_t i = 0; i < count; ++i, out += d.pixel_bytes) {
    gemm.round_a(out, static_cast<const float*>(pixels) + i * d.columns.pitch, channels);
    std::memset(out + bytes, 0, static_cast<size_t>(d.pixel_bytes - bytes));
  }
  return true;
}

bool ContractionKernel::Impl::write_image(ThreadPool& pool, void* const* lhs_buffers,
                                          char* image) const {
  const Direct& d = *direct;
  const MemoryLoad& load = *lhs.kernel.pure_load();
  const char* source = advance(lhs_buffers[load.buffer], load.dtype, d.origin);
  std::atomic<bool> all_split = true;
  constexpr int64_t kRows = 4;  // in a task
  pool.run(divide_up(d.rows.padded, kRows), [&](int64_t task) {
    for (int64_t y = task * kRows; y < std::min(d.rows.padded, (task + 1) * kRows); ++y) {
      char* row = image + y * d.columns.padded * d.pixel_bytes;
      const auto clear = [&](int64_t begin, int64_t end) {
        std::memset(row + begin * d.pixel_bytes, copies->fill,
                    static_cast<size_t>((end - begin) * d.pixel_bytes));
      };
      if (y < d.rows.padding || y >= d.rows.padding + d.rows.size) {
        clear(0, d.columns.padded);
        continue;
      }
      clear(0, d.columns.padding);
      if (!write_pixels(row + d.columns.padding * d.pixel_bytes,
                        advance(source, load.dtype, (y - d.rows.padding) * d.rows.pitch)))
        all_split = false;
      clear(d.columns.padding + d.columns.size, d.columns.padded);
    }
  });
  return all_split;
}

// A row of the window, of a panel, from position `first` of k on: the channels of its columns side
// by side. Four bytes of k lie together.
template <class Element>
void ContractionKernel::Impl::write_row_of_taps(Element* out, const Element* panel,
                                                int64_t first) const {
  constexpr int64_t kTogether = 4 / static_cast<int64_t>(sizeof(Element));
  const Direct& d = *direct;
  std::memset(out, 0, static_cast<size_t>(d.tap_bytes));
  const auto at = [&](int64_t p) { return p / kTogether * gemm.cols * kTogether + p % kTogether; };
  for (int64_t x = 0; x < d.columns.window; ++x)
    for (int64_t c = 0; c < d.channels; ++c) {
      const int64_t p = d.channels_last ? x * d.channels + c : c * d.columns.window + x;
      Element* to = out + at(x * d.channels + c);
      const Element* from = panel + at(first + p);
      for (int64_t j = 0; j < gemm.cols; ++j) to[kTogether * j] = from[kTogether * j];
    }
}

// A panel, every tap's channels padded by themselves as those of the image are; false if it cannot
// be split.
bool ContractionKernel::Impl::write_taps(char* out, const char* packed, int64_t panel) const {
  const Direct& d = *direct;
  const char* b = packed + panel * panel_bytes();
  bool splits = true;
  for (int64_t tap = 0; tap < d.taps(); ++tap, out += d.tap_bytes) {
    const int64_t first = tap * d.tap_length;
    const int64_t element = gemm.operand_bytes();
    const char* from = b + gemm.panel_offset(first) * element;
    if (split) {
      splits &= split->split_b(out, reinterpret_cast<const float*>(from), d.channels);
    } else if (!d.channels_last || d.tap_length * element % 4 != 0) {
      if (gemm.is_integer())
        write_row_of_taps(reinterpret_cast<uint8_t*>(out), reinterpret_cast<const uint8_t*>(b),
                          first);
      else
        write_row_of_taps(reinterpret_cast<uint16_t*>(out), reinterpret_cast<const uint16_t*>(b),
                          first);
    } else {
      const auto bytes = static_cast<size_t>(d.tap_length * gemm.cols * element);
      std::memcpy(out, from, bytes);
      std::memset(out + bytes, 0, static_cast<size_t>(d.tap_bytes) - bytes);
    }
  }
  return splits;
}

void ContractionKernel::Impl::run_direct_panel(const char* image, const char* b, int64_t panel,
                                               int64_t tile_first, int64_t tile_last,
                                               void* const* epilogue_buffers) const {
  const Direct& d = *direct;
  const int64_t n_first = first_column(panel);
  std::optional<Registers> r;
  if (in_registers()) r = registers(0, 0, n_first, epilogue_buffers);
  PixelRows rows{.row_bytes = d.columns.step * d.pixel_bytes,
                 .offsets = d.offsets.data(),
                 .steps = static_cast<int64_t>(d.offsets.size()),
                 .b = b,
                 .cols = columns(panel)};
  const auto multiply = split ? split->multiply_pixels : gemm.multiply_pixels;
  alignas(64) std::byte product[SplitGemm::kRows * SplitGemm::kCols * 4];  // f32 or i32
  const auto finish = [&](const Direct::Segment& segment, const std::byte* tile) {
    const std::byte* from = tile + segment.row * SplitGemm::kCols * 4;
    if (!in_registers())
      return run_epilogue(from, SplitGemm::kCols, 0, segment.m, segment.rows, n_first, rows.cols,
                          epilogue_buffers);
    GemmEpilogue here = r->epilogue;
    GemmTile t{.rows = segment.rows,
               .cols = rows.cols,
               .c = r->c,
               .c_stride = r->c_stride,
               .c_dtype = output_dtype(),
               .epilogue = simple ? &here : nullptr,
               .integer_epilogue = program ? &r->integer_epilogue : nullptr};
    next_rows(t, &here, segment.m);
    gemm.finish(t, from, SplitGemm::kCols);
  };
  for (int64_t t = tile_first; t < tile_last; t += 2) {
    const int both = t + 1 < tile_last ? 2 : 1;
    const Direct::Tile tiles[] = {d.tile(t), d.tile(t + both - 1)};
    for (int i = 0; i < 2; ++i) rows.first[i] = image + tiles[i].pixel * d.pixel_bytes;
    multiply(rows, product);
    for (int i = 0; i < both; ++i)
      for (int s = 0; s < tiles[i].count; ++s)
        finish(tiles[i].segments[s], product + i * SplitGemm::kTileRows * SplitGemm::kCols * 4);
  }
}

// False, with rubbish in the results, if the image or a panel cannot be split.
bool ContractionKernel::Impl::run_direct(ThreadPool& pool, void* const* lhs_buffers,
                                         const char* packed, void* const* epilogue_buffers) const {
  const Direct& d = *direct;
  // Tiles read beyond the image where they end beyond the last row of results, and where a tap
  // does.
  const int64_t image_bytes = d.rows.padded * d.columns.padded * d.pixel_bytes;
  const int64_t beyond = SplitGemm::kTileRows * d.columns.step * d.pixel_bytes + d.tap_bytes;
  auto* image = static_cast<char*>(
      thread_scratch(ScratchSlot::lhs_operand, static_cast<size_t>(image_bytes + beyond)));
  std::memset(image + image_bytes, 0, static_cast<size_t>(beyond));
  if (!write_image(pool, lhs_buffers, image)) return false;
  const auto run = [&](const char* b, int64_t panel, int64_t first, int64_t last) {
    std::optional<GemmScope> scope;
    if (split) scope.emplace(*split);
    else scope.emplace(gemm);
    run_direct_panel(image, b, panel, first, last, epilogue_buffers);
  };
  std::atomic<bool> all_split = true;
  const int64_t tiles = d.tiles;
  const auto bytes = static_cast<size_t>(d.panel_bytes());
  if (panels() * d.panel_bytes() <= kPanelsBytes && tiles >= 2 * kTilesPerTask) {
    const char* all = packed;
    if (!d.panels_ready) {
      auto* written = static_cast<char*>(
          thread_scratch(ScratchSlot::split_panels, static_cast<size_t>(panels()) * bytes));
      pool.run(panels(), [&](int64_t panel) {
        if (!write_taps(written + panel * d.panel_bytes(), packed, panel)) all_split = false;
      });
      if (!all_split) return false;
      all = written;
    }
    pool.run(divide_up(tiles, kTilesPerTask), [&](int64_t task) {
      const int64_t first = task * kTilesPerTask, last = std::min(tiles, first + kTilesPerTask);
      for (int64_t panel = 0; panel < panels(); ++panel)
        run(all + panel * d.panel_bytes(), panel, first, last);
    });
    return true;
  }
  pool.run(panels(), [&](int64_t panel) {
    if (d.panels_ready) return run(packed + panel * panel_bytes(), panel, 0, tiles);
    auto* b = static_cast<char*>(thread_scratch(ScratchSlot::split_panel, bytes));
    if (!write_taps(b, packed, panel)) return void(all_split = false);
    run(b, panel, 0, tiles);
  });
  return all_split;
}

}  // namespace onrush::cpu
