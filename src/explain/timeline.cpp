#include "explain/timeline.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "base/check.h"
#include "measure/process.h"
#include "measure/statistics.h"

namespace onrush::explain {
namespace {

bool same_steps(const RunProfile& a, const RunProfile& b) {
  return std::ranges::equal(a.events, b.events, [](const ProfileEvent& x, const ProfileEvent& y) {
    return x.step == y.step;
  });
}

// Positions of the values between the quartiles; all of them if there are few.
std::vector<size_t> middle_half(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) { return values[i]; });
  const size_t cut = values.size() / 4;
  return {order.begin() + static_cast<ptrdiff_t>(cut), order.end() - static_cast<ptrdiff_t>(cut)};
}

double mean(const std::vector<double>& values, const std::vector<size_t>& which) {
  double sum = 0;
  for (size_t i : which) sum += values[i];
  return sum / static_cast<double>(which.size());
}

// Adds a run's times, each divided by the number of runs.
void add(Timeline& to, const RunProfile& run, double seen_us, double runs) {
  const auto us = [&](int64_t ns) { return static_cast<double>(ns) / 1000 / runs; };
  int64_t done = run.start_ns;
  for (size_t i = 0; i < run.events.size(); ++i) {
    const ProfileEvent& event = run.events[i];
    TimelineEvent& sum = to.events[i];
    const int64_t end = event.start_ns + event.duration_ns;
    const int64_t gap = std::max<int64_t>(event.start_ns - done, 0);
    (i == 0 ? to.before_us : to.between_us) += us(gap);
    sum.start_us += us(event.start_ns - run.start_ns);
    sum.time_us += us(event.duration_ns);
    sum.part_us += us(std::max<int64_t>(end - std::max(event.start_ns, done), 0));
    done = std::max(done, end);
  }
  to.after_us += us(run.start_ns + run.duration_ns - done);
  to.caller_us += seen_us / runs - us(run.duration_ns);
  to.profiled_us += seen_us / runs;
}

}  // namespace

Timeline merge(const std::vector<RunProfile>& profiles, const std::vector<double>& seen_us) {
  internal_check(!profiles.empty() && profiles.size() == seen_us.size(), "runs were recorded");
  Timeline timeline;
  std::vector<double> times;
  std::vector<size_t> alike;
  for (size_t i = 0; i < profiles.size(); ++i) {
    if (!same_steps(profiles[i], profiles.back())) continue;
    alike.push_back(i);
    times.push_back(seen_us[i]);
  }
  for (const ProfileEvent& event : profiles.back().events) timeline.events.push_back({event.step});
  const std::vector<size_t> middle = middle_half(times);
  for (size_t i : middle)
    add(timeline, profiles[alike[i]], times[i], static_cast<double>(middle.size()));
  timeline.runs = alike.size();
  timeline.others = profiles.size() - alike.size();
  return timeline;
}

Timeline record(const std::function<void(RunProfile*)>& run, const RecordOptions& options) {
  constexpr double kSeconds = 2;
  constexpr int kLeast = 10, kMost = 200;
  constexpr int kFirst = 3;  // plans, bindings, captures of graphs
  const auto timed = [&](RunProfile* profile) {
    const measure::Stopwatch watch;
    run(profile);
    return 1e6 * watch.seconds();
  };
  double last_us = 0;
  for (int i = 0; i < kFirst; ++i) last_us = timed(nullptr);
  const int affordable = static_cast<int>(kSeconds * 1e6 / 2 / std::max(last_us, 1.0));
  const int runs = options.runs > 0 ? options.runs : std::clamp(affordable, kLeast, kMost);
  RunProfile warm;
  run(&warm);  // what steps cost is worked out when a run is profiled first
  std::vector<RunProfile> profiles;
  std::vector<double> profiled, plain;
  for (int i = 0; i < runs; ++i) {
    if (options.progress) options.progress(fmt::format("run {} of {}", i + 1, runs));
    plain.push_back(timed(nullptr));
    RunProfile& profile = profiles.emplace_back();
    profile.events.reserve(warm.events.size());
    profiled.push_back(timed(&profile));
  }
  Timeline timeline = merge(profiles, profiled);
  timeline.wall_us = mean(plain, middle_half(plain));
  timeline.fast_us = measure::quantile(plain, 0.1);
  timeline.slow_us = measure::quantile(plain, 0.9);
  return timeline;
}

}  // namespace onrush::explain
