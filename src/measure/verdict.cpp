#include "measure/verdict.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "measure/report.h"

namespace onrush::measure {
namespace {

// Rounds in which something else took time from one engine only: far from all others. They tell
// nothing about the engines and would widen the interval.
void leave_out_disturbed(std::vector<double>& logs) {
  constexpr double kFar = 5;  // deviations
  const double center = median(logs), reach = kFar * 1.4826 * median_deviation(logs);
  if (reach > 0) std::erase_if(logs, [&](double x) { return std::abs(x - center) > reach; });
}

}  // namespace

Comparison compare(std::span<const double> first, std::span<const double> second) {
  std::vector<double> logs;
  for (size_t i = 0; i < std::min(first.size(), second.size()); ++i)
    logs.push_back(std::log(second[i] / first[i]));
  if (!logs.empty()) leave_out_disturbed(logs);
  const std::optional<Middle> found = middle(logs);
  Comparison result;
  if (!logs.empty()) result.ratio = std::exp(found ? found->value : median(logs));
  if (!found) return result;
  result.interval = {std::exp(found->interval.low), std::exp(found->interval.high)};
  using Verdict = Comparison::Verdict;
  const auto& [low, high] = found->interval;
  const double negligible = std::log1p(kNegligible), noticeable = std::log1p(kNoticeable);
  if (low > negligible) result.verdict = Verdict::faster;
  else if (high < -negligible) result.verdict = Verdict::slower;
  else if (std::max(-low, high) < noticeable) result.verdict = Verdict::same;
  else result.verdict = Verdict::too_noisy;
  return result;
}

std::string verdict_text(const Comparison& comparison, std::string_view first,
                         std::string_view second) {
  const auto& [low, high] = comparison.interval;
  // Close to 1 three digits say nothing: "1.02 to 1.02".
  const auto shown = [](double low, double high) {
    const int digits = low < 1.1 ? 4 : 3;
    const std::string from = significant(low, digits), to = significant(high, digits);
    return from == to ? from : from + " to " + to;
  };
  switch (comparison.verdict) {
    case Comparison::Verdict::faster:
      return fmt::format("{} is {} times faster than {}", first, shown(low, high), second);
    case Comparison::Verdict::slower:
      return fmt::format("{} is {} times faster than {}", second, shown(1 / high, 1 / low), first);
    case Comparison::Verdict::same:
      return fmt::format("no difference between {} and {} (at most {:.1f} %)", first, second,
                         100 * (std::max(1 / low, high) - 1));
    case Comparison::Verdict::too_noisy:
      return fmt::format("too noisy to tell {} from {}: between {} and {} times as fast", first,
                         second, significant(low, 3), significant(high, 3));
    case Comparison::Verdict::too_few:
      return fmt::format("too few rounds to tell {} from {}", first, second);
  }
  return {};
}

std::string_view name(Comparison::Verdict verdict) {
  switch (verdict) {
    case Comparison::Verdict::faster: return "faster";
    case Comparison::Verdict::slower: return "slower";
    case Comparison::Verdict::same: return "no difference";
    case Comparison::Verdict::too_noisy: return "too noisy to tell";
    case Comparison::Verdict::too_few: return "too few rounds";
  }
  return {};
}

}  // namespace onrush::measure
