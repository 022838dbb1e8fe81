// dot, conv
#include "network.h"

namespace onrush {
namespace {

TEST(Dot, BatchesAndFreeAxes) {
  // lhs [k, b, m], rhs [b, n, k]: result [b, m, n]
  Network n;
  const NodeId lhs = n.feed(f32({2, 2, 1}, {1, 2, 3, 4}));
  const NodeId rhs = n.feed(f32({2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
  expect_tensor(n.run(n.dot(lhs, rhs, {{1}, {0}, {0}, {2}, DType::f32})), DType::f32, {2, 1, 2},
                {7, 15, 34, 46});
}

TEST(Dot, IntegersAccumulateInI32) {
  Network n;
  const NodeId lhs = n.feed(make(DType::u8, {1, 3}, {255, 255, 255}));
  const NodeId rhs = n.feed(make(DType::i8, {3, 1}, {-128, -128, -128}));
  expect_tensor(n.run(n.dot(lhs, rhs, {{}, {}, {1}, {0}, DType::i32})), DType::i32, {1, 1},
                {-97920});
}

TEST(Dot, FloatsRoundOnce) {
  Network n;
  const NodeId lhs = n.feed(make(DType::f16, {1, 3}, {2048, 1, 1}));
  const NodeId rhs = n.feed(make(DType::f16, {3, 1}, {1, 1, 1}));
  expect_tensor(n.run(n.matmul(lhs, rhs)), DType::f16, {1, 1}, {2050});
}

TEST(Dot, NothingContractedAndNothingAtAll) {
  Network n;
  const NodeId a = n.feed(f32({2}, {1, 2})), b = n.feed(f32({2}, {3, 4}));
  expect_tensor(n.run(n.dot(a, b, {{}, {}, {}, {}, DType::f32})), DType::f32, {2, 2}, {3, 4, 6, 8});
  Network m;
  const NodeId c = m.feed(f32({2, 0}, {})), d = m.feed(f32({0, 1}, {}));
  expect_tensor(m.run(m.matmul(c, d)), DType::f32, {2, 1}, {0, 0});
}

TEST(Dot, LargerThanItsBlocks) {
  constexpr int64_t kRows = 3, kDepth = 150, kColumns = 300;
  std::vector<double> a, b, expected;
  for (int64_t i = 0; i < kRows * kDepth; ++i) a.push_back(static_cast<double>(i % 7 - 3));
  for (int64_t i = 0; i < kDepth * kColumns; ++i) b.push_back(static_cast<double>(i % 11 - 5));
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < kColumns; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < kDepth; ++k)
        sum += a[static_cast<size_t>(i * kDepth + k)] * b[static_cast<size_t>(k * kColumns + j)];
      expected.push_back(sum);
    }
  Network n;
  const NodeId x = n.feed(f32({kRows, kDepth}, a)), y = n.feed(f32({kDepth, kColumns}, b));
  expect_tensor(n.run(n.matmul(x, y)), DType::f32, {kRows, kColumns}, expected);
}

Tensor conv(const Tensor& x, const Tensor& w, ConvAttr attr) {
  Network n;
  const NodeId a = n.feed(x), b = n.feed(w);
  return n.run(n.conv(a, b, std::move(attr)));
}

TEST(Conv, StrideDilationAndPadding) {
  const Tensor x = f32({1, 5, 1}, {1, 2, 3, 4, 5}), w = f32({1, 2, 1}, {1, 10});
  expect_tensor(conv(x, w, {{1}, {1}, {1}, {0}, {0}, 1, DType::f32}), DType::f32, {1, 4, 1},
                {21, 32, 43, 54});
  expect_tensor(conv(x, w, {{2}, {2}, {1}, {1}, {1}, 1, DType::f32}), DType::f32, {1, 3, 1},
                {20, 42, 4});
}

TEST(Conv, TransposedByInputDilation) {
  // x dilated: 1 0 2 0 3; padded by one on each side, against a kernel of 3.
  const Tensor x = f32({1, 3, 1}, {1, 2, 3}), w = f32({1, 3, 1}, {1, 10, 100});
  expect_tensor(conv(x, w, {{1}, {1}, {2}, {1}, {1}, 1, DType::f32}), DType::f32, {1, 5, 1},
                {10, 201, 20, 302, 30});
  expect_tensor(conv(x, w, {{1}, {1}, {2}, {-1}, {0}, 1, DType::f32}), DType::f32, {1, 2, 1},
                {20, 302});
}

TEST(Conv, Groups) {
  // Two groups of one channel, two outputs each; a 1x1 kernel.
  const Tensor x = f32({1, 1, 2, 2}, {1, 2, 3, 4}), w = f32({4, 1, 1, 1}, {1, 10, 100, 1000});
  expect_tensor(conv(x, w, {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 2, DType::f32}), DType::f32,
                {1, 1, 2, 4}, {1, 10, 200, 2000, 3, 30, 400, 4000});
}

TEST(Conv, TwoAndThreeDimensions) {
  std::vector<double> ones(27, 1.0);
  expect_tensor(conv(f32({1, 3, 3, 1}, std::vector<double>(9, 1.0)),
                     f32({1, 3, 3, 1}, std::vector<double>(9, 1.0)),
                     {{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, DType::f32}),
                DType::f32, {1, 3, 3, 1}, {4, 6, 4, 6, 9, 6, 4, 6, 4});
  expect_tensor(conv(f32({1, 3, 3, 3, 1}, ones), f32({1, 3, 3, 3, 1}, ones),
                     {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {0, 0, 0}, 1, DType::f32}),
                DType::f32, {1, 1, 1, 1, 1}, {27});
}

TEST(Conv, IntegersGiveI32AndBatchesAreSeparate) {
  expect_tensor(
      conv(make(DType::u8, {2, 1, 2}, {200, 200, 1, 2}), make(DType::i8, {1, 1, 2}, {-100, 100}),
           {{1}, {1}, {1}, {0}, {0}, 1, DType::i32}),
      DType::i32, {2, 1, 1}, {0, 100});
}

}  // namespace
}  // namespace onrush
