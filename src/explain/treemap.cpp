#include "explain/treemap.h"

#include <algorithm>
#include <numeric>

namespace onrush::explain {
namespace {

// The worst ratio of sides in a row of these areas along a side of this length.
double worst_ratio(std::span<const double> areas, double length) {
  const double sum = std::accumulate(areas.begin(), areas.end(), 0.0);
  const double depth = sum / length;
  double worst = 1;
  for (const double area : areas) {
    const double side = area / depth;
    worst = std::max({worst, side / depth, depth / side});
  }
  return worst;
}

}  // namespace

std::vector<Rectangle> treemap(std::span<const double> sizes, Rectangle within) {
  const double total = std::accumulate(sizes.begin(), sizes.end(), 0.0);
  if (total <= 0 || within.width <= 0 || within.height <= 0)
    return std::vector<Rectangle>(sizes.size());
  std::vector<double> areas(sizes.begin(), sizes.end());
  for (double& area : areas) area *= within.width * within.height / total;
  std::vector<Rectangle> result;
  Rectangle rest = within;
  for (size_t first = 0; first < areas.size();) {
    const bool wide = rest.width >= rest.height;
    const double length = wide ? rest.height : rest.width;
    const auto row = [&](size_t count) { return std::span(areas).subspan(first, count); };
    size_t count = 1;
    while (first + count < areas.size() &&
           worst_ratio(row(count + 1), length) <= worst_ratio(row(count), length))
      ++count;
    const auto taken = row(count);
    const double depth = std::accumulate(taken.begin(), taken.end(), 0.0) / length;
    double at = 0;
    for (const double area : taken) {
      const double side = area / depth;
      result.push_back(wide ? Rectangle{rest.x, rest.y + at, depth, side}
                            : Rectangle{rest.x + at, rest.y, side, depth});
      at += side;
    }
    if (wide) rest = {rest.x + depth, rest.y, std::max(rest.width - depth, 1e-9), rest.height};
    else rest = {rest.x, rest.y + depth, rest.width, std::max(rest.height - depth, 1e-9)};
    first += count;
  }
  return result;
}

}  // namespace onrush::explain
