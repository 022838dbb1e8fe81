// Fork-join parallelism over the session's threads.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace onrush::cpu {

// What is called with the number of a task. Refers to a callable, which must live as long.
class Work {
 public:
  template <class F>
  Work(const F& work)  // NOLINT: implicit by intent
      : object_(&work),
        call_([](const void* f, int64_t task) { (*static_cast<const F*>(f))(task); }) {}
  void operator()(int64_t task) const { call_(object_, task); }

 private:
  const void* object_;
  void (*call_)(const void*, int64_t);
};

// `threads` workers, the calling thread among them. Thread safe: one caller at a time gets the
// workers; another that comes meanwhile does its work alone. Each thread has a range of the tasks,
// the same part of every run: what it wrote in one is in its cache in the next. One that is done
// helps the others, so a worker that the system has not scheduled delays nobody. Tasks compute with
// subnormal numbers as zero, on every thread: processors take hundreds of cycles for one, and
// matrix units have none.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls work(task) for every task in [0, tasks), each once, in any order, on several threads.
  // An exception of a task is rethrown here, after all tasks that had begun have ended.
  void run(int64_t tasks, Work work);

 private:
  // One call of run. `work` may be called while a task is taken from a range's `next` below its
  // `end`.
  struct Job {
    struct alignas(64) Range {
      std::atomic<int64_t> next{0};
      std::atomic<int64_t> end{0};
    };
    explicit Job(size_t threads) : ranges(threads) {}
    const Work* work = nullptr;
    std::vector<Range> ranges;  // by thread
    std::atomic<int64_t> done{0};
    std::mutex mutex;
    std::exception_ptr error;

    void take_tasks(size_t thread);
  };

  void worker(size_t thread);
  std::shared_ptr<Job> fresh_job();

  std::vector<std::thread> workers_;
  std::mutex callers_;  // held by the caller whose job runs
  std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<Job> job_;             // guarded by mutex_
  std::atomic<uint64_t> generation_{0};  // counts jobs
  std::atomic<bool> stop_{false};
  std::vector<std::shared_ptr<Job>>
      jobs_;  // kept for reuse; used by the caller that holds callers_
};

// The number of processors this process may use.
int available_processors();

}  // namespace onrush::cpu
