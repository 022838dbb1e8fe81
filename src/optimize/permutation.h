// Orders of axes. A value that owes permutation p is transpose(stored, p): its axis i is the stored
// axis p[i].
#pragma once

#include <vector>

#include "ir/attributes.h"

namespace onrush {

Axes identity(int rank);
bool is_identity(const Axes& permutation);
Axes inverse(const Axes& permutation);
// transpose(transpose(x, first), second) == transpose(x, then(first, second))
Axes then(const Axes& first, const Axes& second);

// A list with one entry an axis of the value, as a list over the stored axes.
template <class T>
std::vector<T> to_stored(const std::vector<T>& list, const Axes& permutation) {
  std::vector<T> stored(list.size());
  for (size_t i = 0; i < list.size(); ++i) stored[static_cast<size_t>(permutation[i])] = list[i];
  return stored;
}

// Axes of the value as stored axes, in their order, or sorted.
Axes map_axes(const Axes& axes, const Axes& permutation);
Axes map_axes_sorted(const Axes& axes, const Axes& permutation);

}  // namespace onrush
