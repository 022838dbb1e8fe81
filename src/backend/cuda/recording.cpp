#include "backend/cuda/recording.h"

namespace onrush::cuda {

Recording::Recording(const BoundPlan& plan, const RunMemory& memory, const Stream& stream,
                     bool traced)
    : plan_(plan), addresses_(memory.addresses), traced_(traced) {
  const bool clusters = plan.executable().plan().target().clusters;
  Capture capture(stream);
  for (const BoundStep& step : plan.steps()) {
    plan.each_launch(step, memory, [&](const KernelLaunch& kernel) {
      put_on_stream(kernel, !nodes_.empty() && clusters, memory.words, stream);
      nodes_.push_back(capture.last_node());
    });
    first_node_.push_back(nodes_.size());
  }
  CapturedGraph captured = capture.end();
  const size_t before = memory_use().free;
  graph_.emplace(std::move(captured));
  const size_t after = memory_use().free;
  memory_ = std::make_unique<MemoryCount>(plan.executable().shared().graphs,
                                          before > after ? before - after : 0);
}

void Recording::aim(const RunMemory& memory) {
  for (size_t i = 0; i < plan_.steps().size(); ++i) {
    const BoundStep& step = plan_.steps()[i];
    if (!plan_.moved(step, addresses_, memory.addresses)) continue;
    size_t node = first_node_[i];
    plan_.each_launch(step, memory, [&](const KernelLaunch& kernel) {
      const CUgraphNode at = nodes_[node++];
      if (kernel.product) return;  // nothing that moves, see CudaPlan::library_product()
      graph_->set_kernel(at, kernel.function, kernel.shape,
                         KernelArguments(kernel, memory.words).addresses());
    });
  }
  addresses_ = memory.addresses;
}

void Recording::replay(const RunMemory& memory, const Stream& stream) {
  if (addresses_ != memory.addresses) aim(memory);
  graph_->launch(stream);
}

}  // namespace onrush::cuda
