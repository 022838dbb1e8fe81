#include "engines/open_loop.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <exception>
#include <mutex>
#include <sys/prctl.h>
#include <thread>

namespace onrush::engines {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

// The state that callers share.
struct Arrivals {
  explicit Arrivals(const OpenLoop& loop)
      : loop(loop),
        count(static_cast<size_t>(std::max(1.0, std::round(loop.rate * loop.seconds)))),
        latencies(count, -1),
        service_times(count, -1),
        // A moment ahead, so that all callers are there for the first request.
        begin(Clock::now() + std::chrono::milliseconds(20)) {}

  Clock::time_point due(size_t request) const {
    const std::chrono::duration<double> after(static_cast<double>(request) / loop.rate);
    return begin + std::chrono::duration_cast<Clock::duration>(after);
  }
  Clock::time_point deadline() const {
    return begin + std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double>(2 * loop.seconds));
  }

  OpenLoop loop;
  size_t count;
  std::vector<double> latencies, service_times;  // by request; negative: not served
  Clock::time_point begin;
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::exception_ptr error;
};

void serve(Arrivals& arrivals, int caller, const std::function<void(int)>& run) {
  prctl(PR_SET_TIMERSLACK, 1UL);  // nanoseconds by which the system may wake it late
  while (!arrivals.stop) {
    const size_t request = arrivals.next++;
    if (request >= arrivals.count || Clock::now() > arrivals.deadline()) return;
    const Clock::time_point due = arrivals.due(request);
    std::this_thread::sleep_until(due);
    const Clock::time_point begin = Clock::now();
    try {
      run(caller);
    } catch (...) {
      const std::lock_guard lock(arrivals.mutex);
      arrivals.error = std::current_exception();
      arrivals.stop = true;
      return;
    }
    const Clock::time_point end = Clock::now();
    arrivals.latencies[request] = seconds_between(due, end);
    arrivals.service_times[request] = seconds_between(begin, end);
  }
}

}  // namespace

OpenLoopFigures measure_open_loop(const OpenLoop& loop, const std::function<void(int)>& run) {
  Arrivals arrivals(loop);
  {
    std::vector<std::jthread> threads;
    for (int caller = 0; caller < loop.callers; ++caller)
      threads.emplace_back([&, caller] { serve(arrivals, caller, run); });
  }
  const Clock::time_point end = Clock::now();
  if (arrivals.error) std::rethrow_exception(arrivals.error);
  OpenLoopFigures figures;
  for (size_t request = 0; request < arrivals.count; ++request) {
    double& latency = arrivals.latencies[request];
    if (latency >= 0) {
      figures.service_times.push_back(arrivals.service_times[request]);
    } else {
      latency = seconds_between(arrivals.due(request), end);
      ++figures.unserved;
    }
  }
  figures.latencies = std::move(arrivals.latencies);
  figures.served_rate =
      static_cast<double>(figures.service_times.size()) / seconds_between(arrivals.begin, end);
  return figures;
}

}  // namespace onrush::engines
