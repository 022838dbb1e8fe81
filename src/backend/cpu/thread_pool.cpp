#include "backend/cpu/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <sched.h>
#include <xmmintrin.h>

namespace onrush::cpu {
namespace {

// Of the caller, for the last tasks of others.
constexpr int kSpins = 4000;
// Of a worker, for the next job: longer than the work between two kernels that the caller does
// alone. Waking up takes some 20 us.
constexpr auto kWait = std::chrono::microseconds(150);

using Clock = std::chrono::steady_clock;

void pause() { __builtin_ia32_pause(); }

// While it lives, subnormal operands and results of this thread's vector arithmetic are zero.
class SubnormalsAreZero {
 public:
  SubnormalsAreZero() : before_(_mm_getcsr()) {
    _mm_setcsr(before_ | kFlushToZero | kZeroOperands);
  }
  ~SubnormalsAreZero() { _mm_setcsr(before_); }
  SubnormalsAreZero(const SubnormalsAreZero&) = delete;
  SubnormalsAreZero& operator=(const SubnormalsAreZero&) = delete;

 private:
  static constexpr unsigned kFlushToZero = 1u << 15, kZeroOperands = 1u << 6;
  unsigned before_;
};

}  // namespace

int available_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i)
    workers_.emplace_back([this, i] { worker(static_cast<size_t>(i)); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

// Its own range first, then what is left of the others'.
void ThreadPool::Job::take_tasks(size_t thread) {
  int64_t finished = 0;
  for (size_t i = 0; i < ranges.size(); ++i) {
    Range& range = ranges[(thread + i) % ranges.size()];
    for (int64_t task; (task = range.next.fetch_add(1, std::memory_order_relaxed)) < range.end;
         ++finished) {
      try {
        (*work)(task);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!error) error = std::current_exception();
      }
    }
  }
  if (finished) done.fetch_add(finished, std::memory_order_release);
}

void ThreadPool::worker(size_t thread) {
  const SubnormalsAreZero mode;
  uint64_t seen = 0;
  while (true) {
    const auto waits = [&] {
      return generation_.load(std::memory_order_acquire) == seen && !stop_;
    };
    for (const auto end = Clock::now() + kWait; waits() && Clock::now() < end;)
      for (int spin = 0; spin < 16 && waits(); ++spin) pause();
    std::shared_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock,
                 [&] { return stop_ || generation_.load(std::memory_order_acquire) != seen; });
      if (stop_) return;
      seen = generation_.load(std::memory_order_acquire);
      job = job_;
    }
    job->take_tasks(thread);
  }
}

// One that no late worker looks at any more.
std::shared_ptr<ThreadPool::Job> ThreadPool::fresh_job() {
  for (const auto& job : jobs_)
    if (job.use_count() == 1) return job;
  jobs_.push_back(std::make_shared<Job>(workers_.size() + 1));
  return jobs_.back();
}

void ThreadPool::run(int64_t tasks, Work work) {
  const SubnormalsAreZero mode;
  std::unique_lock callers(callers_, std::defer_lock);
  if (tasks <= 1 || workers_.empty() || !callers.try_lock()) {
    for (int64_t task = 0; task < tasks; ++task) work(task);
    return;
  }
  const std::shared_ptr<Job> job = fresh_job();
  job->work = &work;
  const auto ranges = static_cast<int64_t>(job->ranges.size());
  for (int64_t i = 0; i < ranges; ++i) {
    job->ranges[static_cast<size_t>(i)].next = tasks * i / ranges;
    job->ranges[static_cast<size_t>(i)].end = tasks * (i + 1) / ranges;
  }
  job->done = 0;
  job->error = nullptr;
  {
    const std::lock_guard lock(mutex_);
    job_ = job;
    generation_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  job->take_tasks(0);
  for (int spin = 0; job->done.load(std::memory_order_acquire) != tasks; ++spin)
    spin < kSpins ? pause() : std::this_thread::yield();
  if (job->error) std::rethrow_exception(job->error);
}

}  // namespace onrush::cpu
