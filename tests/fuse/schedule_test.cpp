// What becomes one kernel, compared as text.
#include <gtest/gtest.h>

#include "codegen/emit.h"
#include "fuse/fuse.h"
#include "ir/builder.h"
#include "reference/evaluate.h"

namespace onrush {
namespace {

class Fusion : public testing::Test {
 protected:
  Dim symbol(int64_t value) {
    return b.shapes().symbol("n", {SymbolSource::Kind::extent, 0, 0}, value);
  }
  NodeId weight(Shape shape) {
    Tensor tensor(DType::f32, std::move(shape));
    for (float& x : tensor.as<float>()) x = 0.5f;
    return b.constant(tensor);
  }
  Schedule schedule(NodeId output) {
    b.output("y", output);
    return fuse(b.finish());
  }
  static std::string kinds(const Schedule& schedule) {
    static const char* names[] = {"pointwise",   "reduction", "window",
                                  "contraction", "concat",    "host"};
    std::string text;
    for (const Group& group : schedule.groups)
      text += (text.empty() ? "" : " ") + std::string(names[static_cast<size_t>(group.kind)]) +
              (group.time == Time::prepare ? "'" : "");
    return text;
  }
  Builder b{constant_folder()};
};

TEST_F(Fusion, BiasResidualAndReluJoinTheConvolution) {
  const Dim n = symbol(2);
  const NodeId x = b.input("x", {DType::f32, {n, 8, 8, 16}});
  const NodeId conv =
      b.conv(x, weight({16, 3, 3, 16}), {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, DType::f32});
  const NodeId sum = b.add(b.add(conv, weight({16})), x);
  EXPECT_EQ(kinds(schedule(b.max(sum, b.like(sum, 0)))), "contraction");
}

TEST_F(Fusion, SoftmaxIsOneKernel) {
  const NodeId x = b.input("x", {DType::f32, {symbol(4), 32}});
  const NodeId e = b.exp(b.sub(x, b.reduce(ReduceKind::max, x, {1})));
  const Schedule s = schedule(b.div(e, b.reduce(ReduceKind::sum, e, {1})));
  ASSERT_EQ(kinds(s), "reduction");
  EXPECT_EQ(s.groups[0].outputs.size(), 1u);
}

TEST_F(Fusion, LayerNormIsOneKernelAndReadsItsInputOnce) {
  const NodeId x = b.input("x", {DType::f32, {symbol(4), 64}});
  const NodeId centred = b.sub(x, b.mean(x, {1}));
  const NodeId variance = b.mean(b.mul(centred, centred), {1});
  const NodeId y = b.mul(b.div(centred, b.sqrt(b.add(variance, b.like(x, 1e-5)))), weight({64}));
  const Schedule s = schedule(y);
  ASSERT_EQ(kinds(s), "reduction");
  const Loops loops = emit_loops(s, s.groups[0])[0];
  int loads = 0;
  for (const LoopValue& value : loops.body) loads += std::holds_alternative<LoadValue>(value.data);
  EXPECT_EQ(loads, 2) << to_string(loops);  // x and the scale
}

TEST_F(Fusion, MovementBecomesAddresses) {
  const NodeId x = b.input("x", {DType::f32, {symbol(2), 6, 4}});
  const NodeId y = b.transpose(b.reshape(x, {b.shape(x)[0], 2, 3, 4}), {0, 2, 1, 3});
  const Schedule s = schedule(b.exp(y));
  ASSERT_EQ(kinds(s), "pointwise");
  const Loops loops = emit_loops(s, s.groups[0])[0];
  for (const LoopValue& value : loops.body) {
    const auto* load = std::get_if<LoadValue>(&value.data);
    EXPECT_TRUE(!load || load->dynamic.empty()) << to_string(loops);
  }
}

TEST_F(Fusion, WorkOnWeightsIsPrepared) {
  const NodeId x = b.input("x", {DType::f32, {symbol(2), 200}});
  const NodeId w = b.mul(weight({200, 200}), weight({200}));
  EXPECT_EQ(kinds(schedule(b.matmul(x, w))), "pointwise' contraction");
}

TEST_F(Fusion, ASliceOfWeightsThatSizesPlaceIsNotPrepared) {
  const Dim n = symbol(5);
  const NodeId x = b.input("x", {DType::f32, {n, 8}});
  const NodeId part = b.mul(b.slice_axis(weight({64, 8}), 0, n, 1), weight({8}));
  for (const Group& group : schedule(b.matmul(x, b.transpose(part, {1, 0}))).groups)
    EXPECT_EQ(group.time, Time::run);
}

TEST_F(Fusion, AHeadSplitBehindAProductIsAStore) {
  const Dim n = symbol(5);
  const NodeId x = b.input("x", {DType::f32, {n, 32}});
  const NodeId product = b.add(b.matmul(x, weight({32, 64})), weight({64}));
  const NodeId heads = b.transpose(b.reshape(product, {n, 4, 16}), {1, 0, 2});
  const Schedule s = schedule(b.max(heads, b.like(heads, 0)));
  ASSERT_EQ(kinds(s), "contraction");
  const Contraction c = emit_contraction(s, s.groups[0]);
  EXPECT_EQ(c.n_axes, 2) << to_string(c);
}

TEST_F(Fusion, PartsOfAConcatenationAreWrittenWhereTheyBelong) {
  const NodeId x = b.input("x", {DType::f32, {symbol(5), 32}});
  const NodeId first = b.matmul(x, weight({32, 48}));
  const NodeId parts[] = {first, b.matmul(first, weight({48, 16})), x};
  const NodeId whole = b.concat(parts, 1);
  const Schedule s = schedule(b.matmul(whole, weight({96, 16})));
  ASSERT_EQ(kinds(s), "contraction contraction concat contraction");
  const Contraction maker = emit_contraction(s, s.groups[1]);
  EXPECT_EQ(maker.lhs.buffers[0].node, s.groups[2].anchor) << to_string(maker);
  EXPECT_EQ(maker.epilogue.buffers[0].node, s.groups[2].anchor) << to_string(maker);
  EXPECT_TRUE(same(maker.epilogue.stores[0].address.offset, 48)) << to_string(maker);
  EXPECT_EQ(emit_loops(s, s.groups[2]).size(), 1u);  // of x
}

TEST_F(Fusion, PartsSideBySideMayBeReshaped) {
  const Dim n = symbol(5);
  const NodeId x = b.input("x", {DType::f32, {n, 32}}), y = b.input("y", {DType::f32, {1, n, 6}});
  const NodeId product = b.matmul(x, weight({32, 6}));
  const NodeId parts[] = {y, b.reshape(product, {1, n, 6})};
  const Schedule s = schedule(b.concat(parts, 1));
  ASSERT_EQ(kinds(s), "contraction concat");
  EXPECT_EQ(emit_loops(s, s.groups[1]).size(), 1u);  // of y
  const Contraction maker = emit_contraction(s, s.groups[0]);
  EXPECT_TRUE(same(maker.epilogue.stores[0].address.offset, 6 * n)) << to_string(maker);
}

TEST_F(Fusion, PartsThatOthersNeedDenseAreCopied) {
  const NodeId x = b.input("x", {DType::f32, {symbol(5), 32}});
  const NodeId output = b.matmul(x, weight({32, 48}));
  const NodeId sorted = b.matmul(x, weight({32, 16}));
  const NodeId narrow = b.matmul(x, weight({32, 3}));
  const NodeId parts[] = {output, sorted, narrow};
  b.output("part", output);
  b.output("sorted", b.get(b.sort(sorted, {1, false, 16}), 0));
  const Schedule s = schedule(b.matmul(b.concat(parts, 1), weight({67, 16})));
  for (const auto& inside : s.inside) EXPECT_FALSE(inside.has_value());
}

// Two products whose sums wait for each other must not merge into a circle.
TEST_F(Fusion, GroupsNeverWaitForThemselves) {
  const NodeId x = b.input("x", {DType::f32, {symbol(3), 16}});
  const NodeId first = b.matmul(x, weight({16, 16}));
  const NodeId second = b.matmul(b.exp(first), weight({16, 16}));
  const NodeId y = b.add(first, second);
  const NodeId rows = b.reduce(ReduceKind::sum, y, {1});
  const Schedule s = schedule(b.add(b.mul(y, rows), first));
  std::vector<bool> ready(s.graph.nodes.size());
  for (const Group& group : s.groups)
    for (NodeId output : group.outputs) ready[output.index] = true;
  EXPECT_TRUE(ready[s.graph.outputs[0].node.index]);
}

}  // namespace
}  // namespace onrush
