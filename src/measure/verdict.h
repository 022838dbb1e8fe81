// Whether one engine is faster than another.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "measure/statistics.h"

namespace onrush::measure {

// Of the times of two engines that ran by turns, one value each a round.
struct Comparison {
  enum class Verdict {
    faster,     // the first engine
    slower,     // the first engine
    same,       // no difference of more than kNoticeable that could be told
    too_noisy,  // the interval is too wide for either
    too_few,    // rounds, for any confidence: fewer than 8
  };
  Verdict verdict = Verdict::too_few;
  double ratio = 1;  // the second engine's time by the first's: over 1, the first is faster
  Interval interval = {1, 1};  // that holds it with kConfidence
};

// Differences that are smaller are not claimed, since two processes of one program differ by about
// as much: in where their memory happens to lie.
inline constexpr double kNegligible = 0.01;
// Two engines are called the same if a difference of this size would have been seen.
inline constexpr double kNoticeable = 0.03;

// Enough to tell kNoticeable from nothing on a machine whose rounds scatter by 1 %.
inline constexpr size_t kDefaultRounds = 50;

// What slows both engines down in a round cancels: the ratio is taken round by round. Further ones
// of the longer list are left out.
Comparison compare(std::span<const double> first, std::span<const double> second);

// "A is 1.42 to 1.46 times faster than B"
std::string verdict_text(const Comparison& comparison, std::string_view first,
                         std::string_view second);
std::string_view name(Comparison::Verdict verdict);  // for files: "faster", "too_noisy"

}  // namespace onrush::measure
