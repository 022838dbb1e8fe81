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

// Medians of rounds, in ms, of ResNet-50 at batch 1 on an H200: Onrush (tf32; fp16; fp16 from host
// to host), PyTorch in a CUDA graph.
const std::vector<double> kRecorded[] = {
    {0.42783, 0.43092, 0.42902, 0.43007, 0.43113, 0.4307,  0.43057, 0.43598, 0.432,   0.42925,
     0.43241, 0.43283, 0.43045, 0.42917, 0.4292,  0.42897, 0.42843, 0.42972, 0.42894, 0.42905},
    {0.28194, 0.28223, 0.28286, 0.2857,  0.28333, 0.28343, 0.28419, 0.28331, 0.28309, 0.28257,
     0.28337, 0.28238, 0.28229, 0.28265, 0.28318, 0.2836,  0.28593, 0.28384, 0.28341, 0.28414},
    {0.34054, 0.34035, 0.34392, 0.33842, 0.33839, 0.34407, 0.34029, 0.33951, 0.33846, 0.34013,
     0.34066, 0.33717, 0.34573, 0.34213, 0.3403,  0.34225, 0.34022, 0.33794, 0.33752, 0.33776},
    {0.80803, 0.79338, 0.79512, 0.80003, 0.79533, 0.79502, 0.79426, 0.79505, 0.79368, 0.79417,
     0.79454, 0.79311, 0.79334, 0.79409, 0.79325, 0.79322, 0.79311, 0.79299, 0.79371, 0.79299}};
// PyTorch eager there, which waits for the host.
const std::vector<double> kRecordedUnsteady = {
    2.23409, 3.47364, 2.21695, 2.22406, 2.28103, 2.86904, 3.13463, 2.53353, 2.31832, 2.26504,
    2.17328, 2.12681, 2.11474, 2.16106, 2.1216,  2.9801,  1.90948, 2.21445, 2.41576, 2.15899};

// Neighbouring rounds as those of two engines, drawn with replacement, the second slowed down.
TwoEngines draw(const std::vector<double>& recorded, double slowdown, std::mt19937_64& random) {
  TwoEngines result;
  for (size_t round = 0; round < kRounds; ++round) {
    const size_t at = random() % (recorded.size() - 1);
    const size_t swapped = random() % 2;
    result.first.push_back(recorded[at + swapped]);
    result.second.push_back(slowdown * recorded[at + 1 - swapped]);
  }
  return result;
}

int count_recorded(Verdict verdict, const std::vector<double>& recorded, double slowdown) {
  std::mt19937_64 random(60);
  int hits = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const TwoEngines engines = draw(recorded, slowdown, random);
    hits += compare(engines.first, engines.second).verdict == verdict;
  }
  return hits;
}

TEST(Verdict, recorded_rounds) {
  for (const std::vector<double>& recorded : kRecorded) {
    EXPECT_GE(count_recorded(Verdict::same, recorded, 1), kRequired);
    EXPECT_GE(count_recorded(Verdict::faster, recorded, 1.03), kRequired);
    EXPECT_GE(count_recorded(Verdict::slower, recorded, 1 / 1.03), kRequired);
  }
  EXPECT_GE(count_recorded(Verdict::too_noisy, kRecordedUnsteady, 1), kRequired);
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
