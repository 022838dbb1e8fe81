// What samples of a time say, and how sure one can be of it.
//
// Times are positive numbers of any one unit. A machine's speed changes while it measures, so
// single runs that follow each other are no independent samples: functions that claim a confidence
// want one value a round, the median of that round's runs.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace onrush::measure {

struct Interval {
  double low = 0, high = 0;
};

inline constexpr double kConfidence = 0.99;

// The value below which this share of the samples lies, interpolated between neighbours.
// REQUIRES: at least one sample, 0 <= share <= 1.
double quantile(std::vector<double> samples, double share);
double median(std::vector<double> samples);
// Half of the samples lie within this of their median.
double median_deviation(std::span<const double> samples);

// Holds the median of what the samples are drawn from with `confidence`, whatever its distribution
// (order statistics; the sign test turned round). None for fewer samples than can be that sure.
std::optional<Interval> median_interval(std::vector<double> samples,
                                        double confidence = kConfidence);

// The middle of a symmetric distribution: the median of the means of all pairs (Hodges and Lehmann
// 1963), with the interval of Wilcoxon's signed ranks. Up to a quarter of the samples may be
// outliers. None for fewer than 8 samples, which cannot be 99 % sure.
struct Middle {
  double value;
  Interval interval;
};
std::optional<Middle> middle(std::span<const double> samples, double confidence = kConfidence);

// What was noticed about the rounds of one engine; nothing in fewer than 20.
struct Steadiness {
  // From the first to the last round, as a part of the median: the Theil-Sen line where Mann and
  // Kendall's test sees a trend (p < 0.001), else 0.
  double drift = 0;
  // Rounds that fall into two groups far apart, as when a clock changes between two speeds; each
  // holds a sixth of the rounds at least.
  struct TwoSpeeds {
    double fast, slow;  // their medians
    double slow_share;  // of the rounds
  };
  std::optional<TwoSpeeds> two_speeds;
  double outliers = 0;  // share of the rounds far from all others
};
Steadiness steadiness(std::span<const double> rounds);
// A sentence for each thing worth a warning; `unit` follows the times.
std::vector<std::string> warnings(const Steadiness& steadiness, std::string_view unit);

}  // namespace onrush::measure
