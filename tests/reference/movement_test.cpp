#include "network.h"
#include "reference/philox.h"

namespace onrush {
namespace {

const Tensor kMatrix = f32({2, 3}, {0, 1, 2, 3, 4, 5});

TEST(Source, IotaAndDims) {
  Network n;
  expect_tensor(n.run(n.iota(DType::i32, {2, 3}, 1)), DType::i32, {2, 3}, {0, 1, 2, 0, 1, 2});

  Network m;
  const Dim s = m.shapes().symbol("s0", {}, 4);
  m.output("y", m.dims({s, s * 2 + 1}));
  const Graph graph = m.finish();
  expect_tensor(evaluate(graph, {})[0], DType::i64, {2}, {4, 9});
  const int64_t other = 10;
  const SizeTable sizes = graph.shapes->evaluate({&other, 1});
  expect_tensor(evaluate(graph, {}, sizes)[0], DType::i64, {2}, {10, 21});
}

TEST(Source, PhiloxKnownAnswers) {
  // From the tests of Random123.
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Source, RandomStreamsDiffer) {
  const auto draw = [](uint64_t stream) {
    Network n;
    return n.run(n.random_bits({2, 2}, {7, stream, true}));
  };
  EXPECT_EQ(draw(0).as<uint32_t>()[3], random_bits(7, 0, 3));
  EXPECT_NE(draw(0).as<uint32_t>()[0], draw(1).as<uint32_t>()[0]);
}

TEST(Movement, Transpose) {
  Network n;
  expect_tensor(n.run(n.transpose(n.feed(kMatrix), {1, 0})), DType::f32, {3, 2},
                {0, 3, 1, 4, 2, 5});
}

TEST(Movement, TransposeOfSubByteAndStrings) {
  Network n;
  expect_tensor(n.run(n.transpose(n.feed(make(DType::i4, {2, 3}, {-8, 1, 2, 3, 4, 7})), {1, 0})),
                DType::i4, {3, 2}, {-8, 3, 1, 4, 2, 7});
  Network m;
  expect_strings(m.run(m.transpose(m.feed(strings({2, 2}, {"a", "b", "c", "d"})), {1, 0})), {2, 2},
                 {"a", "c", "b", "d"});
}

TEST(Movement, TransposeOfComplex) {
  Tensor x(DType::c128, {2, 1});
  for (size_t i = 0; i < 4; ++i) static_cast<double*>(x.data())[i] = static_cast<double>(i);
  Network n;
  const Tensor y = n.run(n.transpose(n.feed(x), {1, 0}));
  EXPECT_EQ(y.shape(), (Shape{1, 2}));
  EXPECT_EQ(static_cast<double*>(y.data())[3], 3);
}

TEST(Movement, BroadcastOfScalarAndEmpty) {
  Network n;
  expect_tensor(n.run(n.broadcast(n.feed(f32({}, {7})), {2, 2})), DType::f32, {2, 2}, {7, 7, 7, 7});
  Network m;
  expect_tensor(m.run(m.broadcast(m.feed(f32({1, 2}, {1, 2})), {0, 2})), DType::f32, {0, 2}, {});
}

TEST(Movement, SliceWithNegativeSteps) {
  Network n;
  expect_tensor(n.run(n.slice(n.feed(kMatrix), {1, 2}, {-1, -2}, {2, 2})), DType::f32, {2, 2},
                {5, 3, 2, 0});
  Network m;
  expect_tensor(m.run(m.slice(m.feed(kMatrix), {2, 0}, {1, 1}, {0, 3})), DType::f32, {0, 3}, {});
}

TEST(Movement, Pad) {
  Network n;
  const NodeId x = n.feed(kMatrix);
  expect_tensor(n.run(n.pad(x, n.like(x, 9), {1, 0}, {0, 1})), DType::f32, {3, 4},
                {9, 9, 9, 9, 0, 1, 2, 9, 3, 4, 5, 9});
  Network m;
  const NodeId empty = m.feed(make(DType::u4, {0}, {}));
  expect_tensor(m.run(m.pad(empty, m.like(empty, 3), {1}, {2})), DType::u4, {3}, {3, 3, 3});
}

TEST(Movement, Concat) {
  Network n;
  const NodeId a = n.feed(kMatrix), b = n.feed(f32({2, 1}, {8, 9}));
  expect_tensor(n.run(n.concat(std::array{a, b}, 1)), DType::f32, {2, 4}, {0, 1, 2, 8, 3, 4, 5, 9});
  Network m;
  const NodeId c = m.feed(make(DType::u2, {3}, {1, 2, 3})),
               d = m.feed(make(DType::u2, {2}, {3, 0}));
  expect_tensor(m.run(m.concat(std::array{c, d}, 0)), DType::u2, {5}, {1, 2, 3, 3, 0});
}

TEST(Movement, ReshapeFollowsTheSizes) {
  Network n;
  const Dim s = n.shapes().symbol("s0", {SymbolSource::Kind::extent, 0, 0}, 2);
  const NodeId x = n.input("x", {DType::f32, {s, 3}});
  n.output("y", n.reshape(x, {s * 3}));
  const Graph graph = n.finish();
  expect_tensor(evaluate(graph, {{kMatrix}})[0], DType::f32, {6}, {0, 1, 2, 3, 4, 5});
  const int64_t one = 1;
  const SizeTable sizes = graph.shapes->evaluate({&one, 1});
  expect_tensor(evaluate(graph, {{f32({1, 3}, {4, 5, 6})}}, sizes)[0], DType::f32, {3}, {4, 5, 6});
  EXPECT_THROW(evaluate(graph, {{kMatrix}}, sizes), Error);
}

}  // namespace
}  // namespace onrush
