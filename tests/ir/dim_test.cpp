// Sizes: what is proven from ranges and guards holds for every value of the symbols that meets
// them.
#include "ir/dim.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <random>

namespace onrush {
namespace {

class Sizes : public testing::Test {
 protected:
  Dim symbol(int64_t value, int64_t low = 0) { return shapes_.symbol("s", {}, value, low); }
  ShapeContext shapes_;
};

TEST_F(Sizes, RangesProve) {
  const Dim n = symbol(8, 1), k = symbol(3);
  EXPECT_EQ(prove(less(0, n)), true);
  EXPECT_EQ(prove(less_equal(0, n * k)), true);
  EXPECT_EQ(prove(equal(n + 1, 0)), false);
  EXPECT_EQ(prove(equal(n, 1)), std::nullopt);
  EXPECT_EQ(prove(equal(2 * n, 5)), false);
  EXPECT_EQ(prove(less(mod(n, 4), 4)), true);
}

TEST_F(Sizes, AGuardAnswersForMultiplesAndNegatives) {
  const Dim n = symbol(8), k = symbol(3);
  EXPECT_TRUE(decide(less_equal(4, 2 * n), "test"));
  EXPECT_EQ(prove(less_equal(2, n)), true);
  EXPECT_EQ(prove(less(n, 2)), false);
  EXPECT_EQ(prove(equal(0 - n, 1)), false);
  EXPECT_FALSE(decide(less_equal(n, k), "test"));
  EXPECT_EQ(prove(less(3 * k, 3 * n)), true);
  EXPECT_EQ(prove(equal(n, k)), false);
  EXPECT_EQ(shapes_.guards().size(), 2u);
}

TEST_F(Sizes, AGuardOnADerivedSizeNarrowsWhatIsMadeOfIt) {
  const Dim n = symbol(9);
  const Dim half = floordiv(n, 2);
  EXPECT_FALSE(decide(equal(half, 0), "test"));
  EXPECT_EQ(prove(less(0, half * 3 - 2)), true);
}

TEST_F(Sizes, AFixedSymbolFixesItsEquals) {
  const Dim n = symbol(4), k = symbol(4);
  EXPECT_TRUE(decide(equal(n, k), "test"));
  EXPECT_EQ(fix(k, "test"), 4);
  EXPECT_EQ(prove(equal(n, 4)), true);
  EXPECT_TRUE((n + 1).is_constant());
}

TEST_F(Sizes, RollingBackForgets) {
  const Dim n = symbol(4, 1);
  decide(less(2, n), "kept");
  const size_t checkpoint = shapes_.checkpoint();
  fix(n, "dropped");
  const Dim later = symbol(5, 2);
  shapes_.roll_back(checkpoint);
  EXPECT_EQ(prove(equal(n, 4)), std::nullopt);
  EXPECT_EQ(prove(less(2, n)), true);
  EXPECT_EQ(prove(less_equal(2, later)), true);
}

TEST_F(Sizes, ArithmeticInFloatsStaysAPolynomialWhereItIsOne) {
  using Kind = FloatStep::Kind;
  const Dim n = symbol(10, 1);
  const FloatStep halved[] = {{Kind::multiply, 0.5}, {Kind::floor}};
  EXPECT_TRUE(same(float_arithmetic(n, halved, true), floordiv(n, 2)));
  const FloatStep up[] = {{Kind::divide, 32}, {Kind::ceil}, {Kind::multiply, 32}};
  EXPECT_TRUE(same(float_arithmetic(n, up, true), ceildiv(n, 32) * 32));
  const FloatStep twice[] = {{Kind::multiply, 2}};
  EXPECT_TRUE(same(float_arithmetic(n, twice, false), n * 2));
  EXPECT_EQ(to_string(floor_scaled(n, 0.7)), "floor((s0) * 0.7)");
}

// 10 * 0.7f is below 7, but rounds to it.
TEST_F(Sizes, ArithmeticInFloatsRoundsLikeFloats) {
  using Kind = FloatStep::Kind;
  std::mt19937 generator(5);
  const float operands[] = {0.7f, 0.1f, 1.0f / 3, 0.5f, 2, 3, 1.5f, 0.25f, 7, 32, 1e-3f, 12345.6f};
  for (int trial = 0; trial < 2000; ++trial) {
    ShapeContext shapes;
    const Dim n = shapes.symbol("n", {}, 640, 1);
    std::vector<FloatStep> steps;
    for (size_t i = 0; i <= generator() % 4; ++i)
      steps.push_back({static_cast<Kind>(generator() % 7), operands[generator() % 12]});
    const Dim result = float_arithmetic(n, steps, /*single=*/true);
    for (int64_t size : {1, 2, 3, 10, 639, 640, 1000003}) {
      const SizeTable sizes = shapes.evaluate(std::span(&size, 1));
      const auto& guards = shapes.guards();
      if (!std::all_of(guards.begin(), guards.end(), [&](auto& g) { return sizes.holds(g); }))
        continue;
      auto x = static_cast<float>(size);
      for (const FloatStep& step : steps) {
        const auto operand = static_cast<float>(step.operand);
        switch (step.kind) {
          case Kind::multiply: x *= operand; break;
          case Kind::divide: x /= operand; break;
          case Kind::add: x += operand; break;
          case Kind::floor: x = std::floor(x); break;
          case Kind::ceil: x = std::ceil(x); break;
          case Kind::round: x = std::nearbyint(x); break;
          case Kind::truncate: x = std::trunc(x); break;
        }
      }
      if (std::fabs(x) > 9e18f) continue;
      ASSERT_EQ(sizes(result), static_cast<int64_t>(x)) << to_string(result) << " of " << size;
    }
  }
}

// Statements about two symbols, decided and proven at random, against all values up to 12.
TEST(RandomSizes, WhatIsProvenHoldsWhereverTheGuardsHold) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 generator(seed);
    const auto pick = [&](int low, int high) {
      return low + static_cast<int>(generator() % static_cast<unsigned>(high - low + 1));
    };
    ShapeContext shapes;
    std::vector<Dim> dims;
    for (int i = 0; i < 2; ++i) dims.push_back(shapes.symbol("s", {}, pick(0, 12), 0));
    const auto random_dim = [&] {
      const Dim a = dims[generator() % dims.size()], b = dims[generator() % dims.size()];
      switch (pick(0, 6)) {
        case 0: return a + b;
        case 1: return a - b;
        case 2: return a * pick(-3, 3) + pick(-6, 6);
        case 3: return floordiv(a, pick(1, 4));
        case 4: return mod(a, pick(1, 4));
        case 5: return min(a, b);
        default: return max(a, Dim(pick(-4, 8)));
      }
    };
    const auto random_condition = [&] {
      const Dim a = dims[generator() % dims.size()], b = pick(0, 1) ? Dim(pick(-8, 12)) : dims[0];
      return pick(0, 1) ? equal(a, b) : less_equal(a, b);
    };
    std::vector<std::pair<Condition, bool>> proven;
    for (int step = 0; step < 24; ++step) {
      dims.push_back(random_dim());
      if (pick(0, 5) == 0) decide(random_condition(), "test");
      const Condition condition = random_condition();
      if (const auto truth = prove(condition)) proven.emplace_back(condition, *truth);
    }
    for (int64_t first = 0; first <= 12; ++first)
      for (int64_t second = 0; second <= 12; ++second) {
        const int64_t values[] = {first, second};
        const SizeTable sizes = shapes.evaluate(values);
        if (!std::ranges::all_of(shapes.guards(), [&](const Guard& g) { return sizes.holds(g); }))
          continue;
        for (const auto& [condition, truth] : proven)
          ASSERT_TRUE(sizes.holds({condition, truth, ""}))
              << to_string(condition) << " is not always " << truth << "; seed " << seed;
      }
  }
}

}  // namespace
}  // namespace onrush
