#include <algorithm>
#include <gtest/gtest.h>
#include <optional>

#include "case.h"
#include "optimize/quantized.h"

namespace onrush {
namespace {

// (x - zero) * scale, as DequantizeLinear is lowered.
NodeId dequantise(Case& c, NodeId x, NodeId scale, std::optional<NodeId> zero = {}) {
  x = c.cast(x, DType::f32);
  if (zero) x = c.sub(x, c.cast(*zero, DType::f32));
  return c.mul(x, scale);
}

NodeId quantise(Case& c, NodeId x, double scale, double zero) {
  const NodeId units = c.add(c.unary(Op::round, c.div(x, c.like(x, scale))), c.like(x, zero));
  return c.cast(c.min(c.max(units, c.like(x, 0)), c.like(x, 255)), DType::u8);
}

int count_of(const Graph& graph, Op op, DType dtype) {
  return static_cast<int>(std::ranges::count_if(graph.nodes, [&](const Node& node) {
    const auto* type = std::get_if<TensorType>(&node.type);
    return node.op == op && type && type->dtype == dtype;
  }));
}

TEST(Quantized, ProductsAreOfIntegers) {
  Case c;
  const NodeId x = c.cast(c.x({2, 5, 8}), DType::u8), w = c.cast(c.weight({8, 6}), DType::i8);
  const NodeId lhs = dequantise(c, x, c.scalar(DType::f32, 0.5), c.scalar(DType::u8, 3));
  const NodeId rhs = dequantise(c, w, c.weight({1, 6}));
  const Graph graph =
      c.run(c.dot(lhs, rhs, {{}, {}, {2}, {0}, DType::f32}), quantized);  // which computes the same
  EXPECT_EQ(count_of(graph, Op::dot, DType::i32), 1);
  EXPECT_EQ(count_of(graph, Op::dot, DType::f32), 0);
}

TEST(Quantized, ConvolutionsAreOfIntegers) {
  Case c;
  const NodeId x = c.cast(c.x({1, 5, 4, 3}), DType::u8),
               w = c.cast(c.weight({6, 3, 3, 3}), DType::i8);
  const NodeId lhs = dequantise(c, x, c.scalar(DType::f32, 0.5), c.scalar(DType::u8, 3));
  const NodeId rhs = dequantise(c, w, c.weight({6, 1, 1, 1}));
  const ConvAttr attr{{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, DType::f32};
  const Graph graph = c.run(c.conv(lhs, rhs, attr), quantized);
  EXPECT_EQ(count_of(graph, Op::conv, DType::i32), 1);
  EXPECT_EQ(count_of(graph, Op::conv, DType::f32), 0);
}

// One scale for each term of a sum.
TEST(Quantized, ScalesThatVaryAlongTheSumStay) {
  Case c;
  const NodeId x = c.cast(c.x({5, 8}), DType::u8), w = c.cast(c.weight({8, 6}), DType::i8);
  const NodeId lhs = dequantise(c, x, c.scalar(DType::f32, 0.5));
  const NodeId rhs = dequantise(c, w, c.weight({8, 1}));
  const Graph graph = c.run(c.dot(lhs, rhs, {{}, {}, {1}, {0}, DType::f32}), quantized);
  EXPECT_EQ(count_of(graph, Op::dot, DType::f32), 1);
}

TEST(Quantized, WhatIsOnlyMovedStaysInteger) {
  const auto rounds = [](double scale, double zero) {
    Case c;
    const NodeId x = c.cast(c.x({2, 3, 4}), DType::u8);
    const NodeId real = dequantise(c, x, c.scalar(DType::f32, 0.5), c.scalar(DType::u8, 3));
    const NodeId moved = c.reshape(c.transpose(real, {1, 0, 2}), {6, 4});
    return count_of(c.run(quantise(c, moved, scale, zero), quantized), Op::round, DType::f32);
  };
  EXPECT_EQ(rounds(0.5, 3), 0);
  EXPECT_EQ(rounds(0.25, 3), 1);
  EXPECT_EQ(rounds(0.5, 4), 1);
}

TEST(Quantized, MaximaAreOfIntegers) {
  Case c;
  const NodeId x = c.cast(c.x({1, 6, 6, 3}), DType::u8);
  const NodeId real = dequantise(c, x, c.scalar(DType::f32, 0.5), c.scalar(DType::u8, 3));
  const NodeId y = c.window(
      real,
      {ReduceKind::max, {1, 3, 3, 1}, {1, 2, 2, 1}, {1, 1, 1, 1}, {0, 1, 1, 0}, {0, 1, 1, 0}});
  EXPECT_EQ(count_of(c.run(y, quantized), Op::window, DType::u8), 1);
}

}  // namespace
}  // namespace onrush
