#include "codegen/cuda_tiles.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <span>

namespace onrush {
namespace {

// A tile and the microseconds that it took on an H200, by a fit over 31 products of fp16 factors
// that is right to 7 % in the median: `start` once, `step` for each stage of k that a block goes
// through; where there are more blocks than multiprocessors, for each further round `round` and
// `round_step` for each of its stages; in a cluster `cluster` once and `member` for each block of
// it.
struct TimedTile {
  ContractionTile tile;
  double start, step, round, round_step, cluster, member;
};
constexpr TimedTile kTensorTiles[] = {
    {{128, 128, 2, 4, 1, 8, 3, false}, 2.97, 0.77, 3.29, 0.75, 0.96, 0.21},
    {{128, 64, 4, 2, 1, 8, 4, false}, 2.64, 0.53, 1.39, 0.43, 0.37, 0.27},
    {{64, 128, 2, 4, 1, 8, 4, false}, 2.35, 0.55, 1.24, 0.45, 0.44, 0.25},
    {{128, 32, 4, 1, 2, 8, 4, false}, 1.97, 0.50, 1.07, 0.31, 1.66, 0.21},
    {{64, 64, 2, 2, 2, 8, 4, false}, 2.01, 0.41, 0.90, 0.26, 1.56, 0.29},
    {{64, 32, 2, 1, 4, 8, 4, false}, 2.20, 0.27, 0.73, 0.17, 0.92, 0.18},
    {{32, 64, 1, 2, 4, 8, 4, false}, 2.36, 0.24, 0.76, 0.16, 0.56, 0.20},
    {{32, 32, 1, 2, 4, 8, 4, false}, 1.87, 0.18, 0.49, 0.10, 0.99, 0.18},
    {{16, 64, 1, 2, 4, 8, 4, false}, 1.71, 0.24, 0.53, 0.12, 0.96, 0.11},
    {{16, 32, 1, 1, 4, 8, 6, false}, 0.99, 0.19, 0.31, 0.06, 1.19, 0.06},
    {{128, 128, 8, 1, 1, 8, 3, true}, 3.38, 0.45, 2.15, 0.41, 0.95, 0.17},
    {{128, 128, 8, 1, 1, 8, 4, true}, 3.04, 0.46, 3.27, 0.54, 1.00, 0.18},
    {{128, 256, 8, 2, 1, 8, 4, true}, 4.10, 0.81, 4.51, 1.07, 1.17, 0.25},
    {{128, 64, 8, 1, 1, 8, 4, true}, 2.49, 0.34, 1.30, 0.32, 0.59, 0.23},
    {{64, 128, 4, 2, 1, 8, 4, true}, 2.34, 0.35, 1.19, 0.33, 0.58, 0.23},
    {{64, 128, 4, 1, 2, 8, 4, true}, 2.67, 0.31, 1.51, 0.32, 1.91, 0.28},
    {{64, 64, 4, 2, 1, 8, 4, true}, 1.77, 0.30, 0.75, 0.21, 0.81, 0.28},
    {{64, 64, 4, 1, 2, 8, 4, true}, 2.04, 0.29, 0.91, 0.20, 1.34, 0.34},
    {{64, 32, 4, 1, 2, 8, 6, true}, 1.60, 0.26, 0.59, 0.17, 0.99, 0.23},
    // `step` for each tile that a pair of blocks takes.
    {{256, 192, 8, 1, 1, 8, 5, true, true}, 1.5, 0.537, 0, 0, 0, 0},
    {{256, 128, 8, 1, 1, 8, 6, true, true}, 1.5, 0.365, 0, 0, 0, 0},
    {{256, 96, 8, 1, 1, 8, 6, true, true}, 1.5, 0.34, 0, 0, 0, 0},
    {{256, 64, 8, 1, 1, 8, 8, true, true}, 1.5, 0.31, 0, 0, 0, 0},
};
constexpr TimedTile kScalarTiles[] = {
    {{64, 64, 8, 1, 1, 4, 3, false}, 3, 0.4, 1, 0.4, 1, 0.2},
    {{32, 32, 8, 1, 1, 4, 3, false}, 2, 0.15, 0.4, 0.14, 1, 0.2},
};

std::span<const TimedTile> timed_tiles(ContractionMath math) {
  if (math == ContractionMath::scalar) return kScalarTiles;
  return kTensorTiles;
}

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

struct Plan {
  const TimedTile* timed = nullptr;  // not null once chosen
  int cluster = 1;
  double time = INFINITY;
};

// Stages of k that one tile takes.
int64_t steps_of(const ContractionTile& tile, const ContractionSize& size) {
  return divide_up(size.k * size.factor_bytes, tile.chunks * 16);
}
int64_t tiles_of(const ContractionTile& tile, const ContractionSize& size) {
  return size.batch * divide_up(size.m, tile.m) * divide_up(size.n, tile.n);
}

// For each number of blocks that may share a tile.
std::vector<Plan> plans_of_tile(const TimedTile& timed, const ContractionSize& size,
                                const CudaTarget& target) {
  std::vector<Plan> plans;
  const int64_t tiles = tiles_of(timed.tile, size), steps = steps_of(timed.tile, size);
  if (timed.tile.persistent) {
    const int pairs = std::max(1, target.multiprocessors / 2);
    // Of the two groups one stores while the other multiplies.
    constexpr double kStore = 1.4;
    const double multiply = timed.step * static_cast<double>(steps),
                 after = (kStore + size.after_us) * timed.tile.n / 128,
                 a_tile = std::max(multiply, (multiply + after) / 2);
    return {
        {&timed, 2, timed.start + static_cast<double>(divide_up(tiles, pairs)) * a_tile + after}};
  }
  const double after = size.after_us * timed.tile.m * timed.tile.n / (128 * 128);
  for (int cluster = 1; cluster <= (target.clusters ? 8 : 1); cluster *= 2) {
    if (cluster > 1 && (tiles * cluster > 2 * target.multiprocessors || steps < 2 * cluster)) break;
    const auto own = static_cast<double>(divide_up(steps, cluster));
    const auto rounds = static_cast<double>(divide_up(tiles * cluster, target.multiprocessors) - 1);
    const double shared = cluster > 1 ? timed.cluster + timed.member * cluster : 0;
    const double time = timed.start + timed.step * own +
                        rounds * (timed.round + timed.round_step * own + after / cluster) + shared;
    plans.push_back({&timed, cluster, time});
  }
  return plans;
}

Plan plan_tile(const TimedTile& timed, const ContractionSize& size, const CudaTarget& target) {
  const std::vector<Plan> plans = plans_of_tile(timed, size, target);
  return *std::min_element(plans.begin(), plans.end(),
                           [](const Plan& a, const Plan& b) { return a.time < b.time; });
}

bool can_multiply(const TimedTile& timed, const ContractionSize& size, const CudaTarget& target) {
  if (timed.tile.persistent)
    return target.warpgroups && size.grouping == Grouping::persistent && size.k > 0;
  return !timed.tile.group ||
         (size.grouping != Grouping::none && size.math != ContractionMath::tf32);
}

Plan plan_tiles(const ContractionSize& size, const CudaTarget& target) {
  Plan best;
  for (const TimedTile& timed : timed_tiles(size.math)) {
    if (!can_multiply(timed, size, target)) continue;
    const Plan plan = plan_tile(timed, size, target);
    if (plan.time < best.time) best = plan;
  }
  return best;
}

Plan plan_kernel(const CudaKernel& kernel, const ContractionSize& size, const CudaTarget& target) {
  for (const TimedTile& timed : timed_tiles(kernel.math))
    if (timed.tile == kernel.tile) return plan_tile(timed, size, target);
  return {};
}

ContractionSize size_of(const CudaKernel& kernel, const SizeTable& sizes) {
  return {kernel.work.at(sizes), kernel.m.at(sizes), kernel.n.at(sizes), kernel.k.at(sizes),
          kernel.factor_bytes,   kernel.math,        kernel.grouping,    kernel.after_us};
}

}  // namespace

ContractionTile choose_tile(const ContractionSize& size, const CudaTarget& target) {
  return plan_tiles(size, target).timed->tile;
}

std::vector<ContractionTile> tiles_for(ContractionMath math) {
  std::vector<ContractionTile> tiles;
  for (const TimedTile& timed : timed_tiles(math)) tiles.push_back(timed.tile);
  return tiles;
}

std::vector<TileChoice> best_choices(const CudaKernel& kernel, const SizeTable& sizes,
                                     const CudaTarget& target, size_t count, size_t tiles) {
  constexpr double kWorthMeasuring = 1.7;
  const ContractionSize size = size_of(kernel, sizes);
  std::vector<Plan> plans;
  for (const TimedTile& timed : timed_tiles(size.math))
    if (can_multiply(timed, size, target))
      for (const Plan& plan : plans_of_tile(timed, size, target)) plans.push_back(plan);
  std::stable_sort(plans.begin(), plans.end(),
                   [](const Plan& a, const Plan& b) { return a.time < b.time; });
  std::vector<TileChoice> choices;
  std::vector<const TimedTile*> taken;
  for (const Plan& plan : plans) {
    if (choices.size() == count || plan.time > kWorthMeasuring * plans[0].time) break;
    if (std::find(taken.begin(), taken.end(), plan.timed) == taken.end()) {
      if (taken.size() == tiles) continue;
      taken.push_back(plan.timed);
    }
    choices.push_back({plan.timed->tile, plan.cluster});
  }
  return choices;
}

TileChoice choice_of(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target) {
  const int cluster =
      kernel.cluster ? kernel.cluster : plan_kernel(kernel, size_of(kernel, sizes), target).cluster;
  return {kernel.tile, cluster};
}

std::string tile_text(const TileChoice& choice) {
  std::string text = fmt::format("tiles of {} x {}", choice.tile.m, choice.tile.n);
  if (choice.tile.persistent) text += ", one after the other";
  if (choice.cluster > 1) text += fmt::format(" in clusters of {}", choice.cluster);
  return text;
}

bool tile_fits(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target) {
  constexpr double kWorthAnotherKernel = 1.5;
  const ContractionSize size = size_of(kernel, sizes);
  return plan_kernel(kernel, size, target).time <=
         kWorthAnotherKernel * plan_tiles(size, target).time;
}

CudaLaunch launch_tiles(const CudaKernel& kernel, const SizeTable& sizes,
                        const CudaTarget& target) {
  const ContractionTile& tile = kernel.tile;
  const ContractionSize size = size_of(kernel, sizes);
  if (tile.persistent) {
    const int64_t pairs = std::min<int64_t>(tiles_of(tile, size), target.multiprocessors / 2);
    // A block has half of the left operand's rows.
    const int64_t stage = int64_t{tile.m / 2 + tile.n} * tile.chunks * 16, barriers = 2 * 8;
    const int64_t rows = int64_t{tile.warps_m} * 8 * 33 * kernel.sum_bytes;  // of a warp each
    return {2 * pairs, tile.threads(), 1, 2, tile.stages * (stage + barriers) + barriers + rows};
  }
  const int cluster = choice_of(kernel, sizes, target).cluster;
  // Stages that are never filled take no memory.
  const int64_t filled =
      std::clamp<int64_t>(divide_up(steps_of(tile, size), cluster), 1, tile.stages);
  const int64_t staged = filled * (tile.m + tile.n) * tile.chunks * 16;
  const int64_t summed = int64_t{tile.warps_k} * tile.m * (tile.n + 8) * kernel.sum_bytes;
  return {tiles_of(tile, size) * cluster, tile.threads(), 1, cluster, std::max(staged, summed)};
}

}  // namespace onrush
