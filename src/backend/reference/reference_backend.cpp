#include "backend/reference/reference_backend.h"

#include <cstring>

#include "base/check.h"
#include "reference/evaluate.h"

namespace onrush {
namespace {

class ReferenceBinding final : public Binding {
 public:
  ReferenceBinding(std::shared_ptr<const Graph> graph, SizeTable sizes)
      : graph_(std::move(graph)), sizes_(std::move(sizes)) {}

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override {
    state.check_cancelled();
    const std::vector<Tensor> results = evaluate(*graph_, inputs, sizes_);
    // The evaluator shares memory between values, and with the graph's constants; callers do not.
    for (size_t i = 0; i < results.size(); ++i) {
      if (!outputs[i]) outputs[i] = Tensor(results[i].dtype(), results[i].shape());
      check_given(graph_->outputs[i].name, outputs[i], results[i].dtype(), results[i].shape());
      copy_elements(results[i], outputs[i]);
    }
  }

 private:
  std::shared_ptr<const Graph> graph_;
  SizeTable sizes_;
};

class ReferenceExecutable final : public Executable {
 public:
  explicit ReferenceExecutable(Graph graph)
      : graph_(std::make_shared<const Graph>(std::move(graph))) {}
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override {
    return std::make_shared<ReferenceBinding>(graph_, std::move(sizes));
  }

 private:
  std::shared_ptr<const Graph> graph_;
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
