#include "explain/timeline.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>

#include "backend/timelines.h"
#include "base/check.h"
#include "measure/process.h"
#include "measure/statistics.h"

namespace onrush::explain {
namespace {

bool is_of_host(const ProfileEvent& event) {
  const std::string& kind = event.step->kind;
  return kind == "launch" || kind == "wait" || kind == "send";
}

bool is_around(const ProfileEvent& event) {
  return is_of_host(event) || event.step->kind == "copy";
}

std::vector<const ProfiledStep*> steps_of(const RunProfile& run) {
  std::vector<const ProfiledStep*> steps;
  for (const ProfileEvent& event : run.events)
    if (!is_around(event)) steps.push_back(event.step.get());
  return steps;
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

Timeline::Around& around(Timeline& timeline, const std::string& kind) {
  const auto found = std::ranges::find(timeline.around, kind, &Timeline::Around::kind);
  return found == timeline.around.end() ? timeline.around.emplace_back(kind) : *found;
}

// Adds a run's times, each divided by the number of runs.
void add(Timeline& to, const RunProfile& run, double seen_us, double runs) {
  const auto us = [&](int64_t ns) { return static_cast<double>(ns) / 1000 / runs; };
  int64_t done = run.start_ns;
  auto sum = to.events.begin();
  for (const ProfileEvent& event : run.events) {
    const int64_t end = event.start_ns + event.duration_ns;
    const double gap = us(std::max<int64_t>(event.start_ns - done, 0));
    const double part = us(std::max<int64_t>(end - std::max(event.start_ns, done), 0));
    (done == run.start_ns ? to.before_us : to.between_us) += gap;
    done = std::max(done, end);
    if (is_around(event)) {
      Timeline::Around& total = around(to, event.step->kind);
      total.time_us += part;
      total.pieces += 1 / runs;
      continue;
    }
    sum->start_us += us(event.start_ns - run.start_ns);
    sum->time_us += us(event.duration_ns);
    sum->part_us += part;
    ++sum;
  }
  to.after_us += us(run.start_ns + run.duration_ns - done);
  to.caller_us += seen_us / runs - us(run.duration_ns);
  to.profiled_us += seen_us / runs;
}

std::vector<TimelineEvent> pieces_of(const RunProfile& run) {
  std::vector<TimelineEvent> pieces;
  const auto us = [](int64_t ns) { return static_cast<double>(ns) / 1000; };
  for (const ProfileEvent& event : run.events)
    if (is_around(event))
      pieces.push_back({event.step, us(event.start_ns - run.start_ns), us(event.duration_ns),
                        us(event.duration_ns)});
  return pieces;
}

// The device's work alone; empty if the host takes steps of its own between, or if the run does not
// end with a wait for the device.
std::vector<ProfileEvent> device_work(const RunProfile& run) {
  std::vector<ProfileEvent> work;
  for (const ProfileEvent& event : run.events) {
    const std::string& kind = event.step->kind;
    if (kind == "host" || kind == "compile" || kind == "bind") return {};
    if (!is_of_host(event)) work.push_back(event);
  }
  const bool waited = !run.events.empty() && run.events.back().step->kind == "wait";
  return waited ? work : std::vector<ProfileEvent>{};
}

// Shortens the time between pieces of work, all gaps alike, so that they take `longest_ns` together
// if they can.
void close_gaps(std::vector<ProfileEvent>& work, int64_t longest_ns) {
  const int64_t begin = work[0].start_ns, span = end_of(work.back()) - begin;
  int64_t gaps = 0, done = begin;
  for (const ProfileEvent& event : work) {
    gaps += std::max<int64_t>(event.start_ns - done, 0);
    done = std::max(done, end_of(event));
  }
  if (span <= longest_ns || gaps == 0) return;
  const double kept =
      std::max(0.0, 1 - static_cast<double>(span - longest_ns) / static_cast<double>(gaps));
  int64_t cut = 0;
  done = begin;
  for (ProfileEvent& event : work) {
    const int64_t gap = std::max<int64_t>(event.start_ns - done, 0), end = end_of(event);
    cut += gap - static_cast<int64_t>(kept * static_cast<double>(gap));
    done = std::max(done, end);
    event.start_ns -= cut;
  }
}

}  // namespace

RunProfile joined(const RunProfile& host, const RunProfile& device) {
  std::vector<ProfileEvent> work = device_work(device);
  const auto waits = std::ranges::count_if(
      host.events, [](const ProfileEvent& event) { return event.step->kind == "wait"; });
  if (work.empty() || waits != 1 || host.events.back().step->kind != "wait") return device;
  const int64_t heard_after = end_of(device.events.back()) - end_of(work.back());
  close_gaps(work, end_of(host.events.back()) - heard_after - host.events[0].start_ns);
  const int64_t later = end_of(host.events.back()) - heard_after - end_of(work.back());
  for (ProfileEvent& event : work) event.start_ns += later;
  RunProfile result = host;
  const int64_t lost = std::max<int64_t>(host.events[0].start_ns - work[0].start_ns, 0);
  result.start_ns -= lost;
  result.duration_ns += lost;
  result.events = merge_timelines(std::move(work), host.events);
  result.device_clock = device.device_clock;
  return result;
}

Timeline merge(const std::vector<RunProfile>& profiles, const std::vector<double>& seen_us) {
  internal_check(!profiles.empty() && profiles.size() == seen_us.size(), "runs were recorded");
  Timeline timeline;
  std::vector<double> times;
  std::vector<size_t> alike;
  const std::vector<const ProfiledStep*> steps = steps_of(profiles.back());
  for (size_t i = 0; i < profiles.size(); ++i) {
    if (steps_of(profiles[i]) != steps) continue;
    alike.push_back(i);
    times.push_back(seen_us[i]);
  }
  for (const ProfileEvent& event : profiles.back().events)
    if (!is_around(event)) timeline.events.push_back({event.step});
  const std::vector<size_t> middle = middle_half(times);
  for (size_t i : middle)
    add(timeline, profiles[alike[i]], times[i], static_cast<double>(middle.size()));
  timeline.pieces = pieces_of(profiles[alike[middle[middle.size() / 2]]]);
  timeline.device_clock = profiles.back().device_clock;
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
  const auto watched = [&](bool device) {
    RunProfile profile{.device = device};
    profile.events.reserve(warm.events.size());
    return profile;
  };
  const bool on_device = !warm.device_clock.empty();
  for (int i = 0; i < runs; ++i) {
    if (options.progress) options.progress(fmt::format("run {} of {}", i + 1, runs));
    plain.push_back(timed(nullptr));
    profiles.push_back(watched(!on_device));
    profiled.push_back(timed(&profiles.back()));
  }
  // Afterwards, since a run behind one whose device is watched is slow.
  for (int i = 0; on_device && i < runs; ++i) {
    if (options.progress) options.progress(fmt::format("run {} of {} on the device", i + 1, runs));
    RunProfile device = watched(true);
    run(&device);
    RunProfile& profile = profiles[static_cast<size_t>(i)];
    const int64_t host_ns = profile.duration_ns;
    profile = joined(profile, device);
    profiled[static_cast<size_t>(i)] += static_cast<double>(profile.duration_ns - host_ns) / 1000;
  }
  Timeline timeline = merge(profiles, profiled);
  timeline.wall_us = mean(plain, middle_half(plain));
  timeline.fast_us = measure::quantile(plain, 0.1);
  timeline.slow_us = measure::quantile(plain, 0.9);
  return timeline;
}

}  // namespace onrush::explain
