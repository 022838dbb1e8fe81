#include "backend/cuda/tune_plan.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "backend/cuda/frame.h"
#include "backend/cuda/tuner.h"
#include "base/check.h"
#include "codegen/cuda_tiles.h"

namespace onrush::cuda {
namespace {

// The library that may compute a contraction, where it is installed; empty otherwise.
std::string library_for(const BoundPlan& plan, const StepKernel& kernel) {
  const auto form = plan.executable().plan().library_form(kernel, plan.sizes());
  return form ? plan.executable().shared().library_version(*form) : "";
}

// Steps by what the tuning knows them as, those that it does not know.
std::map<TuningKey, std::vector<const BoundStep*>> untuned_steps(const BoundPlan& plan) {
  std::map<TuningKey, std::vector<const BoundStep*>> steps;
  for (const BoundStep& step : plan.steps()) {
    if (step.kernels.size() != 1 || step.kernels[0].pass->shape.grid.x == 0) continue;
    const StepKernel& kernel = *step.kernels[0].source;
    const auto key = plan.executable().plan().tuning_key(kernel, plan.sizes());
    if (!key) continue;
    const auto known = plan.executable().shared().tuning.find(*key);
    const std::string library = library_for(plan, kernel);
    if (!known || (!library.empty() && known->library != library)) steps[*key].push_back(&step);
  }
  return steps;
}

// Ways to cut a contraction that are worth measuring, the one in use first.
std::vector<TileChoice> choices_of(const BoundPlan& plan, const StepKernel& kernel) {
  constexpr size_t kChoices = 10, kTiles = 5;  // each tile is compiled
  const CudaTarget& target = plan.executable().plan().target();
  const CudaKernel& used = plan.variant(kernel).kernel;
  std::vector<TileChoice> choices = {choice_of(used, plan.sizes(), target)};
  for (const TileChoice& choice : best_choices(used, plan.sizes(), target, kChoices, kTiles))
    if (choice != choices[0]) choices.push_back(choice);
  return choices;
}

// What a library may compute in a kernel's place, at the sizes of the plan.
struct LibraryCall {
  LibraryForm form;
  LibraryShape shape;
};
std::optional<LibraryCall> library_call(const BoundPlan& plan, const StepKernel& kernel) {
  const auto form = plan.executable().plan().library_form(kernel, plan.sizes());
  const auto shape = form ? plan.library_shape(*form) : std::nullopt;
  return shape ? std::optional(LibraryCall{*form, *shape}) : std::nullopt;
}

// The ways that a library has.
std::vector<std::unique_ptr<LibraryKernel>> library_kernels(const BoundPlan& plan,
                                                            const StepKernel& kernel) {
  constexpr int kMost = 6;
  const auto call = library_call(plan, kernel);
  if (!call) return {};
  return plan.executable().shared().library_kernels(call->shape, kMost);
}

// The steps by one of a library's algorithms; fewer where it does not take them all.
std::vector<BoundStep> bind_library(const BoundPlan& plan,
                                    const std::vector<const BoundStep*>& steps,
                                    const std::string& algorithm) {
  std::vector<BoundStep> bound;
  for (const BoundStep* step : steps) {
    const StepKernel& kernel = *step->kernels[0].source;
    const auto call = library_call(plan, kernel);
    std::shared_ptr<const LibraryKernel> library =
        call ? plan.executable().shared().library_kernel(call->shape, algorithm) : nullptr;
    if (!library) continue;
    bound.push_back({step->step, {plan.bind_library(kernel, call->form, std::move(library))}, {}});
  }
  return bound;
}

// "dot+add f16, 1 x 197 x 768 x 3072": what it computes, and the extents of batch, m, n and k.
std::string title_of(const BoundPlan& plan, const BoundStep& step) {
  const StepKernel& source = *step.kernels[0].source;
  const CudaKernel& kernel = plan.variant(source).kernel;
  return fmt::format("{} {}, {} x {} x {} x {}", step.step->step.profiled->name,
                     onnx_name(std::get<CudaContraction>(source.form).factor),
                     kernel.work.at(plan.sizes()), kernel.m.at(plan.sizes()),
                     kernel.n.at(plan.sizes()), kernel.k.at(plan.sizes()));
}

// Times all ways to compute these steps, which are alike, where their operands lie.
std::optional<TunedContraction> measure(const BoundPlan& plan,
                                        const std::vector<const BoundStep*>& steps,
                                        const RunMemory& memory, const DeviceBuffer& workspace) {
  const CudaPlan& kernels = plan.executable().plan();
  const StepKernel& first = *steps[0]->kernels[0].source;
  const bool overlaps = kernels.target().clusters;
  const auto candidate = [&](const std::string& way, std::vector<BoundStep> bound) -> Candidate {
    const auto put = [&, bound = std::move(bound)](const Stream& stream, bool after_kernel) {
      for (const BoundStep& step : bound)
        plan.each_launch(step, memory, [&](KernelLaunch launch) {
          if (launch.library) launch.pointers.back() = workspace.pointer();
          put_on_stream(launch, after_kernel && overlaps, memory.words, stream);
          after_kernel = true;
        });
    };
    return {fmt::format("tuning {}: {}", title_of(plan, *steps[0]), way), put};
  };
  std::vector<Candidate> candidates;
  const std::vector<TileChoice> choices = choices_of(plan, first);
  for (const TileChoice& choice : choices) {
    std::vector<BoundStep> bound;
    for (const BoundStep* step : steps) {
      const StepKernel& kernel = *step->kernels[0].source;
      const KernelVariant& cut = kernels.variant(kernel, plan.sizes(), choice);
      const auto at = plan.at_sizes(cut);
      const Function function =
          plan.executable().functions().get({cut.text, plan.is_wide(kernel, cut)});
      bound.push_back({step->step, {bind_kernel(kernel, at, at->passes[0], function)}, {}});
    }
    candidates.push_back(candidate(tile_text(choice), std::move(bound)));
  }
  std::vector<std::string> algorithms;
  // They stay while they are bound: some take long to make, and what is there is not made again.
  const auto ways = library_kernels(plan, first);
  for (const auto& kernel : ways) {
    std::vector<BoundStep> bound = bind_library(plan, steps, kernel->algorithm());
    if (bound.size() != steps.size()) continue;
    algorithms.push_back(kernel->algorithm());
    candidates.push_back(candidate(
        fmt::format("{}, algorithm {}", kernel->library(), kernel->algorithm()), std::move(bound)));
  }
  const std::vector<double> us = time_in_turns(plan.context(), candidates, steps.size());
  std::vector<TimedChoice> own;
  for (size_t i = 0; i < choices.size(); ++i) own.push_back({choices[i], us[i]});
  std::vector<TimedAlgorithm> by_library;
  for (size_t i = 0; i < algorithms.size(); ++i)
    if (std::isfinite(us[choices.size() + i]))
      by_library.push_back({algorithms[i], us[choices.size() + i]});
  TunedContraction tuned =
      best_of(title_of(plan, *steps[0]), own, library_for(plan, first), by_library);
  if (!std::isfinite(tuned.own_us)) return std::nullopt;
  return tuned;
}

// What kernels compute with takes part in how fast they are: the values are those of a run on
// inputs that are all alike.
void fill_for_tuning(const BoundPlan& plan, const Frame& frame, const RunMemory& memory) {
  constexpr std::byte kSmallFloats{0x3c};  // in each floating-point format
  for (const DeviceBuffer* buffer : {&frame.memory, &frame.passing})
    if (buffer->bytes()) fill(buffer->pointer(), kSmallFloats, buffer->bytes(), frame.stream);
  for (size_t i = 0; i < plan.graph().inputs.size(); ++i)
    if (!is_float(plan.graph().inputs[i].type.dtype) && plan.input_bytes(i))
      fill(memory.addresses[i], std::byte{0}, plan.input_bytes(i), frame.stream);
  bool after_kernel = false;
  const bool overlaps = plan.executable().plan().target().clusters;
  for (const BoundStep& step : plan.steps()) {
    if (plan.has_host_steps()) break;
    plan.each_launch(step, memory, [&](const KernelLaunch& launch) {
      put_on_stream(launch, after_kernel && overlaps, memory.words, frame.stream);
      after_kernel = true;
    });
  }
  frame.stream.synchronize();
}

}  // namespace

bool tune(const BoundPlan& plan) {
  const TuningTable& tuning = plan.executable().shared().tuning;
  const std::lock_guard lock(tuning.measuring());
  const auto unknown = untuned_steps(plan);
  if (unknown.empty()) return false;
  const auto tell = [&](const std::string& text) {
    if (plan.executable().shared().progress) plan.executable().shared().progress(text);
  };
  std::vector<FunctionRequest> requests;
  for (const auto& [key, steps] : unknown)
    for (const BoundStep* step : steps) {
      const StepKernel& kernel = *step->kernels[0].source;
      for (const TileChoice& choice : choices_of(plan, kernel)) {
        const KernelVariant& cut = plan.executable().plan().variant(kernel, plan.sizes(), choice);
        requests.push_back({cut.text, plan.is_wide(kernel, cut)});
      }
    }
  tell(fmt::format("tuning: compiling other kernels for {} contractions", unknown.size()));
  plan.executable().functions().get(requests);

  Frame frame(plan.executable().shared());
  frame.reserve(plan.layout());
  const RunMemory memory = memory_of_run(plan, frame);
  fill_for_tuning(plan, frame, memory);
  const DeviceBuffer workspace(plan.context(), kMostWorkspaceBytes);
  size_t done = 0;
  for (const auto& [key, steps] : unknown) {
    tell(fmt::format("tuning {} of {}: {}", ++done, unknown.size(), title_of(plan, *steps[0])));
    if (const auto tuned = measure(plan, steps, memory, workspace)) tuning.store(key, *tuned);
  }
  plan.executable().functions().compile_for_later();
  return true;
}

}  // namespace onrush::cuda
