// evaluate() as a whole, loops, and the folder
#include "network.h"

namespace onrush {
namespace {

// Body: sum' = sum + x * scale + trip; emits sum'.
std::shared_ptr<const Graph> running_sum(const Builder& outer) {
  Builder body = outer.for_body();
  const NodeId sum = body.input("sum", {DType::f32, {}}), x = body.input("x", {DType::f32, {}});
  const NodeId scale = body.input("scale", {DType::f32, {}});
  const NodeId trip = body.cast(body.input("trip", {DType::i64, {}}), DType::f32);
  const NodeId next = body.add(body.add(sum, body.mul(x, scale)), trip);
  body.output("sum", next);
  body.output("emitted", next);
  return std::make_shared<const Graph>(body.finish());
}

Tensor run_loop(int64_t trips, bool reverse, int part) {
  Network n;
  const std::vector<double> values = {1, 2, 4};
  const NodeId start = n.feed(f32({}, {100}));
  const NodeId xs = n.feed(f32({trips}, {values.begin(), values.begin() + trips}));
  const NodeId scale = n.feed(f32({}, {10}));
  const LoopAttr attr{running_sum(n), trips, 1, 1, reverse};
  return n.run(n.get(n.loop(attr, std::array{start, xs, scale}), part));
}

TEST(Loop, CarriesScansAndCaptures) {
  expect_tensor(run_loop(3, false, 0), DType::f32, {}, {173});
  expect_tensor(run_loop(3, false, 1), DType::f32, {3}, {110, 131, 173});
  expect_tensor(run_loop(3, true, 1), DType::f32, {3}, {140, 161, 173});
}

TEST(Loop, NoTrips) {
  expect_tensor(run_loop(0, false, 0), DType::f32, {}, {100});
  expect_tensor(run_loop(0, false, 1), DType::f32, {0}, {});
}

TEST(Evaluate, ChecksItsInputs) {
  Builder b;
  b.output("y", b.neg(b.input("x", {DType::f32, {2}})));
  const Graph graph = b.finish();
  EXPECT_THROW(evaluate(graph, {}), Error);
  EXPECT_THROW(evaluate(graph, {{f32({3}, {1, 2, 3})}}), Error);
  EXPECT_THROW(evaluate(graph, {{make(DType::f64, {2}, {1, 2})}}), Error);
}

TEST(Evaluate, OneValueMayBeSeveralOutputs) {
  Builder b;
  const NodeId x = b.input("x", {DType::f32, {1}});
  const NodeId y = b.neg(x);
  b.output("y", y);
  b.output("x", x);
  b.output("again", y);
  b.output("z", b.add(y, y));
  const auto outputs = evaluate(b.finish(), {{f32({1}, {3})}});
  expect_tensor(outputs[0], DType::f32, {1}, {-3});
  expect_tensor(outputs[1], DType::f32, {1}, {3});
  expect_tensor(outputs[2], DType::f32, {1}, {-3});
  expect_tensor(outputs[3], DType::f32, {1}, {-6});
}

TEST(Folder, FoldsSmallConstants) {
  Builder b(constant_folder());
  const NodeId y = b.add(b.constant(f32({2}, {1, 2})), b.scalar(DType::f32, 1.0));
  ASSERT_NE(b.constant_tensor(y), nullptr);
  expect_tensor(*b.constant_tensor(y), DType::f32, {2}, {2, 3});
}

TEST(Folder, LeavesLargeSymbolicAndFailing) {
  Builder b(constant_folder());
  const NodeId small = b.constant(f32({1}, {1}));
  EXPECT_EQ(b.constant_tensor(b.broadcast(small, {16385})), nullptr);
  EXPECT_NE(b.constant_tensor(b.broadcast(small, {16384})), nullptr);
  const Dim s = b.shapes().symbol("s0", {}, 1);
  EXPECT_EQ(b.constant_tensor(b.broadcast(small, {s})), nullptr);
  const NodeId two = b.constant(f32({2}, {1, 2}));
  EXPECT_EQ(b.constant_tensor(b.slice(two, {s}, {1}, {1})), nullptr);
  const NodeId index = b.constant(i64({1}, {5}));
  EXPECT_EQ(b.constant_tensor(b.gather(two, std::array{index}, {~0}, {1})), nullptr);
  EXPECT_EQ(b.constant_tensor(b.random_bits({2}, {1, 1, true})), nullptr);
}

}  // namespace
}  // namespace onrush
