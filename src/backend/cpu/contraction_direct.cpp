// Convolutions with overlapping windows on matrix units: the image is split once and read in place.
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

void ContractionKernel::Impl::plan_direct() {
  const TileKernel::PureLoad* load = lhs.kernel.pure_load();
  if (!split || !copies || load->bounds.size() != 2 || batch != 1) return;
  if (lhs.axes[kM].size() != 2 || lhs.axes[kK].size() != 3) return;
  const auto extent = [&](int axis) { return lhs.kernel.axes().extent[static_cast<size_t>(axis)]; };
  const auto along = [](const ConcreteAffine& a, int axis) {
    return a.stride[static_cast<size_t>(axis)];
  };
  const int y = lhs.axes[kM][0], x = lhs.axes[kM][1];
  const int window_y = lhs.axes[kK][0], window_x = lhs.axes[kK][1], channel = lhs.axes[kK][2];
  const ConcreteAffine &at = load->address, &row = load->bounds[0].index,
                       &column = load->bounds[1].index;
  const int64_t row_step = along(row, y), row_dilation = along(row, window_y);
  const int64_t step = along(column, x), dilation = along(column, window_x);
  if (std::min({row_step, row_dilation, step, dilation}) <= 0 || along(at, channel) != 1) return;
  Direct d{.channels = extent(channel),
           .height = load->bounds[0].extent,
           .width = load->bounds[1].extent,
           .row_pitch = along(at, y) / row_step,
           .pixel_pitch = along(at, x) / step,
           .top = -row.offset,
           .left = -column.offset,
           .step = step};
  ConcreteAffine expected;
  expected.stride[static_cast<size_t>(y)] = d.row_pitch * row_step;
  expected.stride[static_cast<size_t>(window_y)] = d.row_pitch * row_dilation;
  expected.stride[static_cast<size_t>(x)] = d.pixel_pitch * step;
  expected.stride[static_cast<size_t>(window_x)] = d.pixel_pitch * dilation;
  expected.stride[static_cast<size_t>(channel)] = 1;
  ConcreteAffine row_only, column_only;
  row_only.stride[static_cast<size_t>(y)] = row_step;
  row_only.stride[static_cast<size_t>(window_y)] = row_dilation;
  column_only.stride[static_cast<size_t>(x)] = step;
  column_only.stride[static_cast<size_t>(window_x)] = dilation;
  if (expected.stride != at.stride || row_only.stride != row.stride ||
      column_only.stride != column.stride || d.top < 0 || d.left < 0)
    return;
  d.origin = at.offset + d.top * d.row_pitch + d.left * d.pixel_pitch;

  // Worth it where a pixel is in several windows and little is added to what there is.
  const int64_t windows = extent(window_y) * extent(window_x);
  const int64_t steps = SplitGemm::steps(d.channels);
  if (windows < 2 * row_step * step) return;
  if (steps * SplitGemm::kStep * kMostPadding > d.channels * (kMostPadding + 2)) return;
  d.padded_height = std::max(
      d.top + d.height, row_step * (extent(y) - 1) + row_dilation * (extent(window_y) - 1) + 1);
  d.padded_width =
      std::max(d.left + d.width, step * (extent(x) - 1) + dilation * (extent(window_x) - 1) + 1);
  const int64_t pixel_bytes = SplitGemm::pixel_bytes(d.channels);
  if (d.padded_height * d.padded_width * pixel_bytes > kImageBytes) return;
  for (int64_t i = 0; i < extent(window_y); ++i)
    for (int64_t j = 0; j < extent(window_x); ++j)
      for (int64_t s = 0; s < steps; ++s)
        d.offsets.push_back((i * row_dilation * d.padded_width + j * dilation) * pixel_bytes +
                            s * SplitGemm::pixel_bytes(1));

  // Rows of results follow each other evenly if the steps are 1: then a tile may go from one to the
  // next, and the results between them are thrown away.
  const int64_t width = extent(x), height = extent(y);
  const bool joined = step == 1 && row_step == 1;
  if (width < SplitGemm::kTileRows && !(joined && width > 8)) return;
  const int64_t line =
      joined ? d.padded_width : divide_up(width, SplitGemm::kTileRows) * SplitGemm::kTileRows;
  if (line * kMostPadding > width * (kMostPadding + 1)) return;
  for (int64_t first = 0; first < (height - 1) * line + width; first += SplitGemm::kTileRows) {
    Direct::Tile tile{};
    tile.pixel = joined ? first : first / line * row_step * d.padded_width + first % line * step;
    for (int64_t p = first; p < first + SplitGemm::kTileRows && p / line < height;) {
      const int64_t in_line = p % line;
      const int64_t end = std::min(first + SplitGemm::kTileRows, p - in_line + line);
      if (in_line < width) {
        if (tile.count == 2) return;
        tile.segments[tile.count++] = {static_cast<int>(p - first),
                                       static_cast<int>(std::min(end - p, width - in_line)),
                                       p / line * width + in_line};
      }
      p = end;
    }
    if (tile.count) d.tiles.push_back(tile);
  }
  direct = std::move(d);
}

