#include <algorithm>
#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <stdexcept>
#include <thread>

#include "engines/open_loop.h"
#include "measure/statistics.h"

namespace onrush::engines {
namespace {

void sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

TEST(OpenLoop, each_request_is_served_once) {
  std::atomic<int> runs = 0;
  const OpenLoopFigures figures =
      measure_open_loop({.rate = 200, .callers = 2, .seconds = 0.5}, [&](int) { ++runs; });
  EXPECT_EQ(runs, 100);
  EXPECT_EQ(figures.latencies.size(), 100u);
  EXPECT_EQ(figures.unserved, 0u);
  EXPECT_NEAR(figures.served_rate, 200, 20);
}

// One request of 0.2 s delays the 19 that are due meanwhile; a closed loop would see one slow
// request of 50.
TEST(OpenLoop, waiting_counts) {
  int runs = 0;
  const OpenLoopFigures figures = measure_open_loop({.rate = 100, .callers = 1, .seconds = 0.5},
                                                    [&](int) { sleep(runs++ == 10 ? 0.2 : 0); });
  EXPECT_GT(measure::quantile(figures.latencies, 0.9), 0.1);
  EXPECT_LT(measure::quantile(figures.service_times, 0.9), 0.05);
  const auto late = std::ranges::count_if(figures.latencies, [](double s) { return s > 0.01; });
  EXPECT_GE(late, 17);
}

TEST(OpenLoop, overload_is_seen) {
  const OpenLoopFigures figures =
      measure_open_loop({.rate = 1000, .callers = 2, .seconds = 0.2}, [&](int) { sleep(0.01); });
  EXPECT_EQ(figures.latencies.size(), 200u);
  EXPECT_GT(figures.unserved, 50u);
  EXPECT_LT(figures.served_rate, 250);
  EXPECT_GT(measure::quantile(figures.latencies, 0.99), 0.15);
}

TEST(OpenLoop, errors_come_out) {
  EXPECT_THROW(measure_open_loop({.rate = 100, .callers = 2, .seconds = 0.1},
                                 [](int) { throw std::runtime_error("broken"); }),
               std::runtime_error);
}

}  // namespace
}  // namespace onrush::engines
