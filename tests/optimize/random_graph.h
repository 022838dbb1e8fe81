// Random graphs for tests that compare two ways to compute the same.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "case.h"

namespace onrush {

// Grows a graph of small tensors, most of them of rank 4, from a few inputs.
class RandomGraph {
 public:
  explicit RandomGraph(unsigned seed) : generator_(seed) {
    symbolic_ = pick(2) == 0;
    constexpr int64_t kSizes[] = {0, 1, 1, 2, 3, 4, 5, 7};
    const auto any = [&] { return kSizes[pick(std::size(kSizes))]; };
    const Dim n = extent("n", any()), h = extent("h", any()), w = extent("w", any());
    values_ = {c_.x({n, 4, h, w}, 0.2, 2), c_.x({n, h, w, 4}), c_.x({4, h, w, n})};
  }

  // Expects that `compile` computes what the evaluator does, for a graph of so many steps.
  void check(int steps, const Case::Compile& compile) {
    for (int i = 0; i < steps; ++i) values_.push_back(step(value()));
    c_.check({values_.back(), value()}, compile);
  }

 private:
  int pick(int count) { return static_cast<int>(generator_() % static_cast<unsigned>(count)); }
  NodeId value() { return values_[values_.size() - 1 - pick(std::min<int>(4, values_.size()))]; }
  Dim extent(const char* name, int64_t at_hand) {
    return symbolic_ ? c_.size(name, at_hand, 0) : Dim(at_hand);
  }

  Axes permutation(int rank) {
    Axes axes(rank);
    for (int i = 0; i < rank; ++i) axes[i] = i;
    std::shuffle(axes.begin(), axes.end(), generator_);
    return axes;
  }

  // Whether ONNX broadcasts the shapes together, for the sizes at hand.
  static bool broadcasts(const Dims& a, const Dims& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](Dim x, Dim y) {
      return x.value() == y.value() || x.value() == 1 || y.value() == 1;
    });
  }

  // Another value, or a constant, that broadcasts.
  NodeId partner(NodeId x) {
    const Dims shape = c_.shape(x);
    if (pick(2) == 0) {
      for (NodeId other : values_)
        if (other != x && broadcasts(c_.shape(other), shape)) return other;
    }
    Dims narrow(shape.size(), Dim(1));
    Shape numbers(shape.size(), 1);
    for (size_t i = 0; i < shape.size(); ++i)
      if (shape[i].is_constant() && pick(2) == 0) numbers[i] = shape[i].value();
    return pick(3) == 0 ? c_.scalar(c_.dtype(x), 0.5 + pick(3)) : c_.weight(numbers);
  }

  NodeId step(NodeId x) {
    switch (pick(14)) {
      case 0:
      case 1: return c_.transpose(x, permutation(c_.rank(x)));
      case 2: return c_.binary(pick(2) ? Op::add : Op::mul, x, partner(x));
      case 3: return c_.binary(pick(2) ? Op::sub : Op::max, partner(x), x);
      case 4: return c_.unary(pick(2) ? Op::tanh : Op::sigmoid, x);
      case 5: return reduced(x);
      case 6: return reshaped(x);
      case 7: return sliced(x);
      case 8: return joined(x);
      case 9: return product(x);
      case 10: return convolved(x);
      case 11: return halved(x);
      case 12: return doubled(x);
      default: return padded(x);
    }
  }

  NodeId reduced(NodeId x) {
    const int axis = pick(c_.rank(x));
    const NodeId mean = c_.mean(x, {axis});
    return pick(2) ? c_.sub(x, mean) : c_.broadcast(mean, c_.shape(x));
  }

  // Merges two neighbouring axes, or splits one of four.
  NodeId reshaped(NodeId x) {
    Dims shape = c_.shape(x);
    const int axis = pick(c_.rank(x));
    if (same(shape[axis], 4) && shape.size() < 5) {
      shape[axis] = 2;
      shape.insert(shape.begin() + axis, 2);
    } else if (axis + 1 < c_.rank(x) && shape.size() > 2) {
      shape[axis] = shape[axis] * shape[axis + 1];
      shape.erase(shape.begin() + axis + 1);
    }
    return c_.reshape(x, shape);
  }

  NodeId sliced(NodeId x) {
    const int axis = pick(c_.rank(x));
    const Dim extent = c_.shape(x)[axis];
    if (!extent.is_constant() || extent.value() < 2) return x;
    return c_.slice_axis(x, axis, 1, extent - 1);
  }

  // Every other element.
  NodeId halved(NodeId x) {
    const int axis = pick(c_.rank(x));
    return c_.slice_axis(x, axis, 0, ceildiv(c_.shape(x)[axis], 2), 2);
  }

  // Every element twice, as nearest-neighbour resizing does.
  NodeId doubled(NodeId x) {
    const int axis = pick(c_.rank(x));
    Dims shape = c_.shape(x), twice = shape;
    if (element_cost(c_.type(x)) > 4096) return x;
    twice.insert(twice.begin() + axis + 1, 2);
    shape[axis] = shape[axis] * 2;
    return c_.reshape(c_.broadcast(c_.unsqueeze(x, {axis + 1}), twice), shape);
  }

  NodeId joined(NodeId x) {
    const NodeId parts[] = {x, c_.exp(c_.neg(c_.mul(x, x))), x};
    return c_.concat(parts, pick(c_.rank(x)));
  }

  NodeId padded(NodeId x) {
    Dims low(c_.shape(x).size(), Dim(0)), high = low;
    low[pick(c_.rank(x))] = 1;
    high[pick(c_.rank(x))] = 2;
    return c_.pad(x, c_.scalar(DType::f32, pick(2)), low, high);
  }

  // With a weight, or with itself over a common batch axis.
  NodeId product(NodeId x) {
    const int rank = c_.rank(x), contract = pick(rank);
    const Dim extent = c_.shape(x)[contract];
    if (extent.is_constant() && pick(2) == 0) {
      const NodeId w = c_.weight({3, extent.value()});
      return c_.dot(x, w, {{}, {}, {contract}, {1}, DType::f32});
    }
    if (rank != 3) return x;
    const NodeId y = c_.transpose(x, {contract, (contract + 1) % 3, (contract + 2) % 3});
    const int batch = (contract + 1) % 3;
    return c_.dot(x, y, {{batch}, {1}, {contract}, {0}, DType::f32});
  }

  NodeId convolved(NodeId x) {
    const int rank = c_.rank(x);
    if (rank != 4 || !c_.shape(x)[1].is_constant()) return x;
    const NodeId w = c_.weight({4, 1 + pick(2), 1, c_.shape(x)[1].value()});
    const NodeId y = c_.conv(c_.transpose(x, {0, 2, 3, 1}), w,
                             {{1, 1}, {1, 1}, {1, 1}, {1, 0}, {0, 0}, 1, DType::f32});
    return c_.transpose(c_.add(y, c_.weight({4})), {0, 3, 1, 2});
  }

  std::mt19937 generator_;
  bool symbolic_ = false;
  Case c_;
  std::vector<NodeId> values_;
};

}  // namespace onrush
