// nonzero, unique, compress, det
#include <algorithm>
#include <cmath>
#include <numeric>

#include "reference/arithmetic.h"
#include "reference/call_table.h"
#include "reference/element.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

Tensor int64s(Shape shape, const std::vector<int64_t>& values) {
  return Tensor::of<int64_t>(DType::i64, std::move(shape), values);
}

bool comes_before(const std::string& a, const std::string& b) { return a < b; }
template <class T>
bool comes_before(T a, T b) {
  return sorts_before(a, b);
}

// -1, 0 or 1 as slice i of x comes before, with or after slice j.
template <class T>
int compare_slices(std::span<const T> x, const Lines& lines, int64_t i, int64_t j) {
  for (int64_t o = 0; o < lines.outer; ++o) {
    for (int64_t n = 0; n < lines.inner; ++n) {
      const T& a = x[static_cast<size_t>((o * lines.extent + i) * lines.inner + n)];
      const T& b = x[static_cast<size_t>((o * lines.extent + j) * lines.inner + n)];
      if (comes_before(a, b)) return -1;
      if (comes_before(b, a)) return 1;
    }
  }
  return 0;
}

// Equal slices along an axis, by their indices in ascending order.
using Groups = std::vector<std::vector<int64_t>>;

template <class T>
Groups group_slices(std::span<const T> x, const Lines& lines, bool sorted) {
  std::vector<int64_t> order(static_cast<size_t>(lines.extent));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::ranges::stable_sort(
      order, [&](int64_t i, int64_t j) { return compare_slices(x, lines, i, j) < 0; });
  Groups groups;
  for (int64_t slice : order) {
    if (groups.empty() || compare_slices(x, lines, groups.back()[0], slice) != 0)
      groups.emplace_back();
    groups.back().push_back(slice);
  }
  if (!sorted) std::ranges::sort(groups, {}, [](const auto& group) { return group[0]; });
  return groups;
}

Groups groups_of(const Tensor& x, const Lines& lines, bool sorted) {
  if (x.dtype() == DType::string)
    return group_slices<std::string>(x.as<std::string>(), lines, sorted);
  return visit_compute(x.dtype(),
                       [&]<class T>() { return group_slices<T>(load_all<T>(x), lines, sorted); });
}

Tensor first_slices(const Tensor& x, const Lines& lines, const Groups& groups, Shape shape) {
  Tensor y(x.dtype(), std::move(shape));
  int64_t to = 0;
  for (int64_t o = 0; o < lines.outer; ++o)
    for (const auto& group : groups) {
      copy_elements(x, (o * lines.extent + group[0]) * lines.inner, y, to, lines.inner);
      to += lines.inner;
    }
  return y;
}

// By elimination with partial pivoting; destroys the matrix.
double determinant(double* matrix, int64_t n) {
  double result = 1;
  for (int64_t column = 0; column < n; ++column) {
    int64_t pivot = column;
    for (int64_t row = column + 1; row < n; ++row)
      if (std::fabs(matrix[row * n + column]) > std::fabs(matrix[pivot * n + column])) pivot = row;
    if (matrix[pivot * n + column] == 0) return 0;
    if (pivot != column) {
      std::swap_ranges(matrix + pivot * n, matrix + (pivot + 1) * n, matrix + column * n);
      result = -result;
    }
    result *= matrix[column * n + column];
    for (int64_t row = column + 1; row < n; ++row) {
      const double factor = matrix[row * n + column] / matrix[column * n + column];
      for (int64_t k = column; k < n; ++k) matrix[row * n + k] -= factor * matrix[column * n + k];
    }
  }
  return result;
}

}  // namespace

CallResults nonzero(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const size_t rank = x.shape().size();
  std::vector<std::vector<int64_t>> coordinates(rank);
  int64_t found = 0;
  visit_compute(x.dtype(), [&]<class T>() {
    const std::vector<T> values = load_all<T>(x);
    const Strides strides = row_major(x.shape());
    for (size_t flat = 0; flat < values.size(); ++flat) {
      if (values[flat] == 0) continue;
      ++found;
      for (size_t axis = 0; axis < rank; ++axis)
        coordinates[axis].push_back(static_cast<int64_t>(flat) / strides[axis] % x.shape()[axis]);
    }
  });
  std::vector<int64_t> rows;
  for (const auto& row : coordinates) rows.insert(rows.end(), row.begin(), row.end());
  return {int64s({x.rank(), found}, rows)};
}

CallResults unique(const CallArguments& arguments) {
  const auto along = arguments.integer("axis");
  const Tensor x = along ? arguments[0] : arguments[0].reshaped({arguments[0].count()});
  const int64_t axis = !along ? 0 : *along < 0 ? *along + x.rank() : *along;
  const Lines lines = lines_along(x.shape(), static_cast<int>(axis));
  const Groups groups = groups_of(x, lines, arguments.integer("sorted", 1) != 0);
  const auto count = static_cast<int64_t>(groups.size());
  std::vector<int64_t> indices, counts, inverse(static_cast<size_t>(lines.extent));
  for (size_t g = 0; g < groups.size(); ++g) {
    indices.push_back(groups[g][0]);
    counts.push_back(static_cast<int64_t>(groups[g].size()));
    for (int64_t slice : groups[g]) inverse[static_cast<size_t>(slice)] = static_cast<int64_t>(g);
  }
  Shape shape = x.shape();
  shape[static_cast<size_t>(axis)] = count;
  return {first_slices(x, lines, groups, shape), int64s({count}, indices),
          int64s({lines.extent}, inverse), int64s({count}, counts)};
}

CallResults compress(const CallArguments& arguments) {
  const Tensor &x = arguments[0], &condition = arguments[1];
  const auto axis = static_cast<int>(arguments.integer("axis", 0));
  const Lines lines = lines_along(x.shape(), axis);
  Groups kept;
  for (int64_t i = 0; i < condition.count(); ++i) {
    if (!condition.as<uint8_t>()[static_cast<size_t>(i)]) continue;
    if (i >= lines.extent)
      fail(ErrorCode::invalid_argument, "element {} is selected of an axis of extent {}", i,
           lines.extent);
    kept.push_back({i});
  }
  Shape shape = x.shape();
  shape[static_cast<size_t>(axis)] = static_cast<int64_t>(kept.size());
  return {first_slices(x, lines, kept, shape)};
}

CallResults det(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  internal_check(x.rank() >= 2 && x.shape().back() == x.shape()[x.shape().size() - 2],
                 "det takes square matrices");
  const int64_t n = x.shape().back();
  const Shape shape(x.shape().begin(), x.shape().end() - 2);
  std::vector<double> matrices = load_all<double>(x);
  std::vector<double> results;
  for (int64_t i = 0; i < element_count(shape); ++i)
    results.push_back(determinant(matrices.data() + i * n * n, n));
  return {make_tensor(x.dtype(), shape, results)};
}

}  // namespace onrush::reference
