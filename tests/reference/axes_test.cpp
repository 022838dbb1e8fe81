// reduce, window, scan, sort, gather, scatter
#include "network.h"

namespace onrush {
namespace {

Tensor reduce(ReduceKind kind, const Tensor& x, Axes axes, bool last = false) {
  Network n;
  return n.run(n.reduce(kind, n.feed(x), std::move(axes), last));
}

TEST(Reduce, KeepsRank) {
  const Tensor x = f32({2, 3}, {1, 2, 3, 4, 5, 6});
  expect_tensor(reduce(ReduceKind::sum, x, {1}), DType::f32, {2, 1}, {6, 15});
  expect_tensor(reduce(ReduceKind::product, x, {0}), DType::f32, {1, 3}, {4, 10, 18});
  expect_tensor(reduce(ReduceKind::max, x, {0, 1}), DType::f32, {1, 1}, {6});
  expect_tensor(reduce(ReduceKind::min, x, {1}), DType::f32, {2, 1}, {1, 4});
}

TEST(Reduce, SumsOfFloatsRoundOnce) {
  expect_tensor(reduce(ReduceKind::sum, f32({4}, {1e8, 1, 1, -1e8}), {0}), DType::f32, {1}, {2});
  expect_tensor(reduce(ReduceKind::sum, make(DType::f16, {3}, {2048, 1, 1}), {0}), DType::f16, {1},
                {2050});
}

TEST(Reduce, IntegersWrapAndNanPropagates) {
  expect_tensor(reduce(ReduceKind::sum, make(DType::i8, {2}, {100, 100}), {0}), DType::i8, {1},
                {-56});
  expect_tensor(reduce(ReduceKind::max, f32({3}, {1, kNan, 2}), {0}), DType::f32, {1}, {kNan});
}

TEST(Reduce, NothingGivesTheIdentity) {
  const Tensor none = f32({2, 0}, {});
  expect_tensor(reduce(ReduceKind::sum, none, {1}), DType::f32, {2, 1}, {0, 0});
  expect_tensor(reduce(ReduceKind::max, none, {1}), DType::f32, {2, 1}, {-kInf, -kInf});
  expect_tensor(reduce(ReduceKind::min, make(DType::i8, {0}, {}), {0}), DType::i8, {1}, {127});
  expect_tensor(reduce(ReduceKind::max, make(DType::i32, {0}, {}), {0}), DType::i32, {1},
                {-2147483648.0});
  expect_tensor(reduce(ReduceKind::min, make(DType::boolean, {0}, {}), {0}), DType::boolean, {1},
                {1});
  expect_tensor(reduce(ReduceKind::sum, none, {0}), DType::f32, {1, 0}, {});
}

TEST(Reduce, ArgmaxTakesTheFirstOrTheLast) {
  const Tensor x = f32({2, 4}, {1, 3, 3, 0, 5, 5, kNan, 5});
  expect_tensor(reduce(ReduceKind::argmax, x, {1}), DType::i64, {2, 1}, {1, 2});
  expect_tensor(reduce(ReduceKind::argmax, x, {1}, true), DType::i64, {2, 1}, {2, 2});
  expect_tensor(reduce(ReduceKind::argmin, f32({3}, {2, 1, 1}), {0}, true), DType::i64, {1}, {2});
}

WindowAttr window_of(ReduceKind kind) { return {kind, {1, 3}, {1, 2}, {1, 1}, {0, 1}, {0, 1}}; }

TEST(Window, PaddingNeverContributes) {
  const Tensor x = f32({1, 5}, {-1, -2, -3, -4, -5});
  Network n;
  expect_tensor(n.run(n.window(n.feed(x), window_of(ReduceKind::max))), DType::f32, {1, 3},
                {-1, -2, -4});
  Network m;
  expect_tensor(m.run(m.window(m.feed(x), window_of(ReduceKind::sum))), DType::f32, {1, 3},
                {-3, -9, -9});
  Network a;
  expect_tensor(a.run(a.window(a.feed(x), window_of(ReduceKind::argmax))), DType::i64, {1, 3},
                {1, 0, 0});
}

TEST(Window, Dilation) {
  Network n;
  const WindowAttr attr{ReduceKind::sum, {2, 2}, {1, 1}, {1, 2}, {0, 0}, {0, 0}};
  expect_tensor(n.run(n.window(n.feed(f32({2, 3}, {1, 2, 3, 4, 5, 6})), attr)), DType::f32, {1, 1},
                {14});
}

TEST(Scan, ExclusiveAndReverse) {
  const Tensor x = make(DType::i32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const auto scan = [&](ScanAttr attr) {
    Network n;
    return n.run(n.scan(n.feed(x), attr));
  };
  expect_tensor(scan({ReduceKind::sum, 1, false, false}), DType::i32, {2, 3}, {1, 3, 6, 4, 9, 15});
  expect_tensor(scan({ReduceKind::sum, 1, true, true}), DType::i32, {2, 3}, {5, 3, 0, 11, 6, 0});
  expect_tensor(scan({ReduceKind::product, 0, false, false}), DType::i32, {2, 3},
                {1, 2, 3, 4, 10, 18});
}

TEST(Sort, IsStableWithNanLargest) {
  const auto sort = [](bool descending, int64_t limit, int part) {
    Network n;
    const NodeId x = n.feed(f32({5}, {2, kNan, 1, 2, -kInf}));
    return n.run(n.get(n.sort(x, {0, descending, limit}), part));
  };
  expect_tensor(sort(false, 5, 0), DType::f32, {5}, {-kInf, 1, 2, 2, kNan});
  expect_tensor(sort(false, 5, 1), DType::i64, {5}, {4, 2, 0, 3, 1});
  expect_tensor(sort(true, 3, 0), DType::f32, {3}, {kNan, 2, 2});
  expect_tensor(sort(true, 3, 1), DType::i64, {3}, {1, 0, 3});
  expect_tensor(sort(true, 0, 1), DType::i64, {0}, {});
}

TEST(Sort, AlongAnOuterAxis) {
  Network n;
  const NodeId x = n.feed(make(DType::u8, {2, 2}, {3, 1, 2, 255}));
  expect_tensor(n.run(n.get(n.sort(x, {0, false, 2}), 0)), DType::u8, {2, 2}, {2, 1, 3, 255});
}

TEST(Gather, RowsByIndex) {
  Network n;
  const NodeId data = n.feed(f32({3, 2}, {0, 1, 10, 11, 20, 21}));
  const NodeId index = n.feed(i64({2, 1}, {2, 0}));
  expect_tensor(n.run(n.gather(data, std::array{index}, {~0, 1}, {2, 2})), DType::f32, {2, 2},
                {20, 21, 0, 1});
}

TEST(Gather, TwoIndicesAndASubByteDtype) {
  Network n;
  const NodeId data = n.feed(make(DType::i4, {2, 3}, {-8, 1, 2, 3, 4, 7}));
  const NodeId i = n.feed(make(DType::i32, {2}, {1, 0})), j = n.feed(make(DType::i32, {2}, {2, 0}));
  expect_tensor(n.run(n.gather(data, std::array{i, j}, {~0, ~1}, {2})), DType::i4, {2}, {7, -8});
}

TEST(Gather, IndexOutOfRangeIsAnError) {
  Network n;
  const NodeId data = n.feed(f32({3}, {0, 1, 2}));
  const NodeId y = n.gather(data, std::array{n.feed(i64({1}, {3}))}, {~0}, {1});
  try {
    n.run(y);
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(error.what()).find("index 3"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("extent 3"), std::string::npos);
  }
}

Tensor scatter(ScatterKind kind, const Tensor& data, const Tensor& updates, const Tensor& index) {
  Network n;
  const NodeId d = n.feed(data), u = n.feed(updates), i = n.feed(index);
  return n.run(n.scatter(d, u, std::array{i}, {~0}, kind));
}

TEST(Scatter, GoesInIndexOrder) {
  const Tensor data = f32({3}, {1, 2, 3}), updates = f32({3}, {10, 20, 30});
  const Tensor index = i64({3}, {2, 0, 2});
  expect_tensor(scatter(ScatterKind::set, data, updates, index), DType::f32, {3}, {20, 2, 30});
  expect_tensor(scatter(ScatterKind::add, data, updates, index), DType::f32, {3}, {21, 2, 43});
  expect_tensor(scatter(ScatterKind::mul, data, updates, index), DType::f32, {3}, {20, 2, 900});
  expect_tensor(scatter(ScatterKind::max, data, updates, index), DType::f32, {3}, {20, 2, 30});
  expect_tensor(scatter(ScatterKind::min, data, updates, index), DType::f32, {3}, {1, 2, 3});
}

TEST(Scatter, StringsAndOutOfRange) {
  expect_strings(
      scatter(ScatterKind::set, strings({2}, {"a", "b"}), strings({1}, {"c"}), i64({1}, {1})), {2},
      {"a", "c"});
  EXPECT_THROW(scatter(ScatterKind::add, f32({2}, {0, 0}), f32({1}, {1}), i64({1}, {-1})), Error);
}

}  // namespace
}  // namespace onrush
