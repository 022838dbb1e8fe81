#include <gtest/gtest.h>

#include "case.h"
#include "optimize/layout.h"
#include "optimize/permutation.h"

namespace onrush {
namespace {

// A 3x3 convolution over [N, C, H, W] as it is lowered.
NodeId conv(Case& c, NodeId x, int64_t channels) {
  const NodeId w = c.weight({channels, 3, 3, c.shape(x)[1].value()});
  const NodeId y = c.conv(c.transpose(x, {0, 2, 3, 1}), w,
                          {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, DType::f32});
  return c.transpose(y, {0, 3, 1, 2});
}

int transposes(Case& c, NodeId y) { return count(c.run(y, layout), Op::transpose); }

TEST(Permutation, Algebra) {
  const Axes first = {2, 0, 1}, second = {1, 0, 2};
  EXPECT_EQ(then(first, second), (Axes{0, 2, 1}));
  EXPECT_TRUE(is_identity(then(first, inverse(first))));
  EXPECT_EQ(to_stored(std::vector{10, 20, 30}, first), (std::vector{20, 30, 10}));
}

TEST(Layout, TransposesMeet) {
  Case c;
  const NodeId x = c.x({2, 3, 5, 4});
  const NodeId y = c.max(conv(c, x, 6), c.scalar(DType::f32, 0));
  const NodeId z = c.add(conv(c, y, 6), y);
  EXPECT_EQ(transposes(c, z), 2);  // the image's and the result's
}

TEST(Layout, BiasesAndScalesTurnForFree) {
  Case c;
  NodeId y = conv(c, c.x({2, 3, 5, 4}), 6);
  y = c.mul(y, c.weight({1, 6, 1, 1}));
  y = c.add(y, c.broadcast(c.weight({1, 6, 5, 1}), c.shape(y)));
  y = c.reduce(ReduceKind::sum, y, {2, 3});
  EXPECT_EQ(transposes(c, c.reshape(y, {2, 6})), 1);
}

TEST(Layout, SqueezeAndExcite) {
  Case c;
  const NodeId y = conv(c, c.x({2, 3, 5, 4}), 6);
  const NodeId pooled = c.mean(y, {2, 3});
  const NodeId gate = c.unary(Op::sigmoid, c.dot(c.reshape(pooled, {2, 6}), c.weight({6, 6}),
                                                 {{}, {}, {1}, {0}, DType::f32}));
  const NodeId gated = c.mul(y, c.reshape(gate, {2, 6, 1, 1}));
  EXPECT_EQ(transposes(c, c.mean(conv(c, gated, 3), {2, 3})), 1);
}

TEST(Layout, WindowsPadsSlicesAndConcats) {
  Case c;
  const NodeId y = conv(c, c.x({2, 3, 5, 4}), 6);
  const NodeId pooled = c.window(
      y, {ReduceKind::max, {1, 1, 3, 2}, {1, 1, 2, 1}, {1, 1, 1, 1}, {0, 0, 1, 0}, {0, 0, 1, 1}});
  const NodeId padded = c.pad(pooled, c.scalar(DType::f32, 0), {0, 0, 1, 0}, {0, 0, 1, 0});
  const NodeId part = c.slice_axis(y, 1, 2, 4);
  const NodeId parts[] = {padded, part};
  const NodeId joined = c.concat(parts, 1);
  EXPECT_EQ(c.shape(joined)[1].value(), 10);
  EXPECT_EQ(transposes(c, c.reduce(ReduceKind::sum, conv(c, joined, 3), {1, 2, 3})), 1);
}

TEST(Layout, NearestResizeByGather) {
  Case c;
  const NodeId y = conv(c, c.x({2, 3, 5, 4}), 6);
  const NodeId rows = c.constant(
      Tensor::of<int64_t>(DType::i64, {7, 1}, std::vector<int64_t>{0, 0, 1, 2, 3, 3, 4}));
  const NodeId tall = c.gather(y, std::array{rows}, {0, 1, ~0, 3}, {2, 6, 7, 4});
  EXPECT_EQ(transposes(c, c.reduce(ReduceKind::sum, conv(c, tall, 2), {1, 2, 3})), 1);
}

TEST(Layout, PatchesToTokens) {  // [N, C, H, W] -> [N, H * W, C]
  Case c;
  const NodeId y = conv(c, c.x({2, 3, 5, 4}), 6);
  EXPECT_EQ(transposes(c, c.transpose(c.reshape(y, {2, 6, 20}), {0, 2, 1})), 1);
}

TEST(Layout, FlattenedMapsAreTurned) {  // the next layer counts channels first
  Case c;
  const NodeId y = conv(c, c.x({2, 3, 5, 4}), 6);
  EXPECT_EQ(transposes(c, c.reshape(y, {2, 120})), 2);
}

TEST(Layout, DotsReadAnyOrder) {
  Case c;  // q k^T of [B, S, H * D]
  const NodeId q = c.transpose(c.reshape(c.x({2, 5, 12}), {2, 5, 3, 4}), {0, 2, 1, 3});
  const NodeId k = c.transpose(c.reshape(c.x({2, 7, 12}), {2, 7, 3, 4}), {0, 2, 3, 1});
  const NodeId scores = c.dot(q, k, {{0, 1}, {0, 1}, {3}, {2}, DType::f32});
  EXPECT_EQ(c.text(scores, layout),
            "dot(reshape(x){shape=[2,5,3,4]}, reshape(x1){shape=[2,7,3,4]})"
            "{lhs_batch=[0,2] rhs_batch=[0,2] lhs_contract=[3] rhs_contract=[3] dtype=f32}");
}

TEST(Layout, FreeAxesOfADotKeepTheirStoredOrder) {
  Case c;
  const NodeId x = c.transpose(c.x({3, 5, 4}), {1, 0, 2});
  const NodeId y = c.dot(x, c.weight({4, 6}), {{}, {}, {2}, {0}, DType::f32});
  EXPECT_EQ(transposes(c, c.transpose(y, {1, 0, 2})), 0);
}

TEST(Layout, TransposedProductsExchangeOperands) {
  Case c;
  const NodeId a = c.x({3, 4}), b = c.x({4, 5});
  const NodeId y = c.dot(a, b, {{}, {}, {1}, {0}, DType::f32});
  EXPECT_EQ(c.text(c.transpose(y, {1, 0}), layout),
            "dot(x1, x){lhs_batch=[] rhs_batch=[] lhs_contract=[0] rhs_contract=[1] dtype=f32}");
}

TEST(Layout, TransposesGoToTheSmallerSide) {
  Case c;  // before the padding
  const NodeId x = c.exp(c.x({3, 4}));
  const NodeId y = c.pad(x, c.scalar(DType::f32, 1), {5, 5}, {5, 5});
  EXPECT_EQ(c.text(c.neg(c.transpose(y, {1, 0})), layout),
            "neg(pad(transpose(exp(x)){permutation=[1,0]}, 1){low=[5,5] high=[5,5]})");
}

TEST(Layout, ArgmaxWindowKeepsItsCount) {
  Case c;  // places count height before width
  const NodeId x = c.transpose(c.x({2, 4, 5, 1}), {0, 3, 2, 1});
  const NodeId y = c.window(
      x,
      {ReduceKind::argmax, {1, 1, 2, 2}, {1, 1, 1, 1}, {1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}});
  c.run(y, layout);
}

TEST(Layout, ScansAndSymbolicSizes) {
  Case c;
  const Dim n = c.size("n", 2), h = c.size("h", 5);
  const NodeId x = c.transpose(c.x({n, h, 4}), {2, 0, 1});
  const NodeId sums = c.scan(x, {ReduceKind::sum, 2, false, false});
  const NodeId index = c.cast(c.iota(DType::i64, {4, n, h}, 0), DType::f32);
  EXPECT_EQ(transposes(c, c.transpose(c.mul(sums, index), {1, 2, 0})), 0);
}

}  // namespace
}  // namespace onrush
