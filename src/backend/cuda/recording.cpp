#include "backend/cuda/recording.h"

namespace onrush::cuda {

Recording::Node Recording::node_of(CUgraphNode handle, const KernelLaunch& launch) {
  Node node{handle, launch.function, launch.shape, launch.library, {}};
  std::vector<uint64_t>& all = node.arguments;
  all.reserve(launch.pointers.size() + launch.sizes.size() + 6 * launch.maps.size());
  all.insert(all.end(), launch.pointers.begin(), launch.pointers.end());
  for (int64_t size : launch.sizes) all.push_back(static_cast<uint64_t>(size));
  for (const BoundMap& map : launch.maps) {
    all.insert(all.end(), map.extents.begin(), map.extents.end());
    all.insert(all.end(), map.strides.begin(), map.strides.end());
    all.push_back(map.dtype);
  }
  return node;
}

Recording::Recording(std::shared_ptr<const BoundPlan> plan, const RunMemory& memory,
                     const Stream& stream, bool traced)
    : plan_(std::move(plan)), memory_(memory), traced_(traced) {
  const bool clusters = plan_->executable().plan().target().clusters;
  Capture capture(stream);
  for (const BoundStep& step : plan_->steps()) {
    plan_->each_launch(step, memory, [&](const KernelLaunch& launch) {
      put_on_stream(launch, !nodes_.empty() && clusters, memory.words, stream);
      nodes_.push_back(node_of(capture.last_node(), launch));
    });
    first_node_.push_back(nodes_.size());
  }
  CapturedGraph captured = capture.end();
  const size_t before = memory_use().free;
  graph_.emplace(std::move(captured));
  const size_t after = memory_use().free;
  use_ = std::make_unique<MemoryCount>(plan_->executable().shared().graphs,
                                       before > after ? before - after : 0);
}

bool Recording::has_form_of(const BoundPlan& plan, const RunMemory& memory) const {
  size_t at = 0;
  bool same = true;
  for (size_t i = 0; i < plan.steps().size() && same; ++i) {
    plan.each_launch(plan.steps()[i], memory, [&](const KernelLaunch& launch) {
      same = same && at < nodes_.size();
      if (!same) return;
      const Node& node = nodes_[at++];
      same = node.shape.cluster == launch.shape.cluster && node.library == launch.library &&
             (!node.library || node.arguments == node_of({}, launch).arguments);
    });
    same = same && first_node_[i + 1] == at;
  }
  return same && at == nodes_.size();
}

void Recording::set(Node& node, const KernelLaunch& launch, CUdeviceptr words) {
  Node next = node_of(node.handle, launch);
  if (node.library ||  // which has not changed
      (next.function.handle() == node.function.handle() && next.shape == node.shape &&
       next.arguments == node.arguments))
    return;
  graph_->set_kernel(node.handle, launch.function, launch.shape,
                     KernelArguments(launch, words).addresses());
  node = std::move(next);
}

bool Recording::aim(const std::shared_ptr<const BoundPlan>& plan, const RunMemory& memory) {
  const bool elsewhere = plan != plan_ || memory.arena != memory_.arena;
  if (!elsewhere && memory.addresses == memory_.addresses) return true;
  if (elsewhere && !has_form_of(*plan, memory)) return false;
  for (size_t i = 0; i < plan->steps().size(); ++i) {
    const BoundStep& step = plan->steps()[i];
    if (!elsewhere && !plan->moved(step, memory_.addresses, memory.addresses)) continue;
    size_t at = first_node_[i];
    plan->each_launch(step, memory,
                      [&](const KernelLaunch& launch) { set(nodes_[at++], launch, memory.words); });
  }
  plan_ = plan;
  memory_ = memory;
  return true;
}

}  // namespace onrush::cuda
