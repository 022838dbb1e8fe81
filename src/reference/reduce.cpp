#include <algorithm>

#include "reference/arithmetic.h"
#include "reference/element.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

// Every element of x finds its place in the result by strides that are 0 along reduced axes.
template <class A>
std::vector<A> fold(const ReduceAttr& attr, const Tensor& x, const Tensor& out,
                    const Strides& to_result) {
  const std::vector<A> values = load_all<A>(x);
  return visit_reduction<A>(attr.kind, x.dtype(), [&](auto combine, A identity) {
    std::vector<A> results(static_cast<size_t>(out.count()), identity);
    walk<2>(x.shape(), {row_major(x.shape()), to_result}, [&](const Offsets<2>& at) {
      A& result = results[static_cast<size_t>(at[1])];
      result = combine(result, values[static_cast<size_t>(at[0])]);
    });
    return results;
  });
}

template <class T>
std::vector<int64_t> find(const ReduceAttr& attr, const Tensor& x, const Tensor& out,
                          const Strides& to_result) {
  const std::vector<T> values = load_all<T>(x);
  std::vector<Extreme<T>> extremes(static_cast<size_t>(out.count()));
  Strides along(x.shape().size());
  along[static_cast<size_t>(attr.axes[0])] = 1;
  walk<3>(x.shape(), {row_major(x.shape()), to_result, along}, [&](const Offsets<3>& at) {
    extremes[static_cast<size_t>(at[1])].see(attr.kind, attr.last,
                                             values[static_cast<size_t>(at[0])], at[2]);
  });
  std::vector<int64_t> indices;
  for (const Extreme<T>& extreme : extremes) indices.push_back(std::max<int64_t>(extreme.index, 0));
  return indices;
}

template <class T, class F>
void scan_lines(const ScanAttr& attr, std::span<T> values, const Lines& lines, F combine,
                T identity) {
  for (int64_t line = 0; line < lines.outer * lines.inner; ++line) {
    T* first = values.data() + line / lines.inner * lines.extent * lines.inner + line % lines.inner;
    T sum = identity;
    for (int64_t i = 0; i < lines.extent; ++i) {
      T& value = first[(attr.reverse ? lines.extent - 1 - i : i) * lines.inner];
      const T before = sum;
      sum = combine(sum, value);
      value = attr.exclusive ? before : sum;
    }
  }
}

}  // namespace

Tensor evaluate_reduce(const Node& node, const Tensor& x, const SizeFunction& size) {
  const auto& attr = node.as<ReduceAttr>();
  Tensor out = result_of(node, size);
  Strides to_result = row_major(out.shape());
  for (int axis : attr.axes) to_result[static_cast<size_t>(axis)] = 0;
  visit_compute(x.dtype(), [&]<class T>() {
    using A = Accumulator<T>;
    if (is_arg(attr.kind)) store<int64_t>(find<T>(attr, x, out, to_result), out, 0);
    else store<A>(fold<A>(attr, x, out, to_result), out, 0);
  });
  return out;
}

Tensor evaluate_scan(const Node& node, const Tensor& x) {
  const auto& attr = node.as<ScanAttr>();
  const Lines lines = lines_along(x.shape(), attr.axis);
  return visit_compute(x.dtype(), [&]<class T>() {
    using A = Accumulator<T>;
    std::vector<A> values = load_all<A>(x);
    visit_reduction<A>(attr.kind, x.dtype(), [&](auto combine, A identity) {
      scan_lines<A>(attr, values, lines, combine, identity);
    });
    return make_tensor(x.dtype(), x.shape(), values);
  });
}

}  // namespace onrush::reference
