#include <algorithm>

#include "reference/arithmetic.h"
#include "reference/element.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

// One place of the window, laid over all results for which it falls on an element of x: a box of
// results, and the elements they see as strides over the same box.
struct Overlay {
  Shape box;
  int64_t first_result = 0, first_element = 0;
};

// Along one axis, result o sees element o * stride + place * dilation - low.
Overlay overlay(const WindowAttr& attr, const Shape& low, const Shape& place, const Tensor& x,
                const Tensor& out) {
  Overlay overlay;
  const Strides in = row_major(x.shape()), to = row_major(out.shape());
  for (size_t axis = 0; axis < place.size(); ++axis) {
    const int64_t shift = place[axis] * attr.dilation[axis] - low[axis];
    const int64_t stride = attr.stride[axis];
    const int64_t begin = std::max<int64_t>(0, floor_div(-shift + stride - 1, stride));
    const int64_t end =
        std::min(out.shape()[axis], floor_div(x.shape()[axis] - 1 - shift, stride) + 1);
    overlay.box.push_back(std::max<int64_t>(0, end - begin));
    overlay.first_result += begin * to[axis];
    overlay.first_element += (begin * stride + shift) * in[axis];
  }
  return overlay;
}

// Calls f(place, element offset, result offset) for everything that every window sees, the places
// of one window in row-major order.
template <class F>
void walk_windows(const WindowAttr& attr, const Shape& low, const Tensor& x, const Tensor& out,
                  F f) {
  Strides elements = row_major(x.shape());
  for (size_t axis = 0; axis < elements.size(); ++axis) elements[axis] *= attr.stride[axis];
  const std::array<Strides, 2> strides = {elements, row_major(out.shape())};
  const int64_t places = element_count(attr.size);
  for (int64_t flat = 0; flat < places; ++flat) {
    Shape place(attr.size.size());
    for (size_t axis = place.size(), rest = static_cast<size_t>(flat); axis-- > 0;) {
      place[axis] = static_cast<int64_t>(rest) % attr.size[axis];
      rest /= static_cast<size_t>(attr.size[axis]);
    }
    const Overlay o = overlay(attr, low, place, x, out);
    walk<2>(o.box, strides, [&](const Offsets<2>& at) {
      f(flat, static_cast<size_t>(o.first_element + at[0]),
        static_cast<size_t>(o.first_result + at[1]));
    });
  }
}

}  // namespace

Tensor evaluate_window(const Node& node, const Tensor& x, const SizeFunction& size) {
  const auto& attr = node.as<WindowAttr>();
  const Shape low = shape_of(attr.low, size);
  Tensor out = result_of(node, size);
  const size_t count = static_cast<size_t>(out.count());
  visit_compute(x.dtype(), [&]<class T>() {
    using A = Accumulator<T>;
    const std::vector<A> values = load_all<A>(x);
    if (is_arg(attr.kind)) {
      std::vector<Extreme<A>> extremes(count);
      walk_windows(attr, low, x, out, [&](int64_t place, size_t from, size_t to) {
        extremes[to].see(attr.kind, /*last=*/false, values[from], place);
      });
      std::vector<int64_t> indices;
      for (const auto& extreme : extremes) indices.push_back(std::max<int64_t>(extreme.index, 0));
      return store<int64_t>(indices, out, 0);
    }
    visit_reduction<A>(attr.kind, x.dtype(), [&](auto combine, A identity) {
      std::vector<A> results(count, identity);
      walk_windows(attr, low, x, out, [&](int64_t, size_t from, size_t to) {
        results[to] = combine(results[to], values[from]);
      });
      store<A>(results, out, 0);
    });
  });
  return out;
}

}  // namespace onrush::reference
