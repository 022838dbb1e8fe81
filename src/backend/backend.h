// What runs graphs: the one place with virtual functions. A backend compiles a lowered graph into
// an Executable for all sizes that meet the graph's guards; binding gives it concrete sizes.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "ir/graph.h"
#include <onrush/profile.h>
#include <onrush/session.h>
#include <onrush/tensor.h>

namespace onrush {

// Watches a device while a run is profiled.
class Profiler {
 public:
  virtual ~Profiler() = default;
  // Once, after the run: adds what the device did.
  virtual void finish(RunProfile& profile) = 0;
};

// What one run may use; belongs to one thread at a time. Kept for further runs, it saves them the
// allocations.
struct RunState {
  RunProfile* profile = nullptr;  // null: nobody wants to know
  Profiler* profiler = nullptr;   // the backend's; null if it has none or nobody wants to know
  void* stream = nullptr;         // see RunOptions
  Device results_on = {};         // where new outputs are made: the backend's device, or the host
  // Of the segment at hand.
  std::vector<Tensor> inputs, outputs;
  std::vector<int64_t> sizes;

  // Another run begins; the options outlive it.
  void begin(const RunOptions& options, Profiler* profiler);
  // Throws Error{cancelled} if the caller asked to stop. Steps call it between pieces of work.
  void check_cancelled();

 private:
  bool is_interrupted();

  const std::atomic<bool>* cancel_ = nullptr;
  const std::function<bool()>* interrupted_ = nullptr;
  int checks_ = 0;
  int64_t next_question_ns_ = 0;
};

// Adds a step's time to the run's profile, from construction to destruction.
class ProfileTimer {
 public:
  // `step` must outlive the timer.
  ProfileTimer(RunState& state, const std::shared_ptr<const ProfiledStep>& step);
  ~ProfileTimer();
  ProfileTimer(const ProfileTimer&) = delete;
  ProfileTimer& operator=(const ProfileTimer&) = delete;

 private:
  RunProfile* profile_;
  const std::shared_ptr<const ProfiledStep>& step_;
  int64_t start_ns_ = 0;
};

// Of std::chrono::steady_clock.
int64_t now_ns();

// An executable at concrete sizes. Immutable; run() may be called from several threads.
class Binding {
 public:
  virtual ~Binding() = default;
  // inputs: one tensor each graph input, of the bound shape. outputs: one tensor each graph output;
  // a non-null one is the memory to write that output to, and must fit it, a null one is set.
  virtual void run(RunState& state, std::span<const Tensor> inputs,
                   std::span<Tensor> outputs) const = 0;
};

// Immutable and shared.
class Executable {
 public:
  virtual ~Executable() = default;
  virtual std::shared_ptr<const Binding> bind(SizeTable sizes) const = 0;
  // What each run executes, in order.
  virtual std::vector<std::shared_ptr<const ProfiledStep>> profiled_steps() const = 0;
};

// Throws Error{invalid_argument} unless the memory that was given for an output fits it.
void check_given(const std::string& output, const Tensor& given, DType dtype, const Shape& shape);

// Counts memory for as long as it lives.
class MemoryCount {
 public:
  MemoryCount(std::atomic<size_t>& total, size_t bytes) : total_(&total), bytes_(bytes) {
    total += bytes;
  }
  MemoryCount(const MemoryCount&) = delete;
  MemoryCount& operator=(const MemoryCount&) = delete;
  ~MemoryCount() { *total_ -= bytes_; }

 private:
  std::atomic<size_t>* total_;
  size_t bytes_;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::shared_ptr<const Executable> compile(Graph graph) = 0;
  // For one run, on the thread that runs; null where the host's clock sees all.
  virtual std::unique_ptr<Profiler> profiler() { return nullptr; }
  // Of all its executables; nothing where none keeps memory between runs.
  virtual MemoryUse memory_use() const { return {}; }
};

}  // namespace onrush
