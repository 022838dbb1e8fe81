#include <gtest/gtest.h>

#include "measure/verdict.h"
#include "synthetic.h"

namespace onrush::measure {
namespace {

using Verdict = Comparison::Verdict;

constexpr int kTrials = 100;
constexpr int kRequired = 95;
constexpr size_t kRounds = kDefaultRounds;

// How often the verdict comes in kTrials trials.
int count(Verdict verdict, const Machine& machine, double slowdown, uint64_t seed) {
  std::mt19937_64 random(seed);
  int hits = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const TwoEngines engines = simulate(machine, kRounds, slowdown, random);
    hits += compare(engines.first, engines.second).verdict == verdict;
  }
  return hits;
}

const Machine kQuiet = {.noise = 0.004, .wander = 0.005, .outliers = 0.02};
const Machine kUsual = {};
const Machine kTwoClocks = {.slow_clock = 0.4};
const Machine kDrifting = {.drift = 0.3};
const Machine kManyOutliers = {.outliers = 0.15, .disturbance = 2};
const Machine kAll[] = {kQuiet, kUsual, kTwoClocks, kDrifting, kManyOutliers};

TEST(Verdict, identical_engines_do_not_differ) {
  for (size_t i = 0; i < std::size(kAll); ++i)
    EXPECT_GE(count(Verdict::same, kAll[i], 1, 10 + i), kRequired) << "machine " << i;
}

TEST(Verdict, three_percent_are_found) {
  for (size_t i = 0; i < std::size(kAll); ++i) {
    EXPECT_GE(count(Verdict::faster, kAll[i], 1.03, 20 + i), kRequired) << "machine " << i;
    EXPECT_GE(count(Verdict::slower, kAll[i], 1 / 1.03, 30 + i), kRequired) << "machine " << i;
  }
}

TEST(Verdict, noise_is_called_noise) {
  const Machine noisy = {.noise = 0.2};
  EXPECT_GE(count(Verdict::too_noisy, noisy, 1, 40), kRequired);
  EXPECT_EQ(count(Verdict::faster, noisy, 1 / 1.03, 41), 0);
  // What is plain is seen nevertheless.
  EXPECT_GE(count(Verdict::faster, noisy, 2, 42), kRequired);
}

// Between kNegligible and kNoticeable either answer is true; the other engine is never the faster.
TEST(Verdict, the_slower_engine_never_wins) {
  for (const Machine& machine : kAll)
    for (const double slowdown : {1.005, 1.02, 1.1})
      EXPECT_LE(count(Verdict::slower, machine, slowdown, 50), 1);
}

TEST(Verdict, interval_holds_the_true_ratio) {
  std::mt19937_64 random(6);
  int held = 0;
  for (int trial = 0; trial < 400; ++trial) {
    const TwoEngines engines = simulate(kUsual, kRounds, 1.44, random);
    const Interval interval = compare(engines.first, engines.second).interval;
    held += interval.low <= 1.44 && 1.44 <= interval.high;
  }
  EXPECT_GE(held, 388);
}

TEST(Verdict, sentences) {
  const auto text = [](Verdict verdict, double low, double high) {
    return verdict_text({verdict, 1, {low, high}}, "A", "B");
  };
  EXPECT_EQ(text(Verdict::faster, 1.42, 1.46), "A is 1.42 to 1.46 times faster than B");
  EXPECT_EQ(text(Verdict::faster, 1.0212, 1.0231), "A is 1.021 to 1.023 times faster than B");
  EXPECT_EQ(text(Verdict::slower, 0.5, 0.625), "B is 1.60 to 2.00 times faster than A");
  EXPECT_EQ(text(Verdict::same, 0.995, 1.012), "no difference between A and B (at most 1.2 %)");
  EXPECT_EQ(text(Verdict::too_noisy, 0.8, 1.3),
            "too noisy to tell A from B: between 0.800 and 1.30 times as fast");
  EXPECT_EQ(compare(std::vector<double>(7, 1.0), std::vector<double>(9, 2.0)).verdict,
            Verdict::too_few);
  EXPECT_EQ(compare(std::vector<double>(9, 1.0), std::vector<double>(9, 2.0)).verdict,
            Verdict::faster);
}

}  // namespace
}  // namespace onrush::measure
