// All kernels of a run as one graph.
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
  Recording(const BoundPlan& plan, const RunMemory& memory, const Stream& stream, bool traced);

  bool traced() const { return traced_; }
  // Launches the graph, with the addresses of this run's inputs and outputs.
  void replay(const RunMemory& memory, const Stream& stream);
  // Of the graph's kernels, how many are of a step.
  size_t launches(size_t step) const { return first_node_[step + 1] - first_node_[step]; }

 private:
  void aim(const RunMemory& memory);

  const BoundPlan& plan_;
  std::optional<GraphExec> graph_;
  std::vector<CUgraphNode> nodes_;        // by launch
  std::vector<size_t> first_node_ = {0};  // by step, and one more
  Addresses addresses_;
  bool traced_;
  std::unique_ptr<MemoryCount> memory_;  // what the device had less afterwards
};

}  // namespace onrush::cuda
