#include "measure/statistics.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace onrush::measure {
namespace {

constexpr double kDriftWorthAWarning = 0.02;
constexpr double kOutliersWorthAWarning = 0.1;

// The k for which P(X < k) is at most `tail`, of X = the number of heads in n throws.
size_t binomial_quantile(size_t n, double tail) {
  double sum = 0;
  for (size_t k = 0; k <= n; ++k) {
    const auto x = static_cast<double>(k), all = static_cast<double>(n);
    sum += std::exp(std::lgamma(all + 1) - std::lgamma(x + 1) - std::lgamma(all - x + 1) -
                    all * std::log(2.0));
    if (sum > tail) return k;
  }
  return n;
}

// The number of signs of 1, ..., n whose positive ranks add up to each sum, as probabilities.
std::vector<double> signed_rank_distribution(size_t n) {
  std::vector<double> probability(n * (n + 1) / 2 + 1, 0.0);
  probability[0] = 1;
  for (size_t rank = 1, largest = 0; rank <= n; ++rank) {
    largest += rank;
    for (size_t sum = largest + 1; sum-- > 0;)
      probability[sum] = (probability[sum] + (sum >= rank ? probability[sum - rank] : 0)) / 2;
  }
  return probability;
}

// The k for which P(W < k) is at most `tail`, of Wilcoxon's W of n samples.
size_t signed_rank_quantile(size_t n, double tail) {
  const std::vector<double> probability = signed_rank_distribution(n);
  double sum = 0;
  for (size_t k = 0; k < probability.size(); ++k)
    if ((sum += probability[k]) > tail) return k;
  return probability.size();
}

// Kendall's S and the slopes of all pairs.
struct Trend {
  double z;      // of Mann and Kendall's test
  double slope;  // a round
};

Trend trend(std::span<const double> rounds) {
  const auto n = static_cast<double>(rounds.size());
  double s = 0;
  std::vector<double> slopes;
  for (size_t i = 0; i < rounds.size(); ++i)
    for (size_t j = i + 1; j < rounds.size(); ++j) {
      const double difference = rounds[j] - rounds[i];
      s += difference > 0 ? 1 : difference < 0 ? -1 : 0;
      slopes.push_back(difference / static_cast<double>(j - i));
    }
  return {s / std::sqrt(n * (n - 1) * (2 * n + 5) / 18), median(std::move(slopes))};
}

std::optional<Steadiness::TwoSpeeds> find_two_speeds(std::vector<double> rounds) {
  constexpr double kLeastShare = 1.0 / 6;
  constexpr double kSeparation = 4;  // in deviations; a normal distribution cut in two has 1.1
  constexpr double kLeastDifference = 0.03;
  std::sort(rounds.begin(), rounds.end());
  const std::span<const double> all = rounds;
  const auto least = static_cast<size_t>(std::ceil(kLeastShare * static_cast<double>(all.size())));
  // The cut at the widest gap, compared with the groups that it leaves.
  size_t cut = 0;
  for (size_t i = std::max<size_t>(least, 3); i + std::max<size_t>(least, 3) <= all.size(); ++i)
    if (!cut || all[i] - all[i - 1] > all[cut] - all[cut - 1]) cut = i;
  if (!cut) return std::nullopt;
  const auto fast = all.first(cut), slow = all.subspan(cut);
  const double low = median({fast.begin(), fast.end()}), high = median({slow.begin(), slow.end()});
  const double deviation = 1.4826 * (median_deviation(fast) + median_deviation(slow));
  if (high - low < kSeparation * deviation || high - low < kLeastDifference * low)
    return std::nullopt;
  return Steadiness::TwoSpeeds{low, high,
                               static_cast<double>(slow.size()) / static_cast<double>(all.size())};
}

double outlier_share(std::span<const double> rounds) {
  const double middle = median({rounds.begin(), rounds.end()});
  const double reach = std::max(6 * 1.4826 * median_deviation(rounds), 0.02 * middle);
  const auto count = std::count_if(rounds.begin(), rounds.end(),
                                   [&](double x) { return std::abs(x - middle) > reach; });
  return static_cast<double>(count) / static_cast<double>(rounds.size());
}

}  // namespace

double quantile(std::vector<double> samples, double share) {
  std::sort(samples.begin(), samples.end());
  const double position = share * static_cast<double>(samples.size() - 1);
  const auto below = static_cast<size_t>(position);
  const size_t above = std::min(below + 1, samples.size() - 1);
  return std::lerp(samples[below], samples[above], position - static_cast<double>(below));
}

double median(std::vector<double> samples) { return quantile(std::move(samples), 0.5); }

double median_deviation(std::span<const double> samples) {
  const double middle = median({samples.begin(), samples.end()});
  std::vector<double> distances;
  for (const double x : samples) distances.push_back(std::abs(x - middle));
  return median(std::move(distances));
}

std::optional<Interval> median_interval(std::vector<double> samples, double confidence) {
  const size_t left_out = binomial_quantile(samples.size(), (1 - confidence) / 2);
  if (left_out == 0) return std::nullopt;
  std::sort(samples.begin(), samples.end());
  return Interval{samples[left_out - 1], samples[samples.size() - left_out]};
}

std::optional<Middle> middle(std::span<const double> samples, double confidence) {
  const size_t n = samples.size();
  const size_t left_out = n ? signed_rank_quantile(n, (1 - confidence) / 2) : 0;
  if (left_out == 0) return std::nullopt;
  std::vector<double> means;
  means.reserve(n * (n + 1) / 2);
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i; j < n; ++j) means.push_back((samples[i] + samples[j]) / 2);
  std::sort(means.begin(), means.end());
  const Interval interval{means[left_out - 1], means[means.size() - left_out]};
  return Middle{median(std::move(means)), interval};
}

Steadiness steadiness(std::span<const double> rounds) {
  constexpr size_t kLeastRounds = 20;
  constexpr double kCertain = 3.29;  // p < 0.001
  Steadiness result;
  if (rounds.size() < kLeastRounds) return result;
  const std::vector<double> all(rounds.begin(), rounds.end());
  const Trend found = trend(rounds);
  if (std::abs(found.z) > kCertain)
    result.drift = found.slope * static_cast<double>(rounds.size() - 1) / median(all);
  result.two_speeds = find_two_speeds(all);
  if (!result.two_speeds) result.outliers = outlier_share(rounds);
  return result;
}

std::vector<std::string> warnings(const Steadiness& steadiness, std::string_view unit) {
  std::vector<std::string> texts;
  if (std::abs(steadiness.drift) > kDriftWorthAWarning)
    texts.push_back(fmt::format("drifted by {:+.1f} % from the first round to the last",
                                100 * steadiness.drift));
  if (const auto& speeds = steadiness.two_speeds)
    texts.push_back(
        fmt::format("ran at two speeds: {:.4g} {} in {:.0f} % of the rounds, {:.4g} {} in the rest",
                    speeds->fast, unit, 100 * (1 - speeds->slow_share), speeds->slow, unit));
  if (steadiness.outliers > kOutliersWorthAWarning)
    texts.push_back(
        fmt::format("{:.0f} % of the rounds lie far from the others", 100 * steadiness.outliers));
  return texts;
}

}  // namespace onrush::measure
