// How many plans a model needs for the shapes that its users send. Weights are absent: nothing
// runs.
#include <gtest/gtest.h>

#include "backend/backend.h"
#include "fuse/fuse.h"
#include "onnx/decode.h"
#include "optimize/pipeline.h"
#include "runtime/scope.h"

namespace onrush {
namespace {

// Compiles as far as the schedule, and gives outputs of the right shape without computing them.
class ShapesOnly final : public Backend {
  class Compiled final : public Executable,
                         public Binding,
                         public std::enable_shared_from_this<Compiled> {
   public:
    explicit Compiled(Graph graph) : graph_(std::move(graph)) {}
    std::shared_ptr<const Binding> bind(SizeTable sizes) const override {
      auto bound = std::make_shared<Compiled>(graph_);
      bound->sizes_ = std::move(sizes);
      return bound;
    }
    std::vector<std::shared_ptr<const ProfiledStep>> profiled_steps() const override { return {}; }
    void run(RunState&, std::span<const Tensor>, std::span<Tensor> outputs) const override {
      for (size_t i = 0; i < outputs.size(); ++i) {
        const NodeId node = graph_.outputs[i].node;
        Shape shape;
        for (Dim dim : graph_.shape(node)) shape.push_back(sizes_(dim));
        outputs[i] = Tensor(graph_.dtype(node), shape);
      }
    }

   private:
    Graph graph_;
    SizeTable sizes_;
  };

 public:
  std::shared_ptr<const Executable> compile(Graph graph) override {
    Graph optimized = optimize(graph);
    fuse(optimized);
    return std::make_shared<Compiled>(std::move(optimized));
  }
};

class Network {
 public:
  explicit Network(const std::string& path) : model_(load(path)) {
    for (const auto& initializer : model_.graph.initializers) {
      const Tensor& t = initializer.tensor;
      constants_.set_constant(initializer.name,
                              t.count() && !t.data() ? Tensor(t.dtype(), t.shape()) : t);
    }
    shared_.model = &model_;
    shared_.backend = &backend_;
    scope_ = std::make_unique<Scope>(shared_, model_.graph);
  }

  // Runs with these shapes for the model's inputs, in order, and gives the number of plans so far.
  size_t run(const std::vector<Shape>& shapes) {
    Environment environment(&constants_);
    for (size_t i = 0; i < shapes.size(); ++i) {
      const auto& input = model_.graph.inputs[i];
      const Tensor tensor(input.type.element, shapes[i]);
      std::fill_n(static_cast<char*>(tensor.data()), tensor.bytes(), char{1});
      environment.set(input.name, tensor);
    }
    RunState state;
    scope_->run(state, environment, {});
    return scope_->plans().size();
  }

 private:
  static onnx::Model load(const std::string& path) {
    onnx::LoadOptions options;
    options.allow_missing_external_data = true;
    return onnx::load(path, options);
  }
  onnx::Model model_;
  ShapesOnly backend_;
  ScopeShared shared_;
  Environment constants_;
  std::unique_ptr<Scope> scope_;
};

class Exporters : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Both, Exporters, testing::Values("", "_torchscript"));

TEST_P(Exporters, BertNeedsAtMostThreePlansForAllLengths) {
  Network bert(MODELS "/bert_base" + GetParam() + ".onnx");
  size_t plans = 0;
  for (int64_t length : {128, 2, 3, 17, 64, 255, 256, 384, 511, 512})
    plans = bert.run({{1, length}, {1, length}, {1, length}});
  for (int64_t batch : {2, 8}) plans = bert.run({{batch, 128}, {batch, 128}, {batch, 128}});
  EXPECT_LE(plans, 3u);
}

TEST(PlanCount, ImageModelsNeedAtMostTwoPlansForAllBatches) {
  for (const char* name :
       {"resnet50", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit_b_16"}) {
    Network network(std::string(MODELS "/") + name + ".onnx");
    size_t plans = 0;
    for (int64_t batch : {1, 2, 8, 32}) plans = network.run({{batch, 3, 224, 224}});
    EXPECT_LE(plans, 2u) << name;
  }
}

TEST(PlanCount, GptNeedsAtMostThreePlansForAllLengths) {
  Network gpt(MODELS "/gpt2.onnx");
  size_t plans = 0;
  for (int64_t length : {128, 2, 5, 64, 300, 512}) plans = gpt.run({{1, length}});
  EXPECT_LE(plans, 3u);
}

}  // namespace
}  // namespace onrush
