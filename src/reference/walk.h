// Index arithmetic: strides in elements, and walks over a shape that keep several offsets.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include <onrush/tensor.h>

namespace onrush::reference {

using Strides = std::vector<int64_t>;

inline Strides row_major(std::span<const int64_t> shape) {
  Strides strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) strides[axis] = stride;
  return strides;
}

// Strides that read a tensor of `shape` as if axes of extent 1 were repeated, and missing leading
// axes were of extent 1, up to `rank` axes.
inline Strides broadcast_strides(std::span<const int64_t> shape, size_t rank) {
  Strides strides = row_major(shape);
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (shape[axis] == 1) strides[axis] = 0;
  strides.insert(strides.begin(), rank - shape.size(), 0);
  return strides;
}

template <size_t N>
using Offsets = std::array<int64_t, N>;

// Calls row(offsets, count, steps) for every row (last axis) of `shape` in row-major order:
// element i of the row has offset offsets[k] + i * steps[k] in the k-th layout, where
// offsets[k] = sum of index[axis] * strides[k][axis].
template <size_t N, class F>
void walk_rows(std::span<const int64_t> shape, const std::array<Strides, N>& strides, F&& row) {
  for (int64_t extent : shape)
    if (extent == 0) return;
  const size_t outer = shape.empty() ? 0 : shape.size() - 1;
  Offsets<N> offsets{}, steps{};
  if (!shape.empty())
    for (size_t k = 0; k < N; ++k) steps[k] = strides[k][outer];
  std::vector<int64_t> index(outer);
  for (size_t axis = 1; axis > 0;) {
    row(offsets, shape.empty() ? 1 : shape[outer], steps);
    for (axis = outer; axis > 0; --axis) {  // carry from the innermost outer axis outwards
      const size_t a = axis - 1;
      const bool wraps = ++index[a] == shape[a];
      if (wraps) index[a] = 0;
      for (size_t k = 0; k < N; ++k) offsets[k] += strides[k][a] * (wraps ? 1 - shape[a] : 1);
      if (!wraps) break;
    }
  }
}

// Calls element(offsets) for every index of `shape` in row-major order.
template <size_t N, class F>
void walk(std::span<const int64_t> shape, const std::array<Strides, N>& strides, F&& element) {
  walk_rows<N>(shape, strides, [&](Offsets<N> offsets, int64_t count, const Offsets<N>& steps) {
    for (int64_t i = 0; i < count; ++i) {
      element(offsets);
      for (size_t k = 0; k < N; ++k) offsets[k] += steps[k];
    }
  });
}

// A shape seen from one axis: element (o, i, n) lies at (o * extent + i) * inner + n.
struct Lines {
  int64_t outer = 1, extent = 1, inner = 1;
};
inline Lines lines_along(std::span<const int64_t> shape, int axis) {
  Lines lines;
  const size_t at = static_cast<size_t>(axis);
  for (size_t i = 0; i < at; ++i) lines.outer *= shape[i];
  lines.extent = shape[at];
  for (size_t i = at + 1; i < shape.size(); ++i) lines.inner *= shape[i];
  return lines;
}

}  // namespace onrush::reference