// False if some pixel cannot be split.
bool ContractionKernel::Impl::split_image(ThreadPool& pool, void* const* lhs_buffers,
                                          char* image) const {
  const Direct& d = *direct;
  const int64_t pixel_bytes = SplitGemm::pixel_bytes(d.channels);
  const auto* source =
      static_cast<const float*>(lhs_buffers[lhs.kernel.pure_load()->buffer]) + d.origin;
  std::atomic<bool> all_split = true;
  constexpr int64_t kRows = 4;  // in a task
  pool.run(divide_up(d.padded_height, kRows), [&](int64_t task) {
    for (int64_t y = task * kRows; y < std::min(d.padded_height, (task + 1) * kRows); ++y) {
      char* row = image + y * d.padded_width * pixel_bytes;
      const auto clear = [&](int64_t begin, int64_t end) {
        std::memset(row + begin * pixel_bytes, 0, static_cast<size_t>((end - begin) * pixel_bytes));
      };
      if (y < d.top || y >= d.top + d.height) {
        clear(0, d.padded_width);
        continue;
      }
      clear(0, d.left);
      if (!split->split_pixels(row + d.left * pixel_bytes, pixel_bytes,
                               source + (y - d.top) * d.row_pitch, d.pixel_pitch, d.width,
                               d.channels))
        all_split = false;
      clear(d.left + d.width, d.padded_width);
    }
  });
  return all_split;
}

// A panel, every tap's channels padded by themselves as those of the image are.
bool ContractionKernel::Impl::split_taps(char* split_b, const char* packed, int64_t panel) const {
  const Direct& d = *direct;
  const auto* b = reinterpret_cast<const float*>(packed + panel * panel_bytes());
  bool splits = true;
  for (int64_t tap = 0; tap < d.taps(); ++tap)
    splits &= split->split_b(split_b + tap * SplitGemm::panel_bytes(d.channels),
                             b + gemm.panel_offset(tap * d.channels), d.channels);
  return splits;
}

void ContractionKernel::Impl::run_direct_panel(const char* image, const char* split_b,
                                               int64_t panel, int64_t tile_first, int64_t tile_last,
                                               void* const* epilogue_buffers) const {
  const Direct& d = *direct;
  const int64_t n_first = first_column(panel), pixel_bytes = SplitGemm::pixel_bytes(d.channels);
  std::optional<Registers> r;
  if (simple) r = registers(0, 0, n_first, epilogue_buffers);
  SplitGemm::PixelRows rows{.row_bytes = d.step * pixel_bytes,
                            .offsets = d.offsets.data(),
                            .steps = static_cast<int64_t>(d.offsets.size()),
                            .b = split_b,
                            .cols = columns(panel)};
  alignas(64) float product[SplitGemm::kRows * SplitGemm::kCols];
  const auto finish = [&](const Direct::Segment& segment, const float* tile) {
    const float* from = tile + segment.row * SplitGemm::kCols;
    if (!simple)
      return run_epilogue(from, SplitGemm::kCols, 0, segment.m, segment.rows, n_first, rows.cols,
                          epilogue_buffers);
    GemmEpilogue here = r->epilogue;
    if (here.residual) here.residual += segment.m * here.residual_stride;
    finish_tile({.rows = segment.rows,
                 .cols = rows.cols,
                 .c = r->c + segment.m * r->c_stride,
                 .c_stride = r->c_stride,
                 .epilogue = &here},
                from, SplitGemm::kCols);
  };
  for (int64_t t = tile_first; t < tile_last; t += 2) {
    const int both = t + 1 < tile_last ? 2 : 1;
    for (int i = 0; i < 2; ++i)
      rows.first[i] =
          image + d.tiles[static_cast<size_t>(t + (i < both ? i : 0))].pixel * pixel_bytes;
    split->multiply_pixels(rows, product);
    for (int i = 0; i < both; ++i) {
      const Direct::Tile& tile = d.tiles[static_cast<size_t>(t + i)];
      for (int s = 0; s < tile.count; ++s)
        finish(tile.segments[s], product + i * SplitGemm::kTileRows * SplitGemm::kCols);
    }
  }
}

// False, with rubbish in the results, if the image or a panel cannot be split.
bool ContractionKernel::Impl::run_direct(ThreadPool& pool, void* const* lhs_buffers,
                                         const char* packed, void* const* epilogue_buffers) const {
  const Direct& d = *direct;
  // Tiles read beyond the image where they end beyond the last row of results.
  const int64_t pixels = d.padded_height * d.padded_width + SplitGemm::kTileRows * d.step;
  auto* image = static_cast<char*>(thread_scratch(
      ScratchSlot::lhs_operand, static_cast<size_t>(pixels * SplitGemm::pixel_bytes(d.channels))));
  if (!split_image(pool, lhs_buffers, image)) return false;
  std::atomic<bool> all_split = true;
  const auto tiles = static_cast<int64_t>(d.tiles.size());
  if (panels() * d.panel_bytes() <= kPanelsBytes && tiles >= 2 * kTilesPerTask) {
    auto* split_b = static_cast<char*>(
        thread_scratch(ScratchSlot::split_panels, static_cast<size_t>(panels() * d.panel_bytes())));
    pool.run(panels(), [&](int64_t panel) {
      if (!split_taps(split_b + panel * d.panel_bytes(), packed, panel)) all_split = false;
    });
    if (!all_split) return false;
    pool.run(divide_up(tiles, kTilesPerTask), [&](int64_t task) {
      const GemmScope scope(*split);
      const int64_t first = task * kTilesPerTask, last = std::min(tiles, first + kTilesPerTask);
      for (int64_t panel = 0; panel < panels(); ++panel)
        run_direct_panel(image, split_b + panel * d.panel_bytes(), panel, first, last,
                         epilogue_buffers);
    });
    return true;
  }
  pool.run(panels(), [&](int64_t panel) {
    auto* split_b = static_cast<char*>(
        thread_scratch(ScratchSlot::split_panel, static_cast<size_t>(d.panel_bytes())));
    if (!split_taps(split_b, packed, panel)) return void(all_split = false);
    const GemmScope scope(*split);
    run_direct_panel(image, split_b, panel, 0, tiles, epilogue_buffers);
  });
  return all_split;
}

}  // namespace onrush::cpu
