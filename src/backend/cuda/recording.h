// All kernels of a run as one graph, which serves runs of other sizes, too.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/bound_plan.h"
#include "backend/cuda/graph.h"

namespace onrush::cuda {

class Recording {
 public:
  // traced: made while CUPTI listens, which sees the kernels of no other.
  Recording(std::shared_ptr<const BoundPlan> plan, const RunMemory& memory, const Stream& stream,
            bool traced);

  bool traced() const { return traced_; }
  bool is_of(const BoundPlan& plan) const { return plan_.get() == &plan; }

  // Gives the graph's kernels what a run of the plan gives them: functions, grids, sizes and
  // addresses, where they differ. False, and nothing changes, where the plan does not launch as
  // many kernels in clusters of the same sizes, or has a library's kernel elsewhere.
  bool aim(const std::shared_ptr<const BoundPlan>& plan, const RunMemory& memory);
  // What it is aimed at.
  void launch(const Stream& stream) const { graph_->launch(stream); }
  // Of the graph's kernels, how many are of a step.
  size_t launches(size_t step) const { return first_node_[step + 1] - first_node_[step]; }

 private:
  struct Node {
    CUgraphNode handle;
    Function function;
    LaunchShape shape;
    const LibraryKernel* library;
    std::vector<uint64_t> arguments;  // pointers, sizes, maps
  };
  static Node node_of(CUgraphNode handle, const KernelLaunch& launch);
  bool has_form_of(const BoundPlan& plan, const RunMemory& memory) const;
  void set(Node& node, const KernelLaunch& launch, CUdeviceptr words);

  std::shared_ptr<const BoundPlan> plan_;
  RunMemory memory_;
  std::optional<GraphExec> graph_;
  std::vector<Node> nodes_;               // by launch
  std::vector<size_t> first_node_ = {0};  // by step, and one more
  bool traced_;
  std::unique_ptr<MemoryCount> use_;  // what the device had less afterwards
};

}  // namespace onrush::cuda
