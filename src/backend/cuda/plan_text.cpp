#include "backend/cuda/plan_text.h"

#include <fmt/format.h>
#include <set>

#include "plan/placement.h"

namespace onrush::cuda {
namespace {

std::string_view name_of(CudaSchedule schedule) {
  switch (schedule) {
    case CudaSchedule::pointwise: return "pointwise";
    case CudaSchedule::row: return "row";
    case CudaSchedule::column: return "column";
    case CudaSchedule::tile: return "tile";
    case CudaSchedule::window: return "window";
    case CudaSchedule::depthwise: return "depthwise";
    case CudaSchedule::attention: return "attention";
    case CudaSchedule::primitive: return "primitive";
  }
  return {};
}

std::string launch_text(const CudaKernel& kernel, const CudaLaunch& launch) {
  std::string text =
      fmt::format("{}, {} blocks of {}", name_of(kernel.schedule), launch.blocks, launch.threads_x);
  if (launch.threads_y > 1) text += fmt::format(" x {}", launch.threads_y);
  text += " threads";
  if (launch.cluster > 1) text += fmt::format(" in clusters of {}", launch.cluster);
  if (launch.shared_bytes) text += fmt::format(", {} bytes of shared memory", launch.shared_bytes);
  if (kernel.schedule == CudaSchedule::tile)
    text += fmt::format(", {} x {} results a tile", kernel.tile.m, kernel.tile.n);
  if (kernel.tile.persistent) text += ", tile after tile";
  return text;
}

// What measurements say about a kernel.
std::string tuned_text(const TunedContraction& tuned, bool may_use_library) {
  std::string text = fmt::format(", tuned: {:.2f} us", tuned.own_us);
  if (!tuned.by_library) return text;
  text += fmt::format("; {} {:.2f} us", tuned.library, tuned.by_library->us);
  if (may_use_library && prefers_library(tuned)) text += ", which computes it where installed";
  return text;
}

class PlanPrinter {
 public:
  explicit PlanPrinter(const CudaPlan& plan)
      : plan_(plan), sizes_(sizes_at_hand(*plan.graph().shapes)) {}

  std::string print() {
    print_steps("once a session", plan_.prepare_steps());
    print_steps("once for these sizes", plan_.bind_steps());
    print_steps("in each run", plan_.steps());
    return text_;
  }

 private:
  void print_steps(std::string_view time, const std::vector<CudaStep>& steps) {
    for (const CudaStep& step : steps) print_step(time, step);
  }

  void print_step(std::string_view time, const CudaStep& step) {
    std::vector<std::string> outputs;
    for (NodeId output : step.step.group->outputs)
      outputs.push_back(fmt::format("%{} in {}", output.index, onnx_name(plan_.storage(output))));
    const ProfiledStep& profiled = *step.step.profiled;
    text_ += fmt::format("{}: {} -> {}  # {}\n", time, profiled.name, fmt::join(outputs, ", "),
                         fmt::join(profiled.nodes, ", "));
    if (std::holds_alternative<NodeId>(step.step.kernel)) text_ += "on the host\n";
    if (step.body) text_ += "in each trip of a loop:\n" + to_string(*step.body);
    for (const StepKernel& kernel : step.kernels) {
      if (kernel.packing) print_kernel("packs weights once: ", *kernel.packing);
      print_kernel("", kernel);
    }
    text_ += "\n";
  }

  void print_kernel(std::string_view purpose, const StepKernel& kernel) {
    const KernelVariant& variant = plan_.variant(kernel, sizes_);
    const CudaLaunch launch = launch_of(variant.kernel, sizes_, plan_.target());
    text_ +=
        fmt::format("{}kernel {}: {}", purpose, variant.text, launch_text(variant.kernel, launch));
    if (const auto tuned = plan_.tuned(kernel, sizes_))
      text_ += tuned_text(*tuned, plan_.library_form(kernel, sizes_).has_value());
    text_ += "\n";
    if (shown_.insert(variant.text).second) text_ += plan_.text(variant.text);
  }

  const CudaPlan& plan_;
  SizeTable sizes_;
  std::set<size_t> shown_;
  std::string text_;
};

}  // namespace

std::string to_string(const CudaPlan& plan) { return PlanPrinter(plan).print(); }

}  // namespace onrush::cuda
