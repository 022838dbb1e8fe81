#include "backend/cuda/frame.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr size_t kMostRecordings = 8;  // of a frame

// Room for `bytes` in place of `now`: with some to spare where sizes have begun to grow.
size_t grown(size_t now, size_t bytes, size_t limit) {
  return limit ? bytes : std::max(bytes, now + now / 2);
}

}  // namespace

Frame::Frame(CudaShared& shared)
    : own(shared.context),
      stream(Stream::borrow(shared.context, own.handle())),
      words(shared.context, sizeof(RunWords)),
      ready(shared.context),
      done(shared.context),
      shared_(shared),
      error_(shared.context, sizeof(RunWords)) {
  const RunWords first{.seed = fresh_seed()};
  std::memcpy(error_.data(), &first, sizeof first);
  copy_to_device(words.pointer(), error_.data(), sizeof first, own);
  own.synchronize();
}

void Frame::reserve(const FrameLayout& layout) {
  const bool more = layout.bytes > memory.bytes(), more_host = layout.host_bytes > host.bytes();
  if ((more || more_host) && pending) done.synchronize();
  if (more) {
    const size_t bytes = grown(memory.bytes(), layout.bytes, shared_.limit);
    memory = {};
    memory = DeviceBuffer(shared_.context, bytes);
    scratch_.emplace(shared_.scratch, bytes);
  }
  if (more_host) {
    const size_t bytes = grown(host.bytes(), layout.host_bytes, 0);
    host = {};
    host = PinnedBuffer(shared_.context, bytes);
    pinned_.emplace(shared_.pinned, bytes);
  }
}

bool Frame::has_recording_of(const BoundPlan& plan) const {
  return std::ranges::any_of(recordings_, [&](const Recording& r) { return r.is_of(plan); });
}

Recording* Frame::recording_for(const std::shared_ptr<const BoundPlan>& plan,
                                const RunMemory& memory, int64_t earlier_runs, bool traced) {
  const auto is_seen = [&](const Recording& r) { return r.traced() || !traced; };
  auto found = std::ranges::find_if(
      recordings_, [&](const Recording& r) { return r.is_of(*plan) && is_seen(r); });
  if (found != recordings_.end() && !found->aim(plan, memory)) {
    recordings_.erase(found);
    found = recordings_.end();
  }
  // Sizes that come again and again get a graph of their own; others take one over, the oldest.
  const bool own_one = earlier_runs > 1 && recordings_.size() < kMostRecordings;
  for (auto r = recordings_.end(); found == recordings_.end() && !own_one;) {
    if (r == recordings_.begin()) break;
    --r;
    if (is_seen(*r) && r->aim(plan, memory)) found = r;
  }
  if (found == recordings_.end()) {
    if (earlier_runs == 0 && (runs == 0 || !recordings_.empty())) return nullptr;
    if (recordings_.size() == kMostRecordings) recordings_.pop_back();
    recordings_.emplace_front(plan, memory, stream, traced);
    return &recordings_.front();
  }
  recordings_.splice(recordings_.begin(), recordings_, found);
  return &recordings_.front();
}

// One that a run on `stream` may use at once; best one with a graph of the plan's.
std::unique_ptr<Frame> FramePool::take_idle(const BoundPlan& plan, CUstream stream,
                                            bool capturing) {
  const std::lock_guard lock(mutex_);
  auto best = idle_.end();
  for (auto frame = idle_.begin(); frame != idle_.end(); ++frame) {
    const bool in_order = stream && !capturing && (*frame)->stream.handle() == stream;
    if ((*frame)->pending && !in_order && !(*frame)->done.reached()) continue;
    if (best == idle_.end() || !(*best)->has_recording_of(plan) || (*frame)->has_recording_of(plan))
      best = frame;
  }
  if (best == idle_.end()) return nullptr;
  std::unique_ptr<Frame> taken = std::move(*best);
  idle_.erase(best);
  return taken;
}

std::unique_ptr<Frame> FramePool::take(const BoundPlan& plan, CUstream stream, bool capturing) {
  const size_t bytes = plan.layout().bytes, weights = shared_.weights.bytes();
  if (shared_.limit && bytes + weights > shared_.limit)
    fail(ErrorCode::out_of_memory,
         "a run needs {} bytes of device memory beside {} bytes of weights, above the session's "
         "limit of {}",
         bytes, weights, shared_.limit);
  std::unique_ptr<Frame> frame = take_idle(plan, stream, capturing);
  if (!frame) frame = std::make_unique<Frame>(shared_);
  frame->reserve(plan.layout());
  frame->stream = Stream::borrow(shared_.context, stream ? stream : frame->own.handle());
  return frame;
}

void FramePool::give_back(std::unique_ptr<Frame> frame) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(frame));
}

void FramePool::keep(std::unique_ptr<Frame> frame) {
  const std::lock_guard lock(mutex_);
  kept_.push_back(std::move(frame));
}

RunMemory memory_of_run(const BoundPlan& plan, const Frame& frame) {
  Addresses result;
  for (const size_t offset : plan.layout().inputs)
    result.push_back(frame.memory.pointer() + offset);
  for (const size_t offset : plan.layout().outputs)
    result.push_back(frame.memory.pointer() + offset);
  return {std::move(result), frame.memory.pointer(), frame.words.pointer()};
}

RunMemory memory_of_run(const BoundPlan& plan, const Frame& frame, std::span<const Tensor> inputs,
                        std::span<const Tensor> outputs, const HostValues& host_values) {
  RunMemory memory = memory_of_run(plan, frame);
  const auto place = [&](CUdeviceptr& address, const Tensor& tensor, bool on_host, size_t offset) {
    if (tensor.device().kind != Device::Kind::cuda) {
      if (on_host) address = device_address(frame.host.data() + offset);
    } else if (device_address(tensor.data()) % kVectorBytes == 0) {
      address = device_address(tensor.data());
    }
  };
  CUdeviceptr* address = memory.addresses.data();
  for (size_t i = 0; i < inputs.size(); ++i)
    place(*address++, inputs[i], host_values.inputs[i], plan.layout().host_inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i)
    place(*address++, outputs[i], host_values.outputs[i], plan.layout().host_outputs[i]);
  return memory;
}

}  // namespace onrush::cuda
