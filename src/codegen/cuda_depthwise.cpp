#include "codegen/cuda_depthwise.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "codegen/cuda_operand.h"
#include "codegen/cuda_writer.h"
#include "codegen/merge_axes.h"

namespace onrush {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = 8;  // channels in 16 bytes
constexpr int64_t kLargestTaps = 9;
// Small windows over more elements than these for each multiprocessor are left to single threads:
// measured on an H200.
constexpr int64_t kSmallWindow = 48, kManyElements = 48 << 10;

// The axes of a convolution of each channel by itself.
struct Window {
  int channel, y, x, taps_y, taps_x;
  std::vector<int> images;
  int height = 0, width = 0, stride = 0;  // of the window
};

std::optional<Window> window_of(const CudaContraction& c) {
  if (!c.direct || c.sum != DType::f32) return std::nullopt;
  if (c.math != ContractionMath::f16 && c.math != ContractionMath::bf16) return std::nullopt;
  const auto axes = [&](int kind) { return axes_of(c.epilogue, kind); };
  const std::vector<int> channels = axes(CudaContraction::batch), m = axes(CudaContraction::m),
                         k = axes(CudaContraction::k);
  if (channels.size() != 1 || m.size() < 2 || k.size() != 2) return std::nullopt;
  if (!axes(CudaContraction::n).empty()) return std::nullopt;
  Window w{channels[0], m[m.size() - 2], m.back(), k[0], k[1], {m.begin(), m.end() - 2}};
  const auto taps = [&](int axis) {
    const Dim extent = c.lhs.loops.axes[static_cast<size_t>(axis)].extent;
    return extent.is_constant() && extent.value() <= kLargestTaps ? static_cast<int>(extent.value())
                                                                  : 0;
  };
  w.height = taps(w.taps_y), w.width = taps(w.taps_x);
  if (!w.height || !w.width) return std::nullopt;
  for (const int stride : {1, 2})
    if (moves_alike(c.lhs.loops, w.y, w.taps_y, stride) &&
        moves_alike(c.lhs.loops, w.x, w.taps_x, stride))
      w.stride = stride;
  if (!w.stride) return std::nullopt;
  // Channels are neighbours, read and written by 16 bytes.
  const auto along_channels = [&](const Affine& address) {
    return same(stride_of(address, w.channel), 1);
  };
  for (const LoopValue& value : c.lhs.loops.body)
    if (const auto* load = std::get_if<LoadValue>(&value.data))
      if (!load->dynamic.empty()) return std::nullopt;
  for (const Store& store : c.epilogue.loops.stores)
    if (!along_channels(store.address)) return std::nullopt;
  return w;
}

struct Sizes {
  int64_t images, height, width, channels;
};
Sizes sizes_of(const CudaContraction& c, const Window& w, const SizeTable& sizes) {
  const auto extent = [&](int axis) {
    return sizes(c.lhs.loops.axes[static_cast<size_t>(axis)].extent);
  };
  return {extent_of(c.lhs.loops, w.images).at(sizes), extent(w.y), extent(w.x), extent(w.channel)};
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// As in device/depthwise.cuh.
int64_t staged_height(const Window& w, const DepthwiseTiles& t) {
  return int64_t{t.y * t.rows - 1} * w.stride + w.height;
}
int64_t staged_width(const Window& w, const DepthwiseTiles& t) {
  return 8 * (int64_t{w.stride} * (t.x - 1) + w.stride + 1);
}
int64_t shared_bytes(const Window& w, const DepthwiseTiles& t) {
  const int64_t elements = t.images * staged_height(w, t) * staged_width(w, t) * 2;
  const int64_t sums = int64_t{t.x} * t.y * t.images * t.rows * 8 * 4;
  return t.channels * (std::max(elements, sums) + w.height * w.width * 2) +
         t.channels / kVector * 64;
}
int64_t blocks_of(const Sizes& s, const DepthwiseTiles& t) {
  return divide_up(s.channels, t.channels) * divide_up(s.width, 8 * t.x) *
         divide_up(s.height, t.rows * t.y) * divide_up(s.images, t.images);
}

// Microseconds, about.
double time_of(const Window& w, const Sizes& s, const DepthwiseTiles& t, const CudaTarget& target) {
  const double steps = static_cast<double>((t.rows - 1) * w.stride + w.height);
  const double groups = static_cast<double>(t.channels) / kVector;
  const double staged =
      static_cast<double>(t.images * staged_height(w, t) * staged_width(w, t) / 2);
  const double results = t.rows * t.x * t.y * t.images * 8.0;
  // Instructions of a warp: of the whole block, for an element, a channel and a result.
  const double products = t.channels * t.rows * w.height * w.stride;
  const double all =
      kThreads / 32 * 230 + staged * groups * 70 / 32 + products +
      t.channels * (steps * w.stride * 1.3 + w.height * (w.stride + 1) * 4 + t.rows * 8 + 60) +
      results * groups * 58 / 32;
  const double each = std::ceil(static_cast<double>(blocks_of(s, t)) / target.multiprocessors);
  const double together = std::clamp(
      std::floor(227.0 * 1024 / static_cast<double>(shared_bytes(w, t) + 1024)), 1.0, 4.0);
  const double issue = each * (all / 3 + products);
  const double latency = std::ceil(each / together) * 2000 + each * 1500 + all / 4;
  const double traffic = each * (staged * 2 + results) * 2 * t.channels / 24;
  return std::max({issue, latency, traffic}) / 1700;
}

}  // namespace

std::vector<DepthwiseTiles> depthwise_tiles(const CudaContraction& c, const PrintSizes& sizes,
                                            const CudaTarget& target) {
  const std::optional<Window> w = window_of(c);
  if (!w) return {};
  const Sizes s = sizes_of(c, *w, sizes);
  const Dim channels_dim = c.lhs.loops.axes[static_cast<size_t>(w->channel)].extent;
  if (!sizes.divides(channels_dim, kVector)) return {};
  const int64_t elements = s.images * s.height * s.width * s.channels * w->stride * w->stride;
  if (w->height * w->width <= kSmallWindow && elements > target.multiprocessors * kManyElements)
    return {};
  std::vector<std::pair<double, DepthwiseTiles>> found;
  for (const int channels : {8, 16})
    for (const int rows : {8, 7, 4, 2})
      for (const int most : {16, 8, 4, 2}) {
        if (channels >= s.channels + kVector || rows >= s.height + 4) continue;
        const int64_t across = divide_up(s.width, 8), down = divide_up(s.height, rows);
        const int64_t x = divide_up(across, divide_up(across, most));
        const int64_t y = divide_up(down, divide_up(down, std::max<int64_t>(1, most / x)));
        const int64_t images = std::clamp<int64_t>(most / (x * y), 1, s.images);
        const DepthwiseTiles t{rows, static_cast<int>(x), static_cast<int>(y),
                               static_cast<int>(images), channels};
        // A thread has a column of elements, and one of results.
        if (staged_width(*w, t) / 2 * t.channels / kVector > kThreads ||
            t.x * t.channels > kThreads)
          continue;
        if (shared_bytes(*w, t) > kSharedBytes) continue;
        found.emplace_back(time_of(*w, s, t, target), t);
      }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<DepthwiseTiles> tiles;
  for (const auto& [time, t] : found) tiles.push_back(t);
  return tiles;
}

namespace {

class DepthwisePrinter {
 public:
  DepthwisePrinter(const CudaContraction& c, const PrintSizes& sizes, const DepthwiseTiles& tiles)
      : c_(c),
        window_(*window_of(c)),
        tiles_(tiles),
        w_(sizes),
        lanes_{window_.channel, kVector, 1, 0},
        lhs_(w_, c.lhs.loops, "l", lanes_, true),
        rhs_(w_, c.rhs.loops, "r"),
        epilogue_(w_, c.epilogue.loops, "v", lanes_) {}

