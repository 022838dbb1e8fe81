#include "lower/resampling_taps.h"

#include "lower/helpers.h"

namespace onrush {
namespace {

// Combines the taps of axis `axis` and those after it; `indices` holds the choice before it.
NodeId combine_taps(Builder& b, NodeId data, const std::vector<int>& source,
                    const std::vector<Taps>& taps, size_t axis, std::vector<NodeId>& indices,
                    const Dims& shape, Op combine) {
  if (axis == taps.size()) return b.gather(data, indices, source, shape);
  std::optional<NodeId> result;
  for (const Tap& tap : taps[axis]) {
    indices[axis] = tap.index;
    NodeId x = combine_taps(b, data, source, taps, axis + 1, indices, shape, combine);
    if (tap.weight) x = b.cast(x, b.dtype(*tap.weight));
    if (tap.inside) x = b.select(*tap.inside, x, b.like(x, 0));
    if (tap.weight) x = b.mul(x, *tap.weight);
    result = result ? b.binary(combine, *result, x) : x;
  }
  return *result;
}

}  // namespace

Tap tap_at(Builder& b, NodeId position, std::optional<NodeId> weight, Dim extent, Outside outside) {
  // Clamped as integers: a NaN or a huge position must not become an index.
  const NodeId last = dim_scalar(b, DType::i64, extent - 1);
  const NodeId index = b.cast(position, DType::i64);
  Tap tap{b.min(b.max(index, b.like(index, 0)), last), weight, {}};
  if (outside == Outside::zero) tap.inside = b.equal(tap.index, index);
  return tap;
}

Taps linear_taps(Builder& b, NodeId position, Dim extent, Outside outside) {
  const NodeId below = b.unary(Op::floor, position);
  const NodeId ratio = b.sub(position, below);
  const NodeId one = b.like(position, 1);
  return {tap_at(b, below, b.sub(one, ratio), extent, outside),
          tap_at(b, b.add(below, one), ratio, extent, outside)};
}

NodeId cubic_inner(Builder& b, NodeId d, double a) {
  const auto number = [&](double value) { return b.like(d, value); };
  const NodeId slope = b.sub(b.mul(number(a + 2), d), number(a + 3));
  return b.add(b.mul(b.mul(slope, d), d), number(1));
}

NodeId cubic_outer(Builder& b, NodeId d, double a) {
  const auto number = [&](double value) { return b.like(d, value); };
  const NodeId slope = b.sub(b.mul(number(a), d), number(5 * a));
  return b.sub(b.mul(b.add(b.mul(slope, d), number(8 * a)), d), number(4 * a));
}

NodeId sample(Builder& b, NodeId data, const std::vector<int>& source,
              const std::vector<Taps>& taps, const std::vector<NodeId>& others, const Dims& shape,
              Op combine) {
  std::vector<NodeId> indices(taps.size());
  indices.insert(indices.end(), others.begin(), others.end());
  return combine_taps(b, data, source, taps, 0, indices, shape, combine);
}

DType weight_dtype(DType dtype) { return is_float(dtype) ? wide(dtype) : DType::f32; }

}  // namespace onrush
