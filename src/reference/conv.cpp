#include "reference/contraction.h"
#include "reference/kernels.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

constexpr int64_t kTile = 64;  // results whose patches are laid out at a time

// Which element of x one place of the kernel meets at one result, along one axis.
struct AxisMap {
  int64_t out, kernel, stride;  // results, places, elements of x from one to the next
  std::vector<int64_t> met;     // [out, kernel]; -1: padding, or between dilated elements
};

AxisMap map_axis(const ConvAttr& attr, size_t axis, int64_t low, int64_t in, int64_t out,
                 int64_t kernel, int64_t stride) {
  AxisMap map{out, kernel, stride, {}};
  const int64_t spread = attr.input_dilation[axis];
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t k = 0; k < kernel; ++k) {
      const int64_t at = o * attr.stride[axis] + k * attr.dilation[axis] - low;
      const bool element = at >= 0 && at % spread == 0 && at / spread < in;
      map.met.push_back(element ? at / spread : -1);
    }
  }
  return map;
}

std::vector<AxisMap> map_axes(const ConvAttr& attr, const Tensor& x, const Tensor& w,
                              const Shape& out, const Shape& low) {
  std::vector<AxisMap> maps;
  const Strides strides = row_major(x.shape());
  for (size_t axis = 0; axis < attr.stride.size(); ++axis)
    maps.push_back(map_axis(attr, axis, low[axis], x.shape()[axis + 1], out[axis + 1],
                            w.shape()[axis + 1], strides[axis + 1]));
  return maps;
}

// Calls f(offset of the met pixel within its image, or -1) for every place of the kernel, at the
// result with flat spatial index `position`.
template <class F>
void walk_places(const std::vector<AxisMap>& maps, int64_t position, F f) {
  std::array<const int64_t*, 8> met{};
  for (size_t axis = maps.size(); axis-- > 0; position /= maps[axis].out)
    met[axis] = maps[axis].met.data() + position % maps[axis].out * maps[axis].kernel;
  const auto descend = [&](auto& self, size_t axis, int64_t offset) -> void {
    if (axis == maps.size()) return f(offset);
    for (int64_t k = 0; k < maps[axis].kernel; ++k) {
      const bool element = offset >= 0 && met[axis][k] >= 0;
      self(self, axis + 1, element ? offset + met[axis][k] * maps[axis].stride : -1);
    }
  };
  descend(descend, 0, 0);
}

// The kernels of one group as a matrix [kernel places * channels, outputs of the group].
template <class A>
std::vector<A> group_matrix(const std::vector<A>& w, int64_t group, int64_t depth,
                            int64_t outputs) {
  std::vector<A> matrix(static_cast<size_t>(depth * outputs));
  const A* from = w.data() + group * outputs * depth;
  for (int64_t o = 0; o < outputs; ++o)
    for (int64_t k = 0; k < depth; ++k) matrix[static_cast<size_t>(k * outputs + o)] = *from++;
  return matrix;
}

// The sizes of a convolution by role.
struct Extents {
  int64_t images, positions, pixels;  // results and elements an image, over the spatial axes
  int64_t channels, outputs;          // of x and of the result
  int64_t group_channels, group_outputs, depth;  // depth: kernel places * group_channels
};

Extents extents_of(const Tensor& x, const Tensor& w, const Shape& out, int64_t groups) {
  Extents e{};
  e.images = out[0];
  e.channels = x.shape().back();
  e.outputs = out.back();
  e.positions = e.pixels = 1;
  for (size_t axis = 1; axis + 1 < out.size(); ++axis) {
    e.positions *= out[axis];
    e.pixels *= x.shape()[axis];
  }
  e.group_channels = e.channels / groups;
  e.group_outputs = e.outputs / groups;
  e.depth = e.group_channels;
  for (size_t axis = 1; axis + 1 < out.size(); ++axis) e.depth *= w.shape()[axis];
  return e;
}

// One group of one image: patches of kTile results as the rows of a matrix, times the kernels.
template <class A>
void convolve(const Extents& e, const std::vector<AxisMap>& maps, const A* image, const A* matrix,
              A* out) {
  std::vector<A> patches, sums;
  for (int64_t begin = 0; begin < e.positions; begin += kTile) {
    const int64_t rows = std::min(kTile, e.positions - begin);
    patches.clear();
    for (int64_t row = 0; row < rows; ++row) {
      walk_places(maps, begin + row, [&](int64_t pixel) {
        if (pixel < 0) patches.insert(patches.end(), static_cast<size_t>(e.group_channels), A{0});
        else patches.insert(patches.end(), image + pixel, image + pixel + e.group_channels);
      });
    }
    sums.assign(static_cast<size_t>(rows * e.group_outputs), A{0});
    multiply_add(rows, e.depth, e.group_outputs, patches.data(), matrix, sums.data());
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(sums.data() + row * e.group_outputs, e.group_outputs,
                  out + (begin + row) * e.outputs);
  }
}

}  // namespace

Tensor evaluate_conv(const Node& node, Operands operands, const SizeFunction& size) {
  const auto& attr = node.as<ConvAttr>();
  const Tensor &x = operands[0], &w = operands[1];
  const TensorType& type = std::get<TensorType>(node.type);
  const Shape shape = shape_of(type.shape, size);
  const Extents e = extents_of(x, w, shape, attr.groups);
  const auto maps = map_axes(attr, x, w, shape, shape_of(attr.low, size));
  Tensor result;
  visit_products(x.dtype(), [&]<class A>() {
    const std::vector<A> values = load_all<A>(x), weights = load_all<A>(w);
    std::vector<A> sums(static_cast<size_t>(element_count(shape)));
    for (int64_t group = 0; group < attr.groups; ++group) {
      const auto matrix = group_matrix(weights, group, e.depth, e.group_outputs);
      for (int64_t image = 0; image < e.images; ++image)
        convolve<A>(
            e, maps, values.data() + image * e.pixels * e.channels + group * e.group_channels,
            matrix.data(), sums.data() + image * e.positions * e.outputs + group * e.group_outputs);
    }
    result = store_sums(type.dtype, shape, sums);
  });
  return result;
}

}  // namespace onrush::reference
