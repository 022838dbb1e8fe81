#include "backend/cpu/thread_pool.h"

#include <gtest/gtest.h>
#include <stdexcept>
#include <thread>

namespace onrush::cpu {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  ThreadPool pool(3);
  for (int64_t tasks : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
    pool.run(tasks, [&](int64_t task) { ++runs[static_cast<size_t>(task)]; });
    for (const auto& count : runs) EXPECT_EQ(count, 1);
  }
}

TEST(ThreadPool, ServesSeveralCallers) {
  ThreadPool pool(2);
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 3; ++c)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) pool.run(10, [&](int64_t task) { sum += task; });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 3 * 200 * 45);
}

TEST(ThreadPool, PassesAnExceptionOnAndGoesOn) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run(100,
                        [](int64_t task) {
                          if (task == 50) throw std::runtime_error("x");
                        }),
               std::runtime_error);
  std::atomic<int> done = 0;
  pool.run(10, [&](int64_t) { ++done; });
  EXPECT_EQ(done, 10);
}

}  // namespace
}  // namespace onrush::cpu