  CudaKernel print() {
    internal_check(w_.divides(extent(window_.channel), kVector), "channels divide by 8");
    print_pixels();
    print_tap();
    print_epilogue();
    const auto parts = [](Extent of, int width) {
      of.width = width;
      return of;
    };
    const Extent of_images = parts(images(), tiles_.images),
                 of_height = parts(extent(window_.y), tiles_.rows * tiles_.y),
                 of_width = parts(extent(window_.x), 8 * tiles_.x),
                 of_channels = parts(extent(window_.channel), tiles_.channels);
    w_.line("const index block = (index)blockIdx.x;");
    w_.line(fmt::format("const index across = {};", w_.quotient("block", of_channels)));
    w_.line(fmt::format("const index down = {};", w_.quotient("across", of_width)));
    w_.line(fmt::format("const index image = {};", w_.quotient("down", of_height)));
    w_.line(fmt::format(
        "convolve_planes<{}, Planes<{}, {}, {}, {}, {}, {}, {}, {}>, {}>(pixels, tap, epilogue, "
        "image, down - image * {}, across - down * {}, block - across * {}, {}, {}, {}, {});",
        math(), window_.height, window_.width, window_.stride, tiles_.rows, tiles_.x, tiles_.y,
        tiles_.images, tiles_.channels, c_.packed, w_.size(of_height), w_.size(of_width),
        w_.size(of_channels), w_.size(images()), w_.size(extent(window_.y)),
        w_.size(extent(window_.x)), w_.size(extent(window_.channel))));
    CudaKernel kernel = w_.finish(kThreads);
    kernel.schedule = CudaSchedule::depthwise;
    kernel.work = of_images, kernel.m = of_height, kernel.n = of_width, kernel.k = of_channels;
    kernel.shared_bytes = shared_bytes(window_, tiles_);
    return kernel;
  }

