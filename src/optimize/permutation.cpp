#include "optimize/permutation.h"

#include <algorithm>
#include <numeric>

namespace onrush {

Axes identity(int rank) {
  Axes axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

bool is_identity(const Axes& permutation) {
  return std::is_sorted(permutation.begin(), permutation.end());
}

Axes inverse(const Axes& permutation) {
  Axes result(permutation.size());
  for (size_t i = 0; i < permutation.size(); ++i) result[permutation[i]] = static_cast<int>(i);
  return result;
}

Axes then(const Axes& first, const Axes& second) { return map_axes(second, first); }

Axes map_axes(const Axes& axes, const Axes& permutation) {
  Axes result;
  for (int axis : axes) result.push_back(permutation[axis]);
  return result;
}

Axes map_axes_sorted(const Axes& axes, const Axes& permutation) {
  Axes result = map_axes(axes, permutation);
  std::ranges::sort(result);
  return result;
}

}  // namespace onrush
