#include "backend/cuda/cuda_profiler.h"

#include <algorithm>
#include <array>

#include "backend/timelines.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

std::shared_ptr<const ProfiledStep> make_step(const char* kind, const char* name) {
  return std::make_shared<const ProfiledStep>(ProfiledStep{kind, name, {}});
}

}  // namespace

const std::shared_ptr<const ProfiledStep>& copy_step() {
  static const auto step = make_step("copy", "copy");
  return step;
}

const std::shared_ptr<const ProfiledStep>& send_step() {
  static const auto step = make_step("send", "send");
  return step;
}

const std::shared_ptr<const ProfiledStep>& launch_step() {
  static const auto step = make_step("launch", "launch");
  return step;
}

const std::shared_ptr<const ProfiledStep>& wait_step() {
  static const auto step = make_step("wait", "wait");
  return step;
}

CudaProfiler::CudaProfiler(ContextPtr context) : context_(std::move(context)) {
  if (ActivityTrace::available()) trace_.emplace();
}

void CudaProfiler::begin(const Stream& stream) {
  first_ = works_.size();
  if (trace_) return trace_->begin();
  start_.emplace(context_, Event::Timing::on);
  start_->record(stream);
}

void CudaProfiler::add(DeviceActivity::Kind kind, StepPtr step, const Stream& stream) {
  works_.push_back({kind, std::move(step), std::nullopt});
  if (trace_) return;
  works_.back().event.emplace(context_, Event::Timing::on);
  works_.back().event->record(stream);
}

void CudaProfiler::launched(StepPtr step, const Stream& stream) {
  add(DeviceActivity::Kind::kernel, std::move(step), stream);
}
void CudaProfiler::copied(const Stream& stream) {
  add(DeviceActivity::Kind::copy, copy_step(), stream);
}

// The last of the events was reached just now.
void CudaProfiler::end() {
  if (trace_) return trace_->end();
  if (first_ == works_.size()) return;
  const auto elapsed_ns = [](const Event& from, const Event& to) {
    return static_cast<int64_t>(1e6 * static_cast<double>(milliseconds_between(from, to)));
  };
  const int64_t begun = now_ns() - elapsed_ns(*start_, *works_.back().event);
  int64_t previous = 0;
  for (size_t i = first_; i < works_.size(); ++i) {
    const int64_t at = elapsed_ns(*start_, *works_[i].event);
    timed_.push_back({works_[i].step, begun + previous, at - previous});
    previous = at;
  }
}

// CUPTI's activities of each kind are in the order in which the work was put on the stream.
std::vector<ProfileEvent> CudaProfiler::traced() {
  constexpr size_t kKinds = 3;
  std::array<std::vector<StepPtr>, kKinds> steps;
  for (const Work& work : works_) steps[static_cast<size_t>(work.kind)].push_back(work.step);
  std::array<size_t, kKinds> seen = {};
  std::vector<ProfileEvent> events;
  for (const DeviceActivity& activity : trace_->stop()) {
    const auto kind = static_cast<size_t>(activity.kind);
    if (seen[kind] < steps[kind].size())
      events.push_back({steps[kind][seen[kind]], activity.start_ns,
                        std::max<int64_t>(0, activity.end_ns - activity.start_ns)});
    ++seen[kind];
  }
  for (size_t kind = 0; kind < kKinds; ++kind)
    if (seen[kind] != steps[kind].size())
      fail(ErrorCode::device, "CUPTI saw {} pieces of work of a run that has {}", seen[kind],
           steps[kind].size());
  return events;
}

void CudaProfiler::finish(RunProfile& profile) {
  const ContextScope scope(*context_);
  profile.device_clock = trace_ ? "CUPTI" : "events";
  profile.events = merge_timelines(trace_ ? traced() : timed_, profile.events);
}

}  // namespace onrush::cuda
