#include "backend/reference/reference_backend.h"

#include <cstring>

#include "base/check.h"
#include "reference/evaluate.h"

namespace onrush {
namespace {

using GraphPtr = std::shared_ptr<const Graph>;
using ProfiledStepPtr = std::shared_ptr<const ProfiledStep>;

class ReferenceBinding final : public Binding {
 public:
  ReferenceBinding(GraphPtr graph, ProfiledStepPtr profiled, SizeTable sizes)
      : graph_(std::move(graph)), profiled_(std::move(profiled)), sizes_(std::move(sizes)) {}

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override {
    state.check_cancelled();
    const ProfileTimer timer(state, profiled_);
    const std::vector<Tensor> results = evaluate(*graph_, inputs, sizes_);
    // The evaluator shares memory between values, and with the graph's constants; callers do not.
    for (size_t i = 0; i < results.size(); ++i) {
      if (!outputs[i]) outputs[i] = Tensor(results[i].dtype(), results[i].shape());
      check_given(graph_->outputs[i].name, outputs[i], results[i].dtype(), results[i].shape());
      copy_elements(results[i], outputs[i]);
    }
  }

 private:
  GraphPtr graph_;
  ProfiledStepPtr profiled_;
  SizeTable sizes_;
};

class ReferenceExecutable final : public Executable {
 public:
  explicit ReferenceExecutable(Graph graph)
      : graph_(std::make_shared<const Graph>(std::move(graph))),
        profiled_(std::make_shared<const ProfiledStep>(
            ProfiledStep{"graph", "evaluate", *graph_->origin_names})) {}
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override {
    return std::make_shared<ReferenceBinding>(graph_, profiled_, std::move(sizes));
  }
  std::vector<ProfiledStepPtr> profiled_steps() const override { return {profiled_}; }

 private:
  GraphPtr graph_;
  ProfiledStepPtr profiled_;
};

class ReferenceBackend final : public Backend {
 public:
  std::shared_ptr<const Executable> compile(Graph graph) override {
    return std::make_shared<ReferenceExecutable>(std::move(graph));
  }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<ReferenceBackend>(); }

}  // namespace onrush
