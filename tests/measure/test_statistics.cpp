#include <gtest/gtest.h>
#include <numeric>

#include "measure/statistics.h"
#include "synthetic.h"

namespace onrush::measure {
namespace {

std::vector<double> one_to(int n) {
  std::vector<double> result(static_cast<size_t>(n));
  std::iota(result.begin(), result.end(), 1.0);
  return result;
}

TEST(Statistics, quantiles_are_interpolated) {
  EXPECT_EQ(quantile({3}, 0.9), 3);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(quantile(one_to(11), 0.1), 2);
  EXPECT_DOUBLE_EQ(median_deviation(std::vector<double>{1, 1, 2, 2, 4, 6, 9}), 1);
}

// Ranks from the binomial distribution: of 10 samples the second and ninth hold the median with
// 97.9 %, the first and last with 99.8 %.
TEST(Statistics, interval_of_the_median_has_the_ranks_of_the_sign_test) {
  EXPECT_FALSE(median_interval(one_to(7)));
  ASSERT_TRUE(median_interval(one_to(8)));
  const Interval sure = *median_interval(one_to(10)), less = *median_interval(one_to(10), 0.97);
  EXPECT_EQ(sure.low, 1);
  EXPECT_EQ(sure.high, 10);
  EXPECT_EQ(less.low, 2);
  EXPECT_EQ(less.high, 9);
}

// Tables of Wilcoxon's signed ranks: for n = 20 and a two-sided 1 % the sum of ranks is at most 37.
TEST(Statistics, middle_has_the_ranks_of_the_signed_rank_test) {
  EXPECT_FALSE(middle(one_to(7)));
  ASSERT_TRUE(middle(one_to(8)));
  const std::vector<double> samples = one_to(20);
  std::vector<double> means;
  for (double a : samples)
    for (double b : samples)
      if (a <= b) means.push_back((a + b) / 2);
  std::sort(means.begin(), means.end());
  const Middle found = *middle(samples);
  EXPECT_DOUBLE_EQ(found.value, 10.5);
  EXPECT_EQ(found.interval.low, means[37]);
  EXPECT_EQ(found.interval.high, means[means.size() - 38]);
}

TEST(Statistics, middle_is_not_moved_by_outliers) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal(5, 0.1);
  std::vector<double> samples;
  for (int i = 0; i < 40; ++i) samples.push_back(i % 8 == 0 ? 1000 : normal(random));
  EXPECT_NEAR(middle(samples)->value, 5, 0.1);
  EXPECT_LT(middle(samples)->interval.high, 5.3);
}

TEST(Statistics, intervals_hold_the_truth_as_often_as_they_say) {
  std::mt19937_64 random(2);
  std::normal_distribution<double> normal(3, 1);
  std::exponential_distribution<double> skewed(1);
  int middles = 0, medians = 0;
  constexpr int kTrials = 1000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> symmetric, other;
    for (int i = 0; i < 25; ++i) symmetric.push_back(normal(random));
    for (int i = 0; i < 25; ++i) other.push_back(skewed(random));
    const Interval a = middle(symmetric)->interval, b = *median_interval(other);
    middles += a.low <= 3 && 3 <= a.high;
    medians += b.low <= std::log(2) && std::log(2) <= b.high;
  }
  EXPECT_GE(middles, 980);
  EXPECT_GE(medians, 980);
}

// --- steadiness

TEST(Steadiness, drift_is_measured) {
  std::mt19937_64 random(3);
  for (const double drift : {-0.2, 0.1, 0.3}) {
    const auto rounds = simulate({.wander = 0, .drift = drift}, 30, 1, random).first;
    const Steadiness found = steadiness(rounds);
    EXPECT_NEAR(found.drift, drift / (1 + drift / 2), 0.03);
    ASSERT_EQ(warnings(found, "ms").size(), 1u) << drift;
    EXPECT_NE(warnings(found, "ms")[0].find("drifted by"), std::string::npos);
  }
}

TEST(Steadiness, two_clocks_are_found) {
  std::mt19937_64 random(4);
  int found = 0;
  constexpr int kTrials = 100;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> rounds;
    std::normal_distribution<double> noise(1, 0.01);
    for (int i = 0; i < 30; ++i) rounds.push_back((i * 7 % 30 < 12 ? 1.25 : 1) * noise(random));
    const auto speeds = steadiness(rounds).two_speeds;
    found += speeds && std::abs(speeds->fast - 1) < 0.02 && std::abs(speeds->slow - 1.25) < 0.02 &&
             std::abs(speeds->slow_share - 0.4) < 0.05;
  }
  EXPECT_GE(found, 99);
}

TEST(Steadiness, plain_noise_is_no_reason_for_a_warning) {
  std::mt19937_64 random(5);
  int warned = 0;
  constexpr int kTrials = 500;
  for (int trial = 0; trial < kTrials; ++trial)
    for (size_t rounds : {20, 30, 60})
      warned += !warnings(steadiness(simulate({.noise = 0.02, .wander = 0, .outliers = 0.02},
                                              rounds, 1, random)
                                         .first),
                          "ms")
                     .empty();
  EXPECT_LE(warned, 3 * kTrials / 50);
}

TEST(Steadiness, outliers_are_counted) {
  std::vector<double> rounds;
  for (int i = 0; i < 40; ++i) rounds.push_back(i % 8 == 0 ? 2 + i : 1 + 0.001 * (i % 3));
  EXPECT_DOUBLE_EQ(steadiness(rounds).outliers, 0.125);
  ASSERT_EQ(warnings(steadiness(rounds), "ms").size(), 1u);
}

}  // namespace
}  // namespace onrush::measure
