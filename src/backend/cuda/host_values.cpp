#include "backend/cuda/host_values.h"

#include <algorithm>

namespace onrush::cuda {
namespace {

constexpr size_t kMostBytes = 4 << 10;
constexpr uint32_t kMostBlocks = 16;  // each may read all of an input

// Others copy asynchronously, by tensor maps, or change memory atomically.
bool loads_and_stores(const BoundKernel& kernel) {
  if (kernel.library) return false;
  const CudaSchedule schedule = kernel.at->variant->kernel.schedule;
  return schedule == CudaSchedule::pointwise || schedule == CudaSchedule::row;
}

bool has_few_blocks(const BoundKernel& kernel) {
  const Dim3& grid = kernel.pass->shape.grid;
  return grid.x * grid.y * grid.z <= kMostBlocks;
}

// Of the kernels that are given what lies at the place, the only one; null if there are more.
const BoundKernel* only_user(const BoundPlan& plan, Place place) {
  const auto is_there = [&](NodeId node) {
    return node.valid() && plan.place_of(node).kind == place.kind &&
           plan.place_of(node).index == place.index;
  };
  const BoundKernel* found = nullptr;
  for (const BoundStep& step : plan.steps())
    for (const BoundKernel& kernel : step.kernels) {
      if (!std::ranges::any_of(kernel.buffers, is_there)) continue;
      if (found) return nullptr;
      found = &kernel;
    }
  return found;
}

bool stays_on_host(const BoundPlan& plan, Place place, size_t bytes) {
  if (bytes == 0 || bytes > kMostBytes) return false;
  const BoundKernel* kernel = only_user(plan, place);
  return kernel && loads_and_stores(*kernel) && has_few_blocks(*kernel);
}

}  // namespace

HostValues host_values(const BoundPlan& plan) {
  const Graph& graph = plan.graph();
  HostValues values{std::vector<bool>(graph.inputs.size()),
                    std::vector<bool>(graph.outputs.size())};
  const auto is_loop = [](const BoundStep& step) { return step.loop.has_value(); };
  if (plan.has_host_steps() || std::ranges::any_of(plan.steps(), is_loop)) return values;
  for (size_t i = 0; i < graph.inputs.size(); ++i)
    values.inputs[i] =
        stays_on_host(plan, {Place::Kind::input, static_cast<int>(i)}, plan.input_bytes(i));
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    const NodeId node = graph.outputs[i].node;
    const auto is_same = [&](const GraphOutput& output) { return output.node == node; };
    values.outputs[i] = plan.place_of(node).kind == Place::Kind::output &&
                        std::ranges::count_if(graph.outputs, is_same) == 1 &&
                        stays_on_host(plan, plan.place_of(node), plan.bytes(node));
  }
  return values;
}

}  // namespace onrush::cuda
