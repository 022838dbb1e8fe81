// Rules of simplify about movement and reductions.
#include <gtest/gtest.h>

#include "case.h"
#include "optimize/axis_blocks.h"
#include "optimize/simplify.h"

namespace onrush {
namespace {

TEST(AxisBlocks, Finest) {
  Case c;
  const Dim b = c.size("b", 1), s = c.size("s", 1);
  const auto blocks = axis_blocks({b * s, 12, 1, 64}, {b, s, 768, 1});
  ASSERT_TRUE(blocks);
  ASSERT_EQ(blocks->size(), 2u);
  EXPECT_EQ((*blocks)[0].from, Axes{0});
  EXPECT_EQ((*blocks)[0].to, (Axes{0, 1}));
  EXPECT_EQ((*blocks)[1].from, (Axes{1, 3}));
  EXPECT_EQ((*blocks)[1].to, Axes{2});
}

TEST(AxisBlocks, NoCommonDivision) {
  const auto blocks = axis_blocks({5, 4, 6}, {5, 8, 3});
  ASSERT_TRUE(blocks);
  ASSERT_EQ(blocks->size(), 2u);
  EXPECT_EQ((*blocks)[1].from, (Axes{1, 2}));
  EXPECT_FALSE(axis_blocks({Dim::unknown()}, {3}));
}

TEST(AxisBlocks, SplitAndMerge) {
  const auto steps = split_and_merge({7, 2, 12}, {7, 8, 3});
  ASSERT_TRUE(steps);
  EXPECT_EQ(to_string(steps->split), "[7,2,4,3]");
  EXPECT_EQ(steps->merged, (std::vector<Axes>{{0}, {1, 2}, {3}}));
  EXPECT_FALSE(split_and_merge({4, 6}, {6, 4}));
}

TEST(Movement, UnitAxesAreReshaped) {
  Case c;
  const NodeId x = c.x({4, 1, 3});
  EXPECT_EQ(c.text(c.transpose(x, {1, 0, 2}), simplify), "reshape(x){shape=[1,4,3]}");
}

TEST(Movement, BroadcastComesLast) {
  Case c;
  const NodeId x = c.x({4, 1, 3});
  const NodeId wide = c.broadcast(x, {4, 5, 3});
  EXPECT_EQ(c.text(c.reshape(c.transpose(wide, {1, 0, 2}), {5, 12}), simplify),
            "broadcast(reshape(x){shape=[1,12]}){shape=[5,12]}");
}

TEST(Movement, ReshapeComesAfterElementwise) {
  Case c;
  const Dim b = c.size("b", 2), s = c.size("s", 5);
  const NodeId x = c.x({b, s, 6});
  const NodeId flat = c.reshape(x, {b * s, 6});
  const NodeId bias = c.broadcast(c.weight({6}), {b * s, 6});
  EXPECT_EQ(c.text(c.reshape(c.exp(c.add(flat, bias)), {b, s, 6}), simplify),
            "exp(add(x, w[1,1,6]))");
}

// A size that a guard leaves 1 is repeated along like the number 1.
TEST(Movement, ReshapeCrossesABroadcastOfASizeThatIsOne) {
  Case c;
  const Dim n = c.size("n", 1), h = c.size("h", 1), w = c.size("w", 3);
  const NodeId x = c.x({ceildiv(n, 2), w});
  const NodeId twice = c.broadcast(c.unsqueeze(c.x({h, w}), {1}), {h, 2, w});
  c.run(c.add(x, c.exp(c.reshape(twice, {2 * h, w}))), simplify);
}

TEST(Movement, AxesMoveBeforeTheyMerge) {
  Case c;  // heads and batch as one axis, as bmm wants them
  const NodeId x = c.x({5, 2, 12});
  const NodeId merged = c.transpose(c.reshape(x, {5, 6, 4}), {1, 0, 2});
  EXPECT_EQ(c.text(c.reshape(merged, {2, 3, 5, 4}), simplify),
            "transpose(reshape(x){shape=[5,2,3,4]}){permutation=[1,2,0,3]}");
}

TEST(Slice, OfConcat) {
  Case c;
  const NodeId parts[] = {c.x({2, 3}), c.x({2, 4})};
  EXPECT_EQ(c.text(c.slice_axis(c.concat(parts, 1), 1, 4, 2), simplify),
            "slice(x1){start=[0,1] step=[1,1] shape=[2,2]}");
}

TEST(Slice, OfPadAndBroadcast) {
  Case c;
  const NodeId x = c.x({2, 1});
  const NodeId wide = c.broadcast(c.pad(x, c.like(x, 0), {1, 0}, {1, 0}), {4, 9});
  EXPECT_EQ(c.text(c.slice(wide, {1, 2}, {1, 1}, {2, 5}), simplify), "broadcast(x){shape=[2,5]}");
}

TEST(Slice, NeighboursJoin) {
  Case c;
  const NodeId x = c.x({6, 2});
  const NodeId parts[] = {c.slice_axis(x, 0, 1, 2), c.slice_axis(x, 0, 3, 1)};
  EXPECT_EQ(c.text(c.concat(parts, 0), simplify), "slice(x){start=[1,0] step=[1,1] shape=[3,2]}");
}

TEST(Slice, ConcatOfConcat) {
  Case c;
  const NodeId x = c.x({1}), y = c.x({2}), z = c.x({3});
  const NodeId inner[] = {x, y};
  const NodeId outer[] = {c.concat(inner, 0), z};
  EXPECT_EQ(c.text(c.concat(outer, 0), simplify), "concat(x, x1, x2){axis=0}");
}

TEST(Slice, ConcatOfItself) {
  Case c;
  const NodeId x = c.x({2, 3});
  const NodeId twice[] = {x, x};
  EXPECT_EQ(c.text(c.concat(twice, 1), simplify),
            "reshape(broadcast(reshape(x){shape=[2,1,3]}){shape=[2,2,3]}){shape=[2,6]}");
}

TEST(Slice, SwappedHalvesAreReadWhereTheyLie) {
  // The elements of x: [2, 8] from `second` on before `first` others.
  const auto text = [](int64_t first, int64_t second, bool negated) {
    Case c;
    const NodeId x = c.x({2, 8});
    const NodeId low = c.slice_axis(x, 1, 0, first), high = c.slice_axis(x, 1, second, 8 - second);
    const NodeId parts[] = {negated ? c.neg(high) : high, low};
    return c.text(c.concat(parts, 1), simplify);
  };
  const std::string reversed =
      "slice(reshape(x){shape=[2,2,4]}){start=[0,1,0] step=[1,-1,1] shape=[2,2,4]}";
  EXPECT_EQ(text(4, 4, false), "reshape(" + reversed + "){shape=[2,8]}");
  EXPECT_NE(text(4, 4, true).find("mul(" + reversed), std::string::npos);
  EXPECT_NE(text(3, 3, false).find("concat"), std::string::npos);  // of unequal parts
  EXPECT_NE(text(3, 5, false).find("concat"), std::string::npos);  // with a gap between them
}

TEST(Slice, PadOfPad) {
  Case c;
  const NodeId x = c.x({2});
  const NodeId zero = c.like(x, 0);
  EXPECT_EQ(c.text(c.pad(c.pad(x, zero, {1}, {0}), zero, {2}, {4}), simplify),
            "pad(x, 0){low=[3] high=[4]}");
}

// --- gather

TEST(Gather, OfPositionsIsASlice) {
  Case c;
  const Dim s = c.size("s", 5);
  const NodeId table = c.weight({8, 3});
  const NodeId index = c.unsqueeze(c.iota(DType::i64, {s}, 0), {1});
  EXPECT_EQ(c.text(c.gather(table, std::array{index}, {~0, 1}, {s, 3}), simplify),
            "slice(w[8,3]){start=[0,0] step=[1,1] shape=[s0,3]}");
}

TEST(Gather, OfAStoredProgression) {
  Case c;
  const Dim s = c.size("s", 5);
  std::vector<int64_t> numbers = {0, 1, 2, 3, 4, 5, 6, 7};
  const NodeId stored = c.constant(Tensor::of<int64_t>(DType::i64, {8, 1}, numbers));
  const NodeId index = c.slice_axis(stored, 0, 0, s);
  EXPECT_EQ(c.text(c.gather(c.x({8, 3}), std::array{index}, {~0, 1}, {s, 3}), simplify),
            "slice(x){start=[0,0] step=[1,1] shape=[s0,3]}");
}

TEST(Gather, OfOnePlaceIsASlice) {
  Case c;
  const NodeId x = c.x({2, 4, 3});
  const NodeId y = c.gather(x, std::array{c.scalar(DType::i64, 1)}, {0, ~0, 1}, {2, 3});
  EXPECT_EQ(c.text(y, simplify),
            "reshape(slice(x){start=[0,1,0] step=[1,1,1] shape=[2,1,3]}){shape=[2,3]}");
}

TEST(Gather, OfAFlatIndexIsAReshape) {
  Case c;
  const Dim n = c.size("n", 2);
  const NodeId x = c.x({n, 7});
  const NodeId rows = c.mul(c.iota(DType::i64, {n, 1}, 0), c.scalar(DType::i64, 7));
  const NodeId index = c.add(rows, c.iota(DType::i64, {1, 7}, 1));
  EXPECT_EQ(c.text(c.gather(c.reshape(x, {n * 7}), std::array{index}, {~0}, {n, 7}), simplify),
            "x");
}

TEST(Gather, ARepeatedPositionIsNone) {
  Case c;
  const NodeId x = c.x({8, 3});
  const NodeId first = c.iota(DType::i64, {1, 1}, 0);
  c.run(c.gather(x, std::array{first}, {~0, 1}, {5, 3}), simplify);
  Case d;
  const NodeId flat = d.reshape(d.x({4, 7}), {28});
  const NodeId rows = d.mul(d.iota(DType::i64, {1, 1}, 0), d.scalar(DType::i64, 7));
  const NodeId index = d.broadcast(d.add(rows, d.iota(DType::i64, {1, 7}, 1)), {4, 7});
  d.run(d.gather(flat, std::array{index}, {~0}, {4, 7}), simplify);
}

TEST(Gather, OtherIndicesStay) {
  Case c;
  const Dim n = c.size("n", 3);
  const NodeId x = c.x({n, 3});
  const NodeId rows = c.mul(c.iota(DType::i64, {n, 1}, 0), c.scalar(DType::i64, 2));
  const NodeId index = c.add(rows, c.iota(DType::i64, {1, 2}, 1));
  const Graph graph =
      c.run(c.gather(c.reshape(x, {n * 3}), std::array{index}, {~0}, {n, 2}), simplify);
  EXPECT_EQ(count(graph, Op::gather), 1);
}

// --- reductions

TEST(Reduce, UnitAxes) {
  Case c;
  const NodeId x = c.x({2, 1, 3});
  EXPECT_EQ(c.text(c.reduce(ReduceKind::sum, x, {1, 2}), simplify), "reduce(x){kind=sum axes=[2]}");
  Case d;
  EXPECT_EQ(d.text(d.reduce(ReduceKind::argmax, d.x({300, 1, 300}), {1}), simplify), "0");
}

TEST(Reduce, MeanOfMean) {
  Case c;
  const NodeId x = c.x({2, 3, 5});
  EXPECT_EQ(c.text(c.mean(c.mean(x, {1}), {2}), simplify),
            "div(div(reduce(x){kind=sum axes=[1,2]}, 3), 5)");
}

TEST(Reduce, OfASharedReductionStays) {
  Case c;
  const NodeId x = c.x({2, 3, 5});
  const NodeId inner = c.reduce(ReduceKind::max, x, {1});
  const Graph graph = c.run({inner, c.reduce(ReduceKind::max, inner, {2})}, simplify);
  EXPECT_EQ(expression(graph),
            "reduce(x){kind=max axes=[1]}; "
            "reduce(reduce(x){kind=max axes=[1]}){kind=max axes=[2]}");
}

TEST(Reduce, OfBroadcast) {
  Case c;
  const NodeId wide = c.broadcast(c.x({2, 1}), {2, 6});
  EXPECT_EQ(c.text(c.reduce(ReduceKind::sum, wide, {1}), simplify), "mul(x, 6)");
  Case d;
  const NodeId repeated = d.broadcast(d.x({2, 1}), {2, 6});
  EXPECT_EQ(d.text(d.reduce(ReduceKind::max, repeated, {1}), simplify), "x");
}

TEST(Reduce, OfReshape) {
  Case c;
  const NodeId x = c.x({2, 3, 4, 5});
  EXPECT_EQ(
      c.text(c.squeeze(c.reduce(ReduceKind::sum, c.reshape(x, {2, 3, 20}), {2}), {2}), simplify),
      "reshape(reduce(x){kind=sum axes=[2,3]}){shape=[2,3]}");
}

}  // namespace
}  // namespace onrush
