// What runs work with besides their inputs and outputs.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "backend/cuda/host_values.h"
#include "backend/cuda/recording.h"

namespace onrush::cuda {

// The memory of one run and graphs that work there; reused by later runs, whatever their sizes.
class Frame {
 public:
  explicit Frame(CudaShared& shared);

  // Make room, whose contents are lost where it has to move. Throw Error{out_of_memory}, also
  // beyond the session's limit; the run's own room is reserved first. Room for inputs and outputs
  // goes when runs have begun to need none.
  void reserve(const FrameLayout& layout);
  void reserve_passing(size_t bytes);
  // The graph of a run, or null where that is not worth one: the first at its sizes, unless a graph
  // that is there can be aimed at it. earlier_runs: at these sizes.
  Recording* recording_for(const std::shared_ptr<const BoundPlan>& plan, const RunMemory& memory,
                           int64_t earlier_runs, bool traced);
  bool has_recording_of(const BoundPlan& plan) const;
  uint32_t& host_error() { return *reinterpret_cast<uint32_t*>(error_.data()); }

  Stream own;
  Stream stream;         // of the latest run: its own or the caller's
  DeviceBuffer memory;   // arena, then results of host steps
  DeviceBuffer passing;  // inputs and outputs that are not used in place
  DeviceBuffer words;    // RunWords
  PinnedBuffer host;     // inputs and small outputs on their way
  Event ready;           // the default stream has done what came before the latest run
  Event done;            // of the latest run
  bool pending = false;  // nobody has waited for it
  bool staged = false;   // it read inputs from `host`
  int runs = 0;

 private:
  // Of a run besides weights. Throws Error{out_of_memory}.
  void check_limit(size_t bytes) const;
  void grow(DeviceBuffer& buffer, std::optional<MemoryCount>& count, size_t bytes);

  CudaShared& shared_;
  size_t needed_ = 0;             // of `memory`, by the latest run
  int runs_without_passing_ = 0;  // the latest
  PinnedBuffer error_;
  std::optional<MemoryCount> scratch_, passing_, pinned_;
  std::list<Recording> recordings_;  // the latest first
};

// The frames of an executable: as many as runs at the same time ever needed. Thread safe.
class FramePool {
 public:
  explicit FramePool(CudaShared& shared) : shared_(shared) {}

  // With room for the plan's runs. stream: of a run; null: the frame's own.
  std::unique_ptr<Frame> take(const BoundPlan& plan, CUstream stream = nullptr,
                              bool capturing = false);
  void give_back(std::unique_ptr<Frame> frame);
  // A graph of the caller's works in it.
  void keep(std::unique_ptr<Frame> frame);

 private:
  std::unique_ptr<Frame> take_idle(const BoundPlan& plan, CUstream stream, bool capturing);

  CudaShared& shared_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Frame>> idle_, kept_;
};

// With all inputs and outputs in the frame, which makes room for them.
RunMemory memory_of_run(const BoundPlan& plan, Frame& frame);
// Those that lie on the device, aligned, are used in place. Of the others, those that host_values
// names are in the frame's host memory.
RunMemory memory_of_run(const BoundPlan& plan, Frame& frame, std::span<const Tensor> inputs,
                        std::span<const Tensor> outputs, const HostValues& host_values);

}  // namespace onrush::cuda
