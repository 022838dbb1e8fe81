#include <fmt/format.h>
#include <gtest/gtest.h>

#include "case.h"
#include "optimize/contractions.h"
#include "optimize/fold_weights.h"
#include "optimize/merge_contractions.h"
#include "optimize/simplify.h"

namespace onrush {
namespace {

ConvAttr plain_conv(int64_t padding = 0) {
  return {{1, 1}, {1, 1}, {1, 1}, {padding, padding}, {padding, padding}, 1, DType::f32};
}

DotAttr last_by_first(int rank) { return {{}, {}, {rank - 1}, {0}, DType::f32}; }

constexpr char kByFirst[] = "lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[0] dtype=f32";

// --- one form

TEST(Contractions, PaddingIsTheConvolutions) {
  Case c;
  const NodeId x = c.x({2, 5, 4, 3});
  const NodeId padded = c.pad(x, c.scalar(DType::f32, 0), {0, 1, 0, 0}, {0, 2, 1, 0});
  const Graph graph = c.run(c.conv(padded, c.weight({6, 3, 3, 3}), plain_conv(1)), contractions);
  EXPECT_EQ(count(graph, Op::pad), 0);
}

TEST(Contractions, OtherPaddingStays) {
  Case c;
  const NodeId x = c.x({2, 5, 4, 3});
  const NodeId padded = c.pad(x, c.scalar(DType::f32, 1), {0, 1, 0, 0}, {0, 2, 1, 0});
  const Graph graph = c.run(c.conv(padded, c.weight({6, 3, 3, 3}), plain_conv(1)), contractions);
  EXPECT_EQ(count(graph, Op::pad), 1);
}

TEST(Contractions, PaddingIsTheWindows) {
  Case c;
  const NodeId x = c.x({2, 5, 4, 3});
  const NodeId padded = c.pad(x, c.scalar(DType::f32, -INFINITY), {0, 1, 1, 0}, {0, 1, 1, 0});
  const NodeId y = c.window(
      padded,
      {ReduceKind::max, {1, 3, 3, 1}, {1, 2, 2, 1}, {1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}});
  EXPECT_EQ(count(c.run(y, contractions), Op::pad), 0);
}

TEST(Contractions, TilesOfATransposedConvolution) {
  Case c;
  const Dim h = c.size("h", 3);
  const ConvAttr attr{{1, 1}, {1, 1}, {2, 3}, {1, 2}, {1, 2}, 1, DType::f32};
  const Graph graph = c.run(c.conv(c.x({2, h, 4, 5}), c.weight({6, 2, 3, 5}), attr), contractions);
  EXPECT_EQ(count(graph, Op::conv), 0);
  EXPECT_EQ(count(graph, Op::dot), 1);
}

TEST(Contractions, OverlappingTilesArePhases) {
  struct Axis {
    int64_t kernel, stride, low, high;
  };
  const auto check = [](Axis h, Axis w, int64_t groups) {
    SCOPED_TRACE(testing::Message() << "kernel " << h.kernel << "x" << w.kernel << ", low " << h.low
                                    << ", " << w.low << ", groups " << groups);
    Case c;
    // The result of no elements has an extent only where it is padded enough.
    const bool any = h.low + h.high >= h.kernel + h.stride - 2;
    const Dim n = any ? c.size("h", 3) : Dim(3);
    const ConvAttr attr{{1, 1}, {1, 1},    {h.stride, w.stride}, {h.low, w.low}, {h.high, w.high},
                        groups, DType::f32};
    const NodeId x = c.x({2, n, 4, 3 * groups});
    const NodeId y = c.conv(x, c.weight({2 * groups, h.kernel, w.kernel, 3}), attr);
    const Graph graph = c.run(y, contractions);  // which computes the same
    for (const Node& node : graph.nodes) {
      if (node.op != Op::conv) continue;
      EXPECT_EQ(node.as<ConvAttr>().input_dilation, (std::vector<int64_t>{1, 1}));
    }
  };
  for (const int64_t groups : {1, 2})
    for (const int64_t kernel : {2, 3, 4, 5, 6})
      for (const int64_t stride : {2, 3})
        for (int64_t low = 0; low < kernel; ++low)
          check({kernel, stride, low, kernel - 1}, {3, 1, 1, 2}, groups);
  check({4, 2, 2, 2}, {6, 3, 5, 4}, 1);
  check({4, 2, 2, 0}, {6, 3, 0, 6}, 1);
  check({3, 4, 2, 3}, {2, 3, 1, 1}, 1);  // gaps
}

TEST(Contractions, UnitBatchAxesAreDropped) {
  Case c;
  const NodeId a = c.x({1, 3, 4}), b = c.x({1, 4, 5});
  EXPECT_EQ(c.text(c.dot(a, b, {{0}, {0}, {2}, {1}, DType::f32}), contractions),
            "reshape(dot(reshape(x){shape=[3,4]}, reshape(x1){shape=[4,5]})"
            "{lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32})"
            "{shape=[1,3,5]}");
}

TEST(Contractions, RowsNeedNoReshape) {
  Case c;
  const Dim b = c.size("b", 2), s = c.size("s", 5);
  const NodeId flat = c.reshape(c.x({b, s, 4}), {b * s, 4});
  const NodeId y = c.reshape(c.dot(flat, c.weight({4, 6}), last_by_first(2)), {b, s, 6});
  EXPECT_EQ(c.text(y, contractions), fmt::format("dot(x, w[4,6]){{{}}}", kByFirst));
}

TEST(Contractions, UnitFreeAxesAreDropped) {
  Case c;  // pooled feature maps before a classifier
  const NodeId x = c.reshape(c.x({2, 1, 1, 4}), {2, 4, 1, 1});
  const NodeId y = c.dot(x, c.weight({6, 4}), {{}, {}, {1}, {1}, DType::f32});
  EXPECT_EQ(c.text(c.reshape(y, {2, 6}), contractions),
            "dot(reshape(x){shape=[2,4]}, w[6,4]){lhs_batch=[] rhs_batch=[] lhs_contract=[1] "
            "rhs_contract=[1] dtype=f32}");
}

TEST(Contractions, MergedBatchAxesAreSplit) {
  Case c;
  const NodeId q = c.reshape(c.x({2, 3, 5, 4}), {6, 5, 4});
  const NodeId k = c.reshape(c.x({2, 3, 4, 7}), {6, 4, 7});
  const NodeId y = c.reshape(c.dot(q, k, {{0}, {0}, {2}, {1}, DType::f32}), {2, 3, 5, 7});
  EXPECT_EQ(c.text(y, contractions),
            "dot(x, x1){lhs_batch=[0,1] rhs_batch=[0,1] lhs_contract=[3] rhs_contract=[2] "
            "dtype=f32}");
}

// --- fold_weights

Graph folded(Graph graph, const OptimizeOptions& options) {
  return simplify(fold_weights(std::move(graph), options), options);
}

TEST(FoldWeights, BatchNormAfterAConvolution) {
  Case c;
  NodeId y = c.conv(c.x({2, 5, 4, 3}), c.weight({6, 3, 3, 3}), plain_conv());
  y = c.add(y, c.weight({1, 1, 1, 6}));
  y = c.sub(y, c.weight({1, 1, 1, 6}));
  y = c.mul(y, c.weight({1, 1, 1, 6}));
  y = c.add(y, c.weight({6}));
  const Graph graph = c.run(y, folded);
  EXPECT_EQ(expression(graph).substr(0, 21), "add(conv(x, w[6,3,3,3");
  EXPECT_EQ(count(graph, Op::add), 1);
  EXPECT_EQ(count(graph, Op::mul), 0);
}

TEST(FoldWeights, LargeWeightsStayNodes) {
  Case c;
  const NodeId w = c.weight({300, 300});
  const NodeId y = c.mul(c.dot(c.x({2, 3, 300}), w, last_by_first(3)), c.weight({300}));
  EXPECT_EQ(c.text(y, folded), fmt::format("dot(x, mul(w[300,300], w[1,300])){{{}}}", kByFirst));
}

TEST(FoldWeights, DivisionByAWeight) {
  Case c;
  const NodeId y = c.dot(c.x({2, 3, 4}), c.weight({4, 6}), last_by_first(3));
  EXPECT_EQ(c.text(c.div(y, c.constant(Tensor::of<float>(DType::f32, {6},
                                                         std::vector<float>{1, 2, 3, 4, 5, 6}))),
                   folded),
            fmt::format("dot(x, w[4,6]){{{}}}", kByFirst));
}

TEST(FoldWeights, ThroughReshapeAndTranspose) {
  Case c;  // the scale of attention, and one a head
  NodeId y = c.add(c.dot(c.x({2, 5, 4}), c.weight({4, 12}), last_by_first(3)), c.weight({12}));
  y = c.transpose(c.reshape(y, {2, 5, 3, 4}), {0, 2, 1, 3});
  y = c.mul(c.mul(y, c.scalar(DType::f32, 0.3)), c.weight({3, 1, 4}));
  const Graph graph = c.run(y, folded);
  EXPECT_EQ(count(graph, Op::mul), 0);
}

TEST(FoldWeights, SharedValuesAreLeftAlone) {
  Case c;
  const NodeId y = c.dot(c.x({2, 3, 4}), c.weight({4, 6}), last_by_first(3));
  const Graph graph = c.run({y, c.mul(y, c.weight({6}))}, folded);
  EXPECT_EQ(count(graph, Op::mul), 1);
  EXPECT_EQ(count(graph, Op::dot), 1);
}

TEST(FoldWeights, SharedWeightsAreLeftAlone) {
  Case c;
  const NodeId w = c.weight({4, 4});
  const NodeId x = c.x({2, 3, 4});
  const NodeId y = c.mul(c.dot(x, w, last_by_first(3)), c.weight({4}));
  const Graph graph = c.run(c.dot(y, w, last_by_first(3)), folded);
  EXPECT_EQ(count(graph, Op::mul), 1);
}

TEST(FoldWeights, ScaleOfAnInput) {
  Case c;
  const NodeId x = c.mul(c.x({2, 5, 4, 3}), c.weight({3}));
  EXPECT_EQ(count(c.run(c.conv(x, c.weight({6, 3, 3, 3}), plain_conv(1)), folded), Op::mul), 0);
}

TEST(FoldWeights, ScaleOfScoresStaysInTheEpilogue) {
  Case c;
  const NodeId q = c.x({2, 9, 4}), k = c.x({2, 7, 4});
  const NodeId scores = c.dot(q, k, {{0}, {0}, {2}, {2}, DType::f32});
  const std::string text = c.text(c.mul(scores, c.scalar(DType::f32, 0.3)), folded);
  EXPECT_EQ(text.substr(0, 15), "mul(dot(x, x1){");
}

// --- merge_contractions

TEST(MergeContractions, ProjectionsOfOneInput) {
  Case c;
  const NodeId x = c.x({2, 3, 4});
  std::vector<NodeId> outputs;
  for (int64_t width : {4, 6, 6})
    outputs.push_back(c.add(c.dot(x, c.weight({4, width}), last_by_first(3)), c.weight({width})));
  const Graph graph = c.run(outputs, merge_contractions);
  EXPECT_EQ(count(graph, Op::dot), 1);
  EXPECT_EQ(count(graph, Op::add), 1);
  EXPECT_EQ(count(graph, Op::slice), 3);
}

TEST(MergeContractions, WeightsMadeLaterAreThereInTime) {
  Case c;
  const NodeId x = c.x({2, 3, 300});
  const NodeId first = c.exp(c.dot(x, c.weight({300, 300}), last_by_first(3)));
  const NodeId w = c.neg(c.weight({300, 200}));
  const Graph graph = c.run({first, c.dot(x, w, last_by_first(3))}, merge_contractions);
  EXPECT_EQ(count(graph, Op::dot), 1);
}

TEST(MergeContractions, ConvolutionsWithOneActivation) {
  const auto dots = [](Op second) {
    Case c;
    const NodeId x = c.x({2, 5, 4, 3});
    const NodeId a = c.unary(Op::exp, c.conv(x, c.weight({6, 1, 1, 3}), plain_conv()));
    const NodeId b = c.unary(second, c.conv(x, c.weight({2, 1, 1, 3}), plain_conv()));
    return count(c.run({a, b}, merge_contractions), Op::conv);
  };
  EXPECT_EQ(dots(Op::exp), 1);
  EXPECT_EQ(dots(Op::neg), 2);
}

}  // namespace
}  // namespace onrush