 private:
  Dim extent(int axis) const { return c_.lhs.loops.axes[static_cast<size_t>(axis)].extent; }
  Extent images() const { return extent_of(c_.lhs.loops, window_.images); }
  std::string_view math() const { return c_.math == ContractionMath::f16 ? "F16Math" : "Bf16Math"; }
  void index(int axis, std::string_view value) {
    w_.line(fmt::format("const index a{} = {};", axis, value));
  }

  // What is read as it is stored: 16 bytes, or zeros outside of the image.
  const LoadValue* plain_load() {
    const ValueId id = c_.lhs.loops.stores[0].value;
    const auto* load = std::get_if<LoadValue>(&c_.lhs.loops.body[static_cast<size_t>(id)].data);
    if (!load || (!load->bounds.empty() && load->fill.f != 0)) return nullptr;
    if (c_.lhs.loops.buffers[static_cast<size_t>(load->buffer)].dtype != c_.factor) return nullptr;
    const bool bounded = std::ranges::any_of(load->bounds, [&](const Bound& bound) {
      return !same(stride_of(bound.index, window_.channel), 0);
    });
    return !bounded && lhs_.adjacent(load->address, {}) ? load : nullptr;
  }

  void print_pixels() {
    w_.open(
        "const auto pixels = [&](index image, index y, index x, index channel, bool valid) -> "
        "uint4");
    w_.split("image", window_.images, c_.lhs.loops.axes);
    index(window_.channel, "channel");
    // The first result's window moves through the image.
    index(window_.y, "0"), index(window_.x, "0");
    index(window_.taps_y, "y"), index(window_.taps_x, "x");
    if (const LoadValue* load = plain_load()) {
      if (!load->bounds.empty())
        w_.line(fmt::format("valid = valid && {};", w_.holds(load->bounds)));
      w_.line("uint4 eight = make_uint4(0, 0, 0, 0);");
      w_.line(fmt::format("if (valid) eight = *(const uint4*)({} + ({}));",
                          lhs_.buffer(load->buffer), w_.affine(load->address)));
      w_.line("return eight;");
    } else {
      w_.line("if (!valid) return make_uint4(0, 0, 0, 0);");
      lhs_.define_all();
      const ValueId id = c_.lhs.loops.stores[0].value;
      const auto pair = [&](int first) {
        const auto lane = [&](int j) {
          return lhs_.name_of(id) + (lhs_.varies(id) ? fmt::format("[{}]", j) : "");
        };
        return fmt::format("{}::pair({}, {})", math(), lane(first), lane(first + 1));
      };
      w_.line(
          fmt::format("return make_uint4({}, {}, {}, {});", pair(0), pair(2), pair(4), pair(6)));
    }
    w_.close("};");
  }

  void print_tap() {
    w_.open("const auto tap = [&](index channel, index y, index x) -> float");
    for (const int axis : window_.images) index(axis, "0");
    index(window_.channel, "channel");
    index(window_.y, "0"), index(window_.x, "0");
    index(window_.taps_y, "y"), index(window_.taps_x, "x");
    rhs_.define_all();
    w_.line(fmt::format("return {};", rhs_.name_of(c_.rhs.loops.stores[0].value)));
    w_.close("};");
  }

  void print_epilogue() {
    w_.open(
        "const auto epilogue = [&](index image, index y, index x, index channel, const float "
        "(&accumulator)[8])");
    w_.split("image", window_.images, c_.epilogue.loops.axes);
    index(window_.channel, "channel");
    index(window_.y, "y"), index(window_.x, "x");
    epilogue_.define_all();
    epilogue_.store_all();
    w_.close("};");
  }

  const CudaContraction& c_;
  Window window_;
  DepthwiseTiles tiles_;
  Writer w_;
  Lanes lanes_;
  Body lhs_, rhs_, epilogue_;
};

}  // namespace

CudaKernel print_depthwise(const CudaContraction& c, const PrintSizes& sizes,
                           const DepthwiseTiles& tiles) {
  return DepthwisePrinter(c, sizes, tiles).print();
}

}  // namespace onrush
