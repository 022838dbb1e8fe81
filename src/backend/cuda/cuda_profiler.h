// Where the time of a run on the device goes.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/cupti.h"
#include "backend/cuda/stream.h"

namespace onrush::cuda {

// Told of all work in the order in which it is put on a stream, and asked CUPTI when it was done.
// Without CUPTI, events are recorded between kernels.
class CudaProfiler final : public Profiler {
 public:
  using StepPtr = std::shared_ptr<const ProfiledStep>;

  explicit CudaProfiler(ContextPtr context);

  // Kernels may be launched as a graph; else launched() has to follow each of them at once.
  bool sees_graphs() const { return trace_.has_value(); }

  // Work between them, on one stream and waited for before end(), belongs to the run.
  void begin(const Stream& stream);
  void launched(StepPtr step, const Stream& stream);
  void copied(const Stream& stream);
  void end();

  void finish(RunProfile& profile) override;

 private:
  struct Work {
    DeviceActivity::Kind kind;
    StepPtr step;
    std::optional<Event> event;  // recorded behind it
  };
  void add(DeviceActivity::Kind kind, StepPtr step, const Stream& stream);
  std::vector<ProfileEvent> traced();

  ContextPtr context_;
  std::optional<ActivityTrace> trace_;
  std::vector<Work> works_;
  size_t first_ = 0;            // of works_, since begin()
  std::optional<Event> start_;  // recorded by begin()
  std::vector<ProfileEvent> timed_;
};

// The steps of what is no kernel.
const std::shared_ptr<const ProfiledStep>& copy_step();
const std::shared_ptr<const ProfiledStep>& send_step();
const std::shared_ptr<const ProfiledStep>& launch_step();
const std::shared_ptr<const ProfiledStep>& wait_step();

}  // namespace onrush::cuda
