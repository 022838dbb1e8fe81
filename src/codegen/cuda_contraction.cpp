// Contractions as kernels: on tiles, or by single threads.
#include <algorithm>

#include "base/check.h"
#include "codegen/cuda_depthwise.h"
#include "codegen/cuda_operand.h"
#include "codegen/cuda_source.h"
#include "codegen/cuda_tiles.h"
#include "codegen/cuda_writer.h"
#include "codegen/merge_axes.h"

namespace onrush {
namespace {

using Part = CudaContraction::Part;

// The dtype of the compute type of a dtype.
DType compute_dtype(DType dtype) {
  if (dtype == DType::f64 || dtype == DType::u64) return dtype;
  if (is_float(dtype)) return DType::f32;
  return dtype == DType::i64 || dtype == DType::u32 ? DType::i64 : DType::i32;
}

DType factor_of(ContractionMath math, DType sum) {
  switch (math) {
    case ContractionMath::f16: return DType::f16;
    case ContractionMath::bf16: return DType::bf16;
    case ContractionMath::tf32: return DType::f32;
    case ContractionMath::scalar: return sum;
  }
  internal_error("all kinds of products have a factor type");
}

int64_t product(const Loops& loops, const std::vector<int>& axes) {
  int64_t product = 1;
  for (int axis : axes) product *= loops.axes[static_cast<size_t>(axis)].extent.value();
  return product;
}

// Row-major strides of `axes` whose innermost one has stride `inner`.
void add_strides(Affine& address, const Loops& loops, const std::vector<int>& axes, int64_t inner) {
  for (size_t i = axes.size(); i-- > 0;) {
    Affine term;
    term.terms.emplace_back(axes[i], Dim(inner));
    address = address + term;
    inner *= loops.axes[static_cast<size_t>(axes[i])].extent.value();
  }
}

// The axis along which the left operand's memory is contiguous becomes the last of k, and counts as
// a multiple of 16 bytes: images with few channels are then read by pieces as well. The factors
// that are too many are zeros in the packed copy.
void arrange_k(CudaContraction& c, Contraction& source) {
  const Part lhs{source.lhs, kinds_of(source)};
  const std::vector<int> k = axes_of(lhs, CudaContraction::k);
  if (k.empty()) return;
  int contiguous = k.back();
  for (const LoopValue& value : source.lhs.body)
    if (const auto* load = std::get_if<LoadValue>(&value.data))
      for (const auto& [axis, stride] : load->address.terms)
        if (axis >= k[0] && same(stride, 1)) contiguous = axis;
  const int64_t piece = 16 / static_cast<int64_t>(byte_size(c.factor, 1));
  const int64_t extent = source.lhs.axes[static_cast<size_t>(contiguous)].extent.value();
  if (extent % piece == 0 && contiguous == k.back()) return;
  std::vector<int> to;
  for (int i = 0; i < static_cast<int>(source.lhs.axes.size()); ++i)
    to.push_back(i == contiguous ? k.back() : i > contiguous ? i - 1 : i);
  for (Loops* loops : {&source.lhs, &source.rhs, &source.epilogue}) permute_axes(*loops, to);
  // One long row of k needs no padding: its last piece is read element by element.
  if (extent % piece && k.size() > 1) c.padded_k = (extent + piece - 1) / piece * piece;
}

// Makes the right operand a plain read of a packed copy: rows of k, padded to 16 bytes, for each
// batch and n; or, if direct, all n and batches side by side for each k.
void pack(CudaContraction& c, const Contraction& source) {
  Part original{source.rhs, kinds_of(source)};
  Loops& shape = original.loops;
  if (c.padded_k) shape.axes.back().extent = c.padded_k;
  const auto of_kind = [&](int kind) { return axes_of(original, kind); };
  const int64_t batch = product(shape, of_kind(CudaContraction::batch));
  const int64_t n = product(shape, of_kind(CudaContraction::n));
  const int64_t k = product(shape, of_kind(CudaContraction::k));
  const int64_t piece = std::max<int64_t>(1, 16 / static_cast<int64_t>(byte_size(c.factor, 1)));
  const int64_t row = (k + piece - 1) / piece * piece;

  Affine to;
  if (c.direct) {
    add_strides(to, shape, of_kind(CudaContraction::n), 1);
    add_strides(to, shape, of_kind(CudaContraction::batch), n);
    add_strides(to, shape, of_kind(CudaContraction::k), n * batch);
  } else {
    add_strides(to, shape, of_kind(CudaContraction::k), 1);
    add_strides(to, shape, of_kind(CudaContraction::n), row);
    add_strides(to, shape, of_kind(CudaContraction::batch), n * row);
  }
  c.packed_count = c.direct ? k * n * batch : batch * n * row;
  uint64_t used = 0;
  for (const auto& [axis, stride] : to.terms) used |= uint64_t{1} << axis;

  // The copy's kernel ranges over the axes of the weights only.
  c.packing = source.rhs;
  for (size_t i = 0; i < c.packing.axes.size(); ++i)
    if (!(used >> i & 1)) c.packing.axes[i].extent = 1;
  const LoopBuffer copy{c.factor, NodeId{}};
  c.packing.buffers.push_back(copy);
  c.packing.stores[0].buffer = static_cast<int>(c.packing.buffers.size()) - 1;
  c.packing.stores[0].address = to;

  Loops& loops = c.rhs.loops;
  loops = shape;
  loops.buffers = {copy};
  loops.body = {{LoadValue{0, to, {}, {}, {0, 0}}, c.factor, used}};
  loops.stores = {{-1, {}, 0}};
  c.rhs.kinds = kinds_of(source);
  if (!c.direct) c.rhs.kinds = merge_axes(loops, c.rhs.kinds);
  c.packed = true;
}

constexpr int64_t kDirectColumns = 4, kDirectDepth = 128;
// Direct kernels of fewer threads of a multiprocessor for each row of the window share sums.
constexpr int64_t kSlicedThreads = 32, kMostSlicedThreads = 512;

std::string math_type(const CudaContraction& c, bool group) {
  switch (c.math) {
    case ContractionMath::f16: return group ? "F16GroupMath" : "F16Math";
    case ContractionMath::bf16: return group ? "Bf16GroupMath" : "Bf16Math";
    case ContractionMath::tf32: return "Tf32Math";
    case ContractionMath::scalar: break;
  }
  return fmt::format("ScalarMath<{}>", cuda_compute_type(c.sum));
}

// What a block takes for 128 x 128 results besides storing them, in microseconds as measured on an
// H200.
double time_after(const CudaContraction& c) {
  constexpr double kMatrix = 2, kFunction = 1.6;
  uint64_t rows = 0, columns = 0;
  for (const int axis : axes_of(c.epilogue, CudaContraction::m)) rows |= uint64_t{1} << axis;
  for (const int axis : axes_of(c.epilogue, CudaContraction::n)) columns |= uint64_t{1} << axis;
  double matrices = 0, functions = 0;
  for (const LoopValue& value : c.epilogue.loops.body) {
    if (std::holds_alternative<LoadValue>(value.data))
      matrices += (value.axes & rows) && (value.axes & columns);
    const auto* op = std::get_if<OpValue>(&value.data);
    functions += op && op->op >= Op::exp && op->op <= Op::sigmoid;  // in the order of ops.def
  }
  return kMatrix * matrices + kFunction * functions;
}

CudaOperand left_of(const CudaContraction& c) {
  return {&c.lhs, CudaContraction::m, "Lhs", "l", c.factor, c.sum, false, c.padded_k};
}
CudaOperand right_of(const CudaContraction& c) {
  return {&c.rhs, CudaContraction::n, "Rhs", "r", c.factor, c.sum, c.packed};
}

// Whether operands and results are what blocks that stay can take.
bool fits_persistent(const CudaContraction& c, const PrintedEpilogue& epilogue,
                     const PrintSizes& sizes) {
  if (c.math != ContractionMath::f16 && c.math != ContractionMath::bf16) return false;
  if (epilogue.along_m || 8 % epilogue.width) return false;
  Writer w(sizes);
  return tensor_map_of(w, left_of(c), 0) && tensor_map_of(w, right_of(c), 0);
}

// REQUIRES fits_persistent().
CudaKernel print_persistent(const CudaContraction& c, const PrintSizes& sizes,
                            const ContractionTile& tile) {
  Writer w(sizes);
  const auto map_of = [&](const CudaOperand& operand, int box_rows) {
    std::optional<CudaTensorMap> map = tensor_map_of(w, operand, box_rows);
    internal_check(map.has_value(), "the operand has a tensor map");
    map->buffer += w.add_buffers(operand.part->loops.buffers);
    return *map;
  };
  const CudaTensorMap left = map_of(left_of(c), tile.m / 2);
  CudaTensorMap right = map_of(right_of(c), tile.n / 2);
  const PrintedEpilogue epilogue = print_epilogue(w, c.epilogue, c.sum, true);
  // Lanes have whole pieces of results, or change them for such.
  right.by_lanes = epilogue.width > 2 && right.box_rows % 32 == 0 &&
                   axes_of(c.rhs, CudaContraction::batch).empty() &&
                   w.divides(right.rows.factors[0], 32);
  w.add_map(left);
  w.add_map(right);
  const auto extent = [&](int kind, int width) {
    Extent result = extent_of(c.epilogue, kind);
    result.width = width;
    return w.size(result);
  };
  w.line(fmt::format("contract_persistent<{}, {}, {}, {}, {}>(t0, t1, {}, {}, {}, {}, {}, {}, {});",
                     math_type(c, true), tile.n, tile.stages, c.packed, right.by_lanes,
                     epilogue.make, extent(CudaContraction::batch, 1),
                     extent(CudaContraction::m, tile.m), extent(CudaContraction::n, tile.n),
                     extent(CudaContraction::m, 1), extent(CudaContraction::n, 1),
                     w.size(extent_of(c.lhs, CudaContraction::k))));
  CudaKernel kernel = w.finish(tile.threads());
  kernel.tile = tile;
  return kernel;
}

CudaKernel print_tiles(const CudaContraction& c, const PrintSizes& sizes, const CudaTarget& target,
                       const TileChoice* choice) {
  Writer w(sizes);
  const PrintedOperand lhs = print_operand(w, left_of(c)), rhs = print_operand(w, right_of(c));
  const PrintedEpilogue epilogue = print_epilogue(w, c.epilogue, c.sum);
  const Extent batch = extent_of(c.epilogue, CudaContraction::batch),
               m = extent_of(c.epilogue, CudaContraction::m),
               n = extent_of(c.epilogue, CudaContraction::n);
  Extent k = extent_of(c.lhs, CudaContraction::k);
  if (c.padded_k) k.factors.back() = c.padded_k;
  const int factor_bytes = static_cast<int>(byte_size(c.factor, 1));
  const Grouping grouping = !target.warpgroups || lhs.across || rhs.across ? Grouping::none
                            : fits_persistent(c, epilogue, sizes)          ? Grouping::persistent
                                                                           : Grouping::blocks;
  const ContractionTile tile =
      choice ? choice->tile
             : choose_tile({batch.at(sizes), m.at(sizes), n.at(sizes), k.at(sizes), factor_bytes,
                            c.math, grouping, time_after(c)},
                           target);
  CudaKernel kernel;
  if (tile.persistent) {
    kernel = print_persistent(c, sizes, tile);
  } else {
    Extent tiles_m = m, tiles_n = n;
    tiles_m.width = tile.m, tiles_n.width = tile.n;
    w.line("const index tile = (index)cluster_of(blockIdx.x);");
    w.line(fmt::format("const index row = {};", w.quotient("tile", tiles_n)));
    w.line(fmt::format("const index batch = {};", w.quotient("row", tiles_m)));
    w.line(
        fmt::format("contract<{}, {}, {}, {}, {}, {}, {}, {}>({}, {}, {}, batch, row - batch * {}, "
                    "tile - row * {}, {}, {}, {});",
                    math_type(c, tile.group), tile.m, tile.n, tile.warps_m, tile.warps_n,
                    tile.warps_k, tile.chunks, tile.stages, lhs.make, rhs.make, epilogue.make,
                    w.size(tiles_m), w.size(tiles_n), w.size(m), w.size(n), w.size(k)));
    kernel = w.finish(tile.threads());
    kernel.tile = tile;
  }
  kernel.schedule = CudaSchedule::tile;
  kernel.work = batch;
  kernel.m = m, kernel.n = n, kernel.k = k;
  kernel.cluster = choice ? choice->cluster : 0;
  kernel.math = c.math;
  kernel.grouping = grouping;
  kernel.after_us = time_after(c);
  kernel.factor_bytes = factor_bytes;
  kernel.sum_bytes = static_cast<int>(byte_size(c.sum, 1));
  return kernel;
}

// A convolution of images that device/window.cuh computes: what it needs to know of the left
// operand.
struct Window {
  WindowAxes axes;
  int step_y, step_x;
  int64_t channels, taps_y, taps_x;
  int columns;  // of a block
  int64_t pieces(int64_t elements) const {
    return channels * taps_y * ((taps_x + elements - 1) / elements);
  }
};

// How far a step along `m` moves the window, in steps along `k`; 0: they have nothing in common.
int step_of(const Loops& loops, int m, int k) {
  for (int step = 1; step <= 16; ++step)
    if (moves_alike(loops, m, k, step)) return step;
  return 0;
}

// How many pixels a block of device/window.cuh computes: 16 in each of so many rows.
struct WindowTile {
  int warps, rows_each;
  int rows() const { return warps * rows_each; }
};
constexpr WindowTile kWindowTiles[] = {{8, 2}, {8, 1}, {4, 1}};

int64_t shared_bytes(const CudaContraction& c, const Window& window, const WindowTile& tile) {
  const auto bytes = static_cast<int64_t>(byte_size(c.factor, 1));
  const int64_t elements = 16 / bytes, word = 4 / bytes;
  const int64_t pitch = (window.pieces(elements) + 1) / 2 * 2 + 1;
  const int64_t row = 15 * window.step_x + (window.taps_x + elements - 1) / elements * elements;
  const int64_t height = int64_t{tile.rows() - 1} * window.step_y + window.taps_y;
  const int64_t read = window.columns * pitch * 16 +
                       window.channels * height * ((row + word - 1) / word * word) * bytes;
  return std::max(read, int64_t{tile.warps} * 16 * (window.columns + 8) * 4);
}

// Where k is short and its last axis is that of the taps along x, which images in the order of ONNX
// lead to: no operand is copied whole pieces at a time then.
std::optional<Window> find_window(const CudaContraction& c) {
  constexpr int64_t kMostPieces = 48;
  constexpr int kMostColumns = 64;
  if (c.math == ContractionMath::scalar || !c.packed) return {};
  const Loops& loops = c.lhs.loops;
  const std::vector<int> m = axes_of(c.lhs, CudaContraction::m),
                         k = axes_of(c.lhs, CudaContraction::k);
  if (!axes_of(c.lhs, CudaContraction::batch).empty() || m.size() < 2) return {};
  if (k.size() < 2 || k.size() > 3) return {};
  Window window = {{m[m.size() - 2], m.back(), -1, -1, k.back()}, 0, 0, 1, 1, 1, 0};
  WindowAxes& axes = window.axes;
  window.step_x = step_of(loops, axes.x, axes.tap_x);
  for (size_t i = 0; i + 1 < k.size(); ++i) {
    const int step = step_of(loops, axes.y, k[i]);
    if (step && axes.tap_y < 0) axes.tap_y = k[i], window.step_y = step;
    else axes.channel = k[i];
  }
  if (!window.step_x || axes.tap_y < 0 || (k.size() == 3 && axes.channel < 0)) return {};
  const auto extent = [&](int axis) {
    return loops.axes[static_cast<size_t>(axis)].extent.value();
  };
  window.taps_x = extent(axes.tap_x), window.taps_y = extent(axes.tap_y);
  if (axes.channel >= 0) window.channels = extent(axes.channel);
  if (window.pieces(16 / static_cast<int64_t>(byte_size(c.factor, 1))) > kMostPieces) return {};
  const Extent n = extent_of(c.rhs, CudaContraction::n);
  int64_t columns = 1;
  for (const Dim factor : n.factors) columns *= factor.value();
  const int64_t tiles = (columns + kMostColumns - 1) / kMostColumns;
  window.columns = static_cast<int>(((columns + tiles - 1) / tiles + 15) / 16 * 16);
  if (shared_bytes(c, window, std::end(kWindowTiles)[-1]) > kSharedBytes) return {};
  return window;
}

CudaKernel print_window(const CudaContraction& c, const Window& window, const PrintSizes& sizes,
                        const CudaTarget& target) {
  Writer w(sizes);
  const std::vector<int> m = axes_of(c.lhs, CudaContraction::m);
  const Extent rest = extent_of(c.lhs.loops, {m.begin(), m.end() - 2});
  const auto extent = [&](int axis, int width) {
    return Extent(c.lhs.loops.axes[static_cast<size_t>(axis)].extent, width);
  };
  Extent columns = extent_of(c.rhs, CudaContraction::n);
  columns.width = window.columns;
  const auto grid = [&](const WindowTile& tile) {
    return std::vector<Extent>{rest, extent(window.axes.y, tile.rows()), extent(window.axes.x, 16),
                               columns};
  };
  // Small patches where large ones have no room, or would leave multiprocessors idle.
  WindowTile tile = kWindowTiles[0];
  for (const WindowTile& smaller : kWindowTiles) {
    int64_t blocks = 1;
    for (const Extent& each : grid(tile)) blocks *= each.at(sizes);
    if (shared_bytes(c, window, tile) > kSharedBytes || blocks < 2 * target.multiprocessors)
      tile = smaller;
  }
  const std::string image = print_image(w, left_of(c), window.axes),
                    weights = print_operand(w, right_of(c)).make,
                    epilogue = print_epilogue(w, c.epilogue, c.sum).make;
  const std::vector<Extent> extents = grid(tile);
  w.line("const index tile = (index)blockIdx.x;");
  w.line(fmt::format("const index row = {};", w.quotient("tile", extents[3])));
  w.line(fmt::format("const index band = {};", w.quotient("row", extents[2])));
  w.line(fmt::format("const index rest = {};", w.quotient("band", extents[1])));
  w.line(fmt::format(
      "convolve_window<{}, {}, {}, {}, {}, {}, {}, {}, {}, {}>({}, {}, {}, rest, band - rest * {}, "
      "row - band * {}, tile - row * {}, {}, {}, {});",
      math_type(c, false), tile.warps, tile.rows_each, window.columns, window.channels,
      window.taps_y, window.taps_x, window.step_y, window.step_x,
      window.axes.channel >= 0 && window.axes.channel < window.axes.tap_y, image, weights, epilogue,
      w.size(extents[1]), w.size(extents[2]), w.size(extents[3]), w.size(extent(window.axes.y, 1)),
      w.size(extent(window.axes.x, 1)), w.size(extent_of(c.rhs, CudaContraction::n))));
  CudaKernel kernel = w.finish(32 * tile.warps);
  kernel.schedule = CudaSchedule::window;
  kernel.grid = extents;
  kernel.shared_bytes = shared_bytes(c, window, tile);
  return kernel;
}

// Neighbouring results along `m` that a thread computes from one walk along `k`: where a step along
// m moves the left operand like `ratio` steps along k, they share what they read.
struct Slide {
  int m = -1, k = -1;
  int ratio = 1;
  int count = 1;  // results
  int taps = 0;   // extent of k
};

Slide find_slide(const CudaContraction& c, const CudaTarget& target, int64_t vectors) {
  const std::vector<int> ms = axes_of(c.lhs, CudaContraction::m),
                         ks = axes_of(c.lhs, CudaContraction::k);
  if (ks.empty()) return {};
  const Axis& taps = c.lhs.loops.axes[static_cast<size_t>(ks.back())];
  if (!taps.extent.is_constant() || taps.extent.value() > 9) return {};
  for (int m : ms) {
    const Dim extent = c.lhs.loops.axes[static_cast<size_t>(m)].extent;
    if (!extent.is_constant()) continue;
    for (int ratio = 1; ratio <= 2; ++ratio) {
      if (!moves_alike(c.lhs.loops, m, ks.back(), ratio)) continue;
      // As many as still leave work for all multiprocessors.
      for (int count : {4, 7, 2})
        if (extent.value() % count == 0 && vectors / count >= int64_t{target.multiprocessors} * 128)
          return {m, ks.back(), ratio, count, static_cast<int>(taps.extent.value())};
    }
  }
  return {};
}

CudaKernel print_direct(const CudaContraction& c, const PrintSizes& sizes,
                        const CudaTarget& target) {
  Writer w(sizes);
  const Loops& loops = c.epilogue.loops;
  std::vector<int> results, ks = axes_of(c.epilogue, CudaContraction::k);
  for (size_t i = 0; i < loops.axes.size(); ++i)
    if (c.epilogue.kinds[i] != CudaContraction::k) results.push_back(static_cast<int>(i));
  Lanes lanes = store_lanes(w, loops, results);
  results = lanes_last(std::move(results), lanes);
  // Few results are spread over more threads.
  const int64_t all = extent_of(loops, results).at(sizes);
  while (lanes.width > 2 && all / lanes.width < int64_t{target.multiprocessors} * 512)
    lanes.width /= 2;
  Body lhs(w, c.lhs.loops, "l", lanes), rhs(w, c.rhs.loops, "r", lanes),
      epilogue(w, loops, "v", lanes);
  Extent work = extent_of(loops, results);
  work.width = lanes.width;
  const Slide slide = find_slide(c, target, work.at(sizes));
  work.width *= slide.count;
  std::vector<Axis> axes = loops.axes;
  if (slide.m >= 0) {
    Axis& axis = axes[static_cast<size_t>(slide.m)];
    axis.extent = axis.extent.value() / slide.count;
    ks.pop_back();
  }
  // Where these leave multiprocessors idle, more threads share each sum.
  const bool sliced =
      !ks.empty() &&
      work.at(sizes) <
          target.multiprocessors *
              std::min(kMostSlicedThreads,
                       kSlicedThreads * sizes(loops.axes[static_cast<size_t>(ks[0])].extent));
  const std::string type(cuda_compute_type(c.sum));
  const std::string left = lhs.element(c.lhs.loops.stores[0].value),
                    right = rhs.element(c.rhs.loops.stores[0].value);
  w.line("begin_dependent();");
  if (sliced) {
    w.open(fmt::format(
        "for (index w = (index)first_column(); w < column_limit({}); w += column_step())",
        w.size(work)));
    w.line(fmt::format("const bool active = w < {};", w.size(work)));
    w.line("const index column = active ? w : 0;");
  } else {
    w.open(fmt::format("for (index w = (index)first_element(); w < {}; w += (index)grid_step())",
                       w.size(work)));
  }
  w.split(sliced ? "column" : "w", results, axes, lanes);
  w.line(fmt::format("{} sums[{}] = {{}};", type, slide.count * lanes.count()));
  if (slide.m >= 0) w.line(fmt::format("const index first = a{} * {};", slide.m, slide.count));
  for (int axis : ks) {
    const Dim extent = loops.axes[static_cast<size_t>(axis)].extent;
    const std::string limit = w.size(extent);
    if (sliced && axis == ks[0]) {
      w.open(fmt::format("for (index a{0} = first_slice(); a{0} < {1}; a{0} += slice_step())", axis,
                         limit));
      continue;
    }
    const bool unroll =
        extent.is_constant() && extent.value() < (slide.m >= 0 && lanes.width > 2 ? 4 : 9);
    w.open(fmt::format("{0}for (index a{1} = 0; a{1} < {2}; ++a{1})", unroll ? "UNROLL " : "", axis,
                       limit));
  }
  if (slide.m < 0) {
    lhs.define_all();
    rhs.define_all();
    w.line(
        fmt::format("UNROLL for (int j = 0; j < {0}; ++j) sums[j] = multiply_add(({1}){2}, "
                    "({1}){3}, sums[j]);",
                    lanes.count(), type, left, right));
  } else {
    w.line(fmt::format("{} taps[{}][{}];", type, slide.taps, lanes.count()));
    w.open(fmt::format("UNROLL for (int t = 0; t < {}; ++t)", slide.taps));
    w.line(fmt::format("const index a{} = t;", slide.k));
    rhs.define_all();
    w.line(fmt::format("UNROLL for (int j = 0; j < {}; ++j) taps[t][j] = ({}){};", lanes.count(),
                       type, right));
    w.close();
    w.open(fmt::format("UNROLL for (int q = 0; q < {}; ++q)",
                       (slide.count - 1) * slide.ratio + slide.taps));
    w.line(fmt::format("const index a{} = first, a{} = q;", slide.m, slide.k));
    lhs.define_all();
    w.open(fmt::format("UNROLL for (int p = 0; p < {}; ++p)", slide.count));
    w.line(fmt::format("const int t = q - p * {};", slide.ratio));
    w.line(
        fmt::format("if (t >= 0 && t < {0}) UNROLL for (int j = 0; j < {1}; ++j) "
                    "sums[p * {1} + j] = multiply_add(({2}){3}, taps[t][j], sums[p * {1} + j]);",
                    slide.taps, lanes.count(), type, left));
    w.close();
    w.close();
  }
  for (size_t i = 0; i < ks.size(); ++i) w.close();
  if (sliced) w.line("column_reduce<Sum>(sums);");
  w.open(fmt::format("UNROLL for (int p = 0; p < {}; ++p)", slide.count));
  if (sliced) w.open("if (active && p % slice_step() == first_slice())");
  if (slide.m >= 0) w.line(fmt::format("const index a{} = first + p;", slide.m));
  w.line(fmt::format("{} accumulator[{}];", type, lanes.count()));
  w.line(fmt::format("UNROLL for (int j = 0; j < {0}; ++j) accumulator[j] = sums[p * {0} + j];",
                     lanes.count()));
  epilogue.define_all();
  epilogue.store_all();
  if (sliced) w.close();
  w.close();
  w.close();
  CudaKernel kernel = w.finish(256);
  kernel.schedule = sliced ? CudaSchedule::column : CudaSchedule::pointwise;
  kernel.work = work;
  if (!sliced) return kernel;
  kernel.reduced = loops.axes[static_cast<size_t>(ks[0])].extent;
  kernel.slice_rows = 1;
  return kernel;
}

}  // namespace

CudaContraction make_cuda_contraction(const Contraction& original, bool weights,
                                      ContractionMath f32_math, const SizeTable& sizes) {
  CudaContraction c;
  Contraction source = original;
  const std::vector<int> kinds = kinds_of(source);
  c.math = math_of(source, f32_math);
  c.sum = compute_dtype(source.accumulator);
  c.factor = factor_of(c.math, c.sum);
  const Part shared{source.epilogue, kinds};
  c.direct = extent_of(shared, CudaContraction::n).at(sizes) <= kDirectColumns &&
             extent_of(shared, CudaContraction::k).at(sizes) <= kDirectDepth;
  const auto constant = [&](int kind) {
    const std::vector<int> axes = axes_of(shared, kind);
    return std::all_of(axes.begin(), axes.end(), [&](int axis) {
      return source.rhs.axes[static_cast<size_t>(axis)].extent.is_constant();
    });
  };
  const bool packed = weights && constant(CudaContraction::batch) && constant(CudaContraction::n) &&
                      constant(CudaContraction::k);
  if (packed && !c.direct) arrange_k(c, source);
  const auto part = [&](const Loops& loops) {
    return c.direct || c.padded_k ? Part{loops, kinds} : merged(loops, kinds);
  };
  c.lhs = part(source.lhs);
  c.rhs = part(source.rhs);
  c.epilogue = c.direct ? Part{source.epilogue, kinds} : merged(source.epilogue, kinds);
  if (packed) pack(c, source);
  c.unmerged = std::move(source);
  return c;
}

bool has_tiles(const CudaContraction& c) { return !c.direct && !find_window(c); }

CudaKernel print_cuda(const CudaContraction& c, const PrintSizes& sizes, const CudaTarget& target,
                      const TileChoice* choice) {
  if (!c.direct) {
    const std::optional<Window> window = find_window(c);
    return window ? print_window(c, *window, sizes, target) : print_tiles(c, sizes, target, choice);
  }
  const std::vector<DepthwiseTiles> tiles = depthwise_tiles(c, sizes, target);
  CudaKernel kernel =
      tiles.empty() ? print_direct(c, sizes, target) : print_depthwise(c, sizes, tiles[0]);
  kernel.printed_for = parts_of(kernel, sizes);
  return kernel;
}

}  // namespace onrush
