// Scatter, ScatterElements, ScatterND, TensorScatter, Col2Im
#include "lower/helpers.h"
#include "lower/tensor_index.h"
#include "lower/tensor_ops.h"

namespace onrush {
namespace {

ScatterKind reduction(const OpContext& c) {
  const std::string name = c.attr("reduction", "none");
  if (name == "none") return ScatterKind::set;
  if (name == "add") return ScatterKind::add;
  if (name == "mul") return ScatterKind::mul;
  if (name == "max") return ScatterKind::max;
  if (name == "min") return ScatterKind::min;
  c.fail("attribute 'reduction' must be none, add, mul, max or min");
}

}  // namespace

Results lower_scatter_elements(OpContext& c) {
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  require_equal(c, c.shape(2), c.shape(1), "the updates");
  require_at_most(c, c.shape(1), c.shape(0), "the indices", axis);
  c.require(c.dtype(2) == c.dtype(0), "data and updates must have one element type");
  std::vector<int> source = axis_range(0, c.rank(0));
  source[axis] = ~0;
  const NodeId index = wrapped_index(c.b, c.in(1), c.shape(0)[axis]);
  return c.b.scatter(c.in(0), c.in(2), {&index, 1}, std::move(source), reduction(c));
}

Results lower_scatter_nd(OpContext& c) {
  const Dims data = c.shape(0), indices = c.shape(1);
  c.require(!indices.empty(), "the indices must have rank 1 or more");
  c.require(c.dtype(2) == c.dtype(0), "data and updates must have one element type");
  const int index_rank = c.rank(1) - 1;
  const int addressed = static_cast<int>(fix(indices.back(), "ScatterND: length of an index"));
  const int rank = c.rank(2);
  c.require(addressed <= c.rank(0), "an index is longer than the data has axes");
  Dims expected(indices.begin(), indices.end() - 1);
  expected.insert(expected.end(), data.begin() + addressed, data.end());
  require_equal(c, c.shape(2), expected, "the updates");
  std::vector<int> source;
  std::vector<NodeId> operands;
  for (int k = 0; k < addressed; ++k) {
    source.push_back(~k);
    operands.push_back(index_column(c.b, c.in(1), k, data[k], rank));
  }
  for (int axis = index_rank; axis < rank; ++axis) source.push_back(axis);
  return c.b.scatter(c.in(0), c.in(2), operands, std::move(source), reduction(c));
}

Results lower_tensor_scatter(OpContext& c) {
  Builder& b = c.b;
  const int axis = c.axis(c.attr("axis", -2), c.rank(0));
  const std::string mode = c.attr("mode", "linear");
  c.require(mode == "linear" || mode == "circular", "attribute 'mode' must be linear or circular");
  c.require(axis > 0, "axis 0 is the batch, which TensorScatter does not move along");
  require_equal(c, c.shape(1), c.shape(0), "the updates", axis);
  require_at_most(c, c.shape(1), c.shape(0), "the updates");
  Dims line(c.rank(0), Dim(1)), per_batch = line;
  line[axis] = c.shape(1)[axis];
  per_batch[0] = c.shape(1)[0];
  NodeId index = b.iota(DType::i64, line, axis);
  if (c.has(2)) index = b.add(index, b.cast(b.reshape(c.in(2), per_batch), DType::i64));
  if (mode == "circular")
    index = b.binary(Op::mod, index, dim_scalar(b, DType::i64, c.shape(0)[axis]));
  std::vector<int> source = axis_range(0, c.rank(0));
  source[axis] = ~0;
  return b.scatter(c.in(0), c.in(1), {&index, 1}, std::move(source), ScatterKind::set);
}

// Adds every column element to the pixel it came from, in the padded image, and cuts the padding.
Results lower_col2im(OpContext& c) {
  Builder& b = c.b;
  const Dims image = c.dims_of(c.in(1));
  const auto block = c.ints_of(c.in(2));
  const int spatial = static_cast<int>(image.size());
  const std::vector<int64_t> ones(spatial, 1), zeros(2 * spatial, 0);
  const auto stride = c.ints("strides").value_or(ones);
  const auto dilation = c.ints("dilations").value_or(ones);
  const auto pads = c.ints("pads").value_or(zeros);
  c.require(c.rank(0) == 3 && block.size() == image.size() && stride.size() == image.size() &&
                dilation.size() == image.size() && pads.size() == 2 * image.size(),
            "Col2Im takes [N, channels * block, blocks] and one size an axis of the image");
  int64_t block_size = 1;
  for (int64_t size : block) block_size *= size;
  const Dim batch = c.shape(0)[0], channels = floordiv(c.shape(0)[1], block_size);

  // The columns as [N, C, block..., blocks...]; block k at place l reaches pixel k * dilation + l *
  // stride of the padded image.
  const int rank = 2 + 2 * spatial;
  Dims columns = {batch, channels}, padded = columns, start = {0, 0}, result = columns;
  columns.insert(columns.end(), block.begin(), block.end());
  for (int i = 0; i < spatial; ++i) {
    padded.push_back(image[i] + pads[i] + pads[spatial + i]);
    columns.push_back(
        window_extent(image[i], pads[i], pads[spatial + i], block[i], stride[i], dilation[i]));
    start.push_back(pads[i]);
    result.push_back(image[i]);
  }
  const auto steps = [&](int axis, int64_t step) {
    Dims line(rank, Dim(1));
    line[axis] = columns[axis];
    const NodeId count = b.iota(DType::i64, line, axis);
    return b.mul(count, b.like(count, static_cast<double>(step)));
  };
  std::vector<int> source = {0, 1};
  std::vector<NodeId> pixels;
  for (int i = 0; i < spatial; ++i) {
    source.push_back(~i);
    pixels.push_back(b.add(steps(2 + i, dilation[i]), steps(2 + spatial + i, stride[i])));
  }
  const NodeId sums = b.scatter(full(b, c.dtype(0), 0, padded), b.reshape(c.in(0), columns), pixels,
                                std::move(source), ScatterKind::add);
  return b.slice(sums, std::move(start), std::vector<int64_t>(2 + spatial, 1), std::move(result));
}

}  // namespace onrush
