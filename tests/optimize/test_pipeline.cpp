#include <gtest/gtest.h>

#include "case.h"
#include "optimize/pipeline.h"
#include <onrush/error.h>

namespace onrush {
namespace {

Graph small_graph() {
  Builder b(pass_folder());
  b.set_origins({b.add_origin("first")});
  const NodeId x = b.input("x", {DType::f32, {4}});
  const NodeId scaled = b.mul(x, b.like(x, 3));
  b.set_origins({b.add_origin("second")});
  b.output("y", b.mul(scaled, b.like(x, 5)));
  return b.finish();
}

TEST(Pipeline, ReportsEveryPass) {
  std::vector<std::string> seen;
  OptimizeOptions options;
  options.observer = [&](const PassReport& report) {
    EXPECT_EQ(report.step, static_cast<int>(seen.size()));
    seen.emplace_back(report.pass);
  };
  optimize(small_graph(), options);
  ASSERT_EQ(seen.size(), passes().size());
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], passes()[i].name);
}

TEST(Pipeline, DisablesByNameAndStops) {
  OptimizeOptions options;
  options.disabled = {"simplify", "fold_weights"};
  EXPECT_EQ(expression(optimize(small_graph(), options)), "mul(mul(x, 3), 5)");
  options.disabled = {};
  options.stop_after = 1;
  EXPECT_EQ(expression(optimize(small_graph(), options)), "mul(mul(x, 3), 5)");
  options.stop_after = 2;
  EXPECT_EQ(expression(optimize(small_graph(), options)), "mul(x, 15)");
  options.disabled = {"simplyfy"};
  EXPECT_THROW(optimize(small_graph(), options), Error);
}

TEST(Pipeline, OriginsOfMergedNodesAreKept) {
  const Graph graph = optimize(small_graph());
  const Node& product = graph[graph.outputs[0].node];
  EXPECT_EQ(product.origins, (Origins{0, 1}));
}

TEST(Pipeline, DescribesChanges) {
  const Graph before = small_graph();
  EXPECT_EQ(describe_changes(before, before), "");
  EXPECT_EQ(describe_changes(before, optimize(before)),
            "- 1 broadcast {shape=[4]} : f32[4]\n"
            "+ 1 constant {{15}} : f32[1]\n"
            "- 1 constant {{3}} : f32[1]\n"
            "- 1 constant {{5}} : f32[1]\n"
            "- 1 mul : f32[4]\n");
}

TEST(Pipeline, OptimizesTheBodiesOfLoops) {
  Case c;
  const NodeId start = c.x({3}), xs = c.x({5, 3});
  Builder body = c.for_body();
  const NodeId sum = body.input("sum", {DType::f32, {3}}), x = body.input("x", {DType::f32, {3}});
  body.input("trip", {DType::i64, {}});
  body.output("sum", body.add(sum, body.neg(body.neg(x))));
  const LoopAttr attr{std::make_shared<const Graph>(body.finish()), 5, 1, 1, false};
  const Graph graph = c.run(
      c.get(c.loop(attr, std::array{start, xs}), 0),
      [](Graph g, const OptimizeOptions& options) { return optimize(std::move(g), options); });
  for (const Node& node : graph.nodes) {
    if (node.op != Op::loop) continue;
    EXPECT_EQ(expression(*node.as<LoopAttr>().body), "add(sum, x)");
  }
}

}  // namespace
}  // namespace onrush
