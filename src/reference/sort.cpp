#include <algorithm>
#include <numeric>

#include "reference/arithmetic.h"
#include "reference/element.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

// Fills `order` with the first `limit` places of a line in order; ties keep the lower place first.
template <class T>
void sort_line(std::span<const T> line, bool descending, size_t limit,
               std::vector<int64_t>& order) {
  order.resize(line.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto before = [&](int64_t i, int64_t j) {
    const T a = line[static_cast<size_t>(i)], b = line[static_cast<size_t>(j)];
    if (sorts_before(a, b)) return !descending;
    if (sorts_before(b, a)) return descending;
    return i < j;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(limit), order.end(),
                    before);
}

}  // namespace

std::vector<Tensor> evaluate_sort(const Node& node, const Tensor& x, const SizeFunction& size) {
  const auto& attr = node.as<SortAttr>();
  const Lines lines = lines_along(x.shape(), attr.axis);
  const int64_t limit = size(attr.limit);
  Shape shape = x.shape();
  shape[static_cast<size_t>(attr.axis)] = limit;
  Tensor indices(DType::i64, shape);
  Tensor sorted = visit_compute(x.dtype(), [&]<class T>() {
    const std::vector<T> values = load_all<T>(x);
    std::vector<T> results(static_cast<size_t>(indices.count()));
    std::vector<T> line(static_cast<size_t>(lines.extent));
    std::vector<int64_t> order;
    for (int64_t o = 0; o < lines.outer; ++o) {
      for (int64_t n = 0; n < lines.inner; ++n) {
        for (int64_t i = 0; i < lines.extent; ++i)
          line[static_cast<size_t>(i)] =
              values[static_cast<size_t>((o * lines.extent + i) * lines.inner + n)];
        sort_line<T>(line, attr.descending, static_cast<size_t>(limit), order);
        for (int64_t i = 0; i < limit; ++i) {
          const size_t to = static_cast<size_t>((o * limit + i) * lines.inner + n);
          indices.as<int64_t>()[to] = order[static_cast<size_t>(i)];
          results[to] = line[static_cast<size_t>(order[static_cast<size_t>(i)])];
        }
      }
    }
    Tensor tensor = allocate(x.dtype(), shape);
    store<T>(results, tensor, 0, false);  // elements are moved, not rounded
    return tensor;
  });
  return {sorted, indices};
}

}  // namespace onrush::reference
