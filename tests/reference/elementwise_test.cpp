#include "network.h"

namespace onrush {
namespace {

Tensor unary(Op op, const Tensor& x) {
  Network n;
  return n.run(n.unary(op, n.feed(x)));
}
Tensor binary(Op op, const Tensor& a, const Tensor& b) {
  Network n;
  const NodeId x = n.feed(a), y = n.feed(b);
  return n.run(n.binary(op, x, y));
}
Tensor cast(const Tensor& x, DType dtype, bool saturate = true) {
  Network n;
  return n.run(n.cast(n.feed(x), dtype, saturate));
}

TEST(Unary, RoundsHalvesToEven) {
  expect_tensor(unary(Op::round, f32({5}, {0.5, 1.5, 2.5, -0.5, -1.5})), DType::f32, {5},
                {0, 2, 2, -0.0, -2});
}

TEST(Unary, IntegersWrapInTheirWidth) {
  expect_tensor(unary(Op::neg, make(DType::i8, {3}, {-128, 5, 0})), DType::i8, {3}, {-128, -5, 0});
  expect_tensor(unary(Op::abs, make(DType::i8, {2}, {-128, -5})), DType::i8, {2}, {-128, 5});
  expect_tensor(unary(Op::neg, make(DType::u8, {1}, {1})), DType::u8, {1}, {255});
  expect_tensor(unary(Op::bit_not, make(DType::u16, {1}, {1})), DType::u16, {1}, {65534});
  expect_tensor(unary(Op::sign, make(DType::i32, {3}, {-7, 0, 7})), DType::i32, {3}, {-1, 0, 1});
}

TEST(Unary, BooleanNotIsLogical) {
  expect_tensor(unary(Op::bit_not, make(DType::boolean, {2}, {0, 1})), DType::boolean, {2}, {1, 0});
}

TEST(Unary, SignAndNanOfFloats) {
  expect_tensor(unary(Op::sign, f32({4}, {-2, 0, 3, kNan})), DType::f32, {4}, {-1, 0, 1, kNan});
  expect_tensor(unary(Op::is_nan, f32({3}, {kNan, kInf, 0})), DType::boolean, {3}, {1, 0, 0});
}

TEST(Unary, SigmoidKeepsSmallValues) {
  const Tensor y = unary(Op::sigmoid, f32({3}, {0, -100, 200}));
  EXPECT_EQ(y.as<float>()[0], 0.5f);
  EXPECT_NEAR(y.as<float>()[1] / 3.7200759e-44, 1, 0.05);  // a subnormal
  EXPECT_EQ(y.as<float>()[2], 1.0f);
}

TEST(Unary, HalfRoundsOnce) {
  // exp(1) = 2.71828 lies between the halves 2.71680 and 2.71875
  expect_tensor(unary(Op::exp, make(DType::f16, {1}, {1})), DType::f16, {1}, {2.71875});
}

TEST(Unary, EmptyAndLongerThanABlock) {
  expect_tensor(unary(Op::exp, f32({0, 3}, {})), DType::f32, {0, 3}, {});
  std::vector<double> values(2500), negated(2500);
  for (size_t i = 0; i < values.size(); ++i) negated[i] = -(values[i] = static_cast<double>(i));
  expect_tensor(unary(Op::neg, f32({2500}, values)), DType::f32, {2500}, negated);
}

TEST(Binary, IntegersWrap) {
  expect_tensor(binary(Op::add, make(DType::i8, {2}, {127, -128}), make(DType::i8, {2}, {1, -1})),
                DType::i8, {2}, {-128, 127});
  expect_tensor(binary(Op::sub, make(DType::u8, {1}, {0}), make(DType::u8, {1}, {1})), DType::u8,
                {1}, {255});
  const Tensor y = binary(Op::mul, i64({1}, {INT64_MAX}), i64({1}, {2}));
  EXPECT_EQ(y.as<int64_t>()[0], -2);
}

TEST(Binary, DivisionOfIntegers) {
  const Tensor a = make(DType::i32, {4}, {7, -7, 7, 5}), b = make(DType::i32, {4}, {2, 2, -2, 0});
  expect_tensor(binary(Op::div, a, b), DType::i32, {4}, {3, -3, -3, 0});
  expect_tensor(binary(Op::rem, a, b), DType::i32, {4}, {1, -1, 1, 0});
  expect_tensor(binary(Op::mod, a, b), DType::i32, {4}, {1, 1, -1, 0});
  EXPECT_EQ(binary(Op::div, i64({1}, {INT64_MIN}), i64({1}, {-1})).as<int64_t>()[0], INT64_MIN);
  EXPECT_EQ(binary(Op::rem, i64({1}, {INT64_MIN}), i64({1}, {-1})).as<int64_t>()[0], 0);
}

TEST(Binary, UnsignedSixtyFourBits) {
  const Tensor big = Tensor::of<uint64_t>(DType::u64, {1}, std::vector<uint64_t>{UINT64_MAX});
  const Tensor two = Tensor::of<uint64_t>(DType::u64, {1}, std::vector<uint64_t>{2});
  EXPECT_EQ(binary(Op::div, big, two).as<uint64_t>()[0], UINT64_MAX / 2);
  EXPECT_EQ(binary(Op::max, big, two).as<uint64_t>()[0], UINT64_MAX);
}

TEST(Binary, ModOfFloatsFollowsTheDivisor) {
  const Tensor a = f32({4}, {5.5, -5.5, 5.5, -6}), b = f32({4}, {2, 2, -2, 2});
  expect_tensor(binary(Op::rem, a, b), DType::f32, {4}, {1.5, -1.5, 1.5, 0});
  expect_tensor(binary(Op::mod, a, b), DType::f32, {4}, {1.5, 0.5, -0.5, 0});
}

TEST(Binary, PowerOfIntegers) {
  expect_tensor(binary(Op::pow, make(DType::i32, {5}, {3, 2, -1, 2, 1}),
                       make(DType::i32, {5}, {4, 31, -3, -1, -9})),
                DType::i32, {5}, {81, -2147483648.0, -1, 0, 1});
}

TEST(Binary, MinAndMaxPropagateNan) {
  const Tensor a = f32({3}, {kNan, 1, 1}), b = f32({3}, {1, kNan, 2});
  expect_tensor(binary(Op::min, a, b), DType::f32, {3}, {kNan, kNan, 1});
  expect_tensor(binary(Op::max, a, b), DType::f32, {3}, {kNan, kNan, 2});
}

TEST(Binary, Shifts) {
  expect_tensor(
      binary(Op::shift_left, make(DType::u8, {3}, {1, 255, 1}), make(DType::u8, {3}, {7, 1, 8})),
      DType::u8, {3}, {128, 254, 0});
  expect_tensor(binary(Op::shift_right, make(DType::i8, {3}, {-128, -1, 64}),
                       make(DType::i8, {3}, {7, 100, 3})),
                DType::i8, {3}, {-1, -1, 8});
}

TEST(Binary, ComparisonsAreFalseForNan) {
  const Tensor a = f32({3}, {kNan, 1, 2}), b = f32({3}, {kNan, 1, 1});
  expect_tensor(binary(Op::equal, a, b), DType::boolean, {3}, {0, 1, 0});
  expect_tensor(binary(Op::less_equal, a, b), DType::boolean, {3}, {0, 1, 0});
  expect_tensor(binary(Op::less, b, a), DType::boolean, {3}, {0, 0, 1});
}

TEST(Binary, HalfRoundsAfterEachPrimitive) {
  // 2048 + 1 lies halfway between the halves 2048 and 2050, and rounds to even.
  expect_tensor(
      binary(Op::add, make(DType::f16, {2}, {2048, 65504}), make(DType::f16, {2}, {1, 65504})),
      DType::f16, {2}, {2048, kInf});
  expect_tensor(binary(Op::add, make(DType::bf16, {1}, {256}), make(DType::bf16, {1}, {1})),
                DType::bf16, {1}, {256});
}

TEST(Binary, SubByteElementsArePacked) {
  const Tensor y =
      binary(Op::add, make(DType::i4, {3}, {7, -8, 3}), make(DType::i4, {3}, {1, -1, 2}));
  expect_tensor(y, DType::i4, {3}, {-8, 7, 5});
  EXPECT_EQ(y.bytes(), 2u);
  EXPECT_EQ(static_cast<uint8_t*>(y.data())[1], 5);  // the unused half is 0
}

TEST(Select, MovesEveryDtype) {
  Network n;
  const NodeId c = n.feed(make(DType::boolean, {3}, {1, 0, 1}));
  const NodeId a = n.feed(strings({3}, {"a", "b", "c"})), b = n.feed(strings({3}, {"x", "y", "z"}));
  expect_strings(n.run(n.select(c, a, b)), {3}, {"a", "y", "c"});
  Network m;
  const NodeId d = m.feed(make(DType::boolean, {3}, {1, 0, 1}));
  const NodeId e = m.feed(make(DType::u2, {3}, {1, 2, 3})),
               f = m.feed(make(DType::u2, {3}, {0, 0, 0}));
  expect_tensor(m.run(m.select(d, e, f)), DType::u2, {3}, {1, 0, 3});
}

TEST(Cast, FloatToIntegerTruncatesAndWraps) {
  expect_tensor(cast(f32({4}, {1.9, -1.9, 300, -1}), DType::u8), DType::u8, {4}, {1, 255, 44, 255});
  const Tensor y = cast(f32({4}, {1e30, -1e30, kNan, -2.5}), DType::i64);
  EXPECT_EQ(std::vector<int64_t>(y.as<int64_t>().begin(), y.as<int64_t>().end()),
            (std::vector<int64_t>{INT64_MAX, INT64_MIN, INT64_MIN, -2}));
  const Tensor u = cast(f32({2}, {1e30, 0x1.8p63}), DType::u64);
  EXPECT_EQ(u.as<uint64_t>()[0], UINT64_MAX);
  EXPECT_EQ(u.as<uint64_t>()[1], uint64_t{3} << 62);
}

TEST(Cast, IntegersKeepLowBits) {
  expect_tensor(cast(make(DType::i16, {1}, {200}), DType::i8), DType::i8, {1}, {-56});
  expect_tensor(cast(i64({3}, {16, 17, -9}), DType::i4), DType::i4, {3}, {0, 1, 7});
  // 2^53 + 2^29 + 1 is above the middle of two floats; going through f64 would lose that.
  const int64_t tie = (int64_t{1} << 53) + (int64_t{1} << 29) + 1;
  EXPECT_EQ(cast(i64({1}, {tie}), DType::f32).as<float>()[0], static_cast<float>(tie));
}

TEST(Cast, BooleanIsNotZero) {
  expect_tensor(cast(f32({4}, {0, -0.0, 0.1, kNan}), DType::boolean), DType::boolean, {4},
                {0, 0, 1, 1});
  expect_tensor(cast(make(DType::i32, {2}, {256, 0}), DType::boolean), DType::boolean, {2}, {1, 0});
}

TEST(Cast, SmallFloatsHonourSaturate) {
  const Tensor x = f32({3}, {1000, -kInf, 0.3});
  expect_tensor(cast(x, DType::f8e4m3fn), DType::f8e4m3fn, {3}, {448, -448, 0.3125});
  expect_tensor(cast(x, DType::f8e4m3fn, false), DType::f8e4m3fn, {3}, {kNan, kNan, 0.3125});
  expect_tensor(cast(x, DType::f8e5m2, false), DType::f8e5m2, {3}, {1024, -kInf, 0.3125});
  expect_tensor(cast(f32({3}, {2.4, -7, 0.2}), DType::f4e2m1), DType::f4e2m1, {3}, {2, -6, 0});
}

TEST(Bitcast, SharesBytes) {
  Network n;
  const Tensor y = n.run(n.bitcast(n.feed(f32({2}, {1, -2})), DType::u32));
  EXPECT_EQ(y.as<uint32_t>()[0], 0x3f800000u);
  EXPECT_EQ(y.as<uint32_t>()[1], 0xc0000000u);
}

}  // namespace
}  // namespace onrush
