#include "backend/cuda/frame.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr size_t kMostRecordings = 8;  // of a frame
constexpr int kRunsThatTell = 2;       // in a row

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
  needed_ = layout.bytes;
  check_limit(needed_);
  if (layout.bytes > memory.bytes()) grow(memory, scratch_, layout.bytes);
  if (layout.host_bytes <= host.bytes()) return;
  if (pending) done.synchronize();
  const size_t bytes = grown(host.bytes(), layout.host_bytes, 0);
  host = {};
  host = PinnedBuffer(shared_.context, bytes);
  pinned_.emplace(shared_.pinned, bytes);
}

void Frame::reserve_passing(size_t bytes) {
  check_limit(needed_ + bytes);
  if (bytes > passing.bytes()) grow(passing, passing_, bytes);
  runs_without_passing_ = bytes ? 0 : runs_without_passing_ + 1;
  // Callers that have begun to give memory on the device go on with that.
  if (runs_without_passing_ < kRunsThatTell || !passing.bytes()) return;
  if (pending) done.synchronize();
  passing = {};
  passing_.reset();
}

void Frame::check_limit(size_t bytes) const {
  const size_t weights = shared_.weights.bytes();
  if (shared_.limit && bytes + weights > shared_.limit)
    fail(ErrorCode::out_of_memory,
         "a run needs {} bytes of device memory beside {} bytes of weights, above the session's "
         "limit of {}",
         bytes, weights, shared_.limit);
}

void Frame::grow(DeviceBuffer& buffer, std::optional<MemoryCount>& count, size_t bytes) {
  if (pending) done.synchronize();
  bytes = grown(buffer.bytes(), bytes, shared_.limit);
  buffer = {};
  buffer = DeviceBuffer(shared_.context, bytes);
  count.emplace(shared_.scratch, bytes);
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

RunMemory memory_of_run(const BoundPlan& plan, Frame& frame) {
  const std::vector<Tensor> inputs(plan.layout().inputs.size()),
      outputs(plan.layout().outputs.size());
  return memory_of_run(plan, frame, inputs, outputs,
                       {std::vector<bool>(inputs.size()), std::vector<bool>(outputs.size())});
}

RunMemory memory_of_run(const BoundPlan& plan, Frame& frame, std::span<const Tensor> inputs,
                        std::span<const Tensor> outputs, const HostValues& host_values) {
  const FrameLayout& layout = plan.layout();
  Addresses addresses;
  addresses.reserve(inputs.size() + outputs.size());
  size_t passing = 0;
  constexpr CUdeviceptr kPasses = 0;
  const auto place = [&](const Tensor& tensor, bool on_host, size_t host_offset, size_t bytes) {
    CUdeviceptr address = kPasses;
    if (tensor.device().kind != Device::Kind::cuda) {
      if (on_host) address = device_address(frame.host.data() + host_offset);
    } else if (device_address(tensor.data()) % kVectorBytes == 0) {
      address = device_address(tensor.data());
    }
    if (address == kPasses) passing += aligned(bytes);
    addresses.push_back(address);
  };
  for (size_t i = 0; i < inputs.size(); ++i)
    place(inputs[i], host_values.inputs[i], layout.host_inputs[i], layout.inputs[i]);
  for (size_t i = 0; i < outputs.size(); ++i)
    place(outputs[i], host_values.outputs[i], layout.host_outputs[i], layout.outputs[i]);
  frame.reserve_passing(passing);
  CUdeviceptr next = frame.passing.pointer();
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (addresses[i] != kPasses) continue;
    addresses[i] = next;
    next += aligned(i < inputs.size() ? layout.inputs[i] : layout.outputs[i - inputs.size()]);
  }
  return {std::move(addresses), frame.memory.pointer(), frame.words.pointer()};
}

}  // namespace onrush::cuda
