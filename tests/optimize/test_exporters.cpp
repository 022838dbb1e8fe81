// Two exporters' graphs of one network end in one graph.
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <regex>

#include "base/numeric.h"
#include "canonical.h"
#include "lower/lower.h"
#include "onnx/decode.h"
#include "onnx/inline_functions.h"
#include "optimize/pipeline.h"

namespace onrush {
namespace {

struct Spread {
  double mean, deviation;
};

// Weights by name, from the statistics beside a graph: {"name": [mean, deviation, ...], ...}.
std::map<std::string, Spread> read_statistics(const std::string& path) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::map<std::string, Spread> result;
  const std::regex entry(R"re("([^"]+)": \[([^,]+), ([^,]+),)re");
  for (std::sregex_iterator match(text.begin(), text.end(), entry), end; match != end; ++match)
    result[(*match)[1]] = {std::stod((*match)[2]), std::stod((*match)[3])};
  return result;
}

// Some weights, where the file has none.
Tensor filled(const Tensor& tensor, Spread spread) {
  if (tensor.data() || tensor.count() == 0) return tensor;
  Tensor result(tensor.dtype(), tensor.shape());
  std::minstd_rand generator(static_cast<unsigned>(tensor.count()));
  std::normal_distribution<double> draw;
  for (int64_t i = 0; i < result.count(); ++i)
    store_f64(result.dtype(), result.data(), i, spread.mean + spread.deviation * draw(generator));
  return result;
}

Tensor zeros(const onnx::ValueInfo& input, int64_t free_extent) {
  Shape shape;
  for (const auto& dim : *input.type.shape) shape.push_back(dim.value.value_or(free_extent));
  Tensor tensor(input.type.element, shape);
  for (int64_t i = 0; i < tensor.count(); ++i) store_f64(tensor.dtype(), tensor.data(), i, 0);
  return tensor;
}

// `change` adapts the model first.
Graph optimized(const std::string& network, const std::function<void(onnx::Model&)>& change = {}) {
  onnx::LoadOptions options;
  options.allow_missing_external_data = true;
  const std::string path = fmt::format("{}/{}", ONRUSH_TEST_MODELS, network);
  const auto statistics = read_statistics(path + ".stats.json");
  onnx::Model model = onnx::load(path + ".onnx", options);
  onnx::inline_functions(model);
  if (change) change(model);
  Environment environment;
  for (const auto& [name, tensor] : model.graph.initializers) {
    const auto spread = statistics.find(name);
    const bool known = spread != statistics.end();
    environment.set_constant(name, filled(tensor, known ? spread->second : Spread{}));
  }
  for (const auto& input : model.graph.inputs)
    if (!environment.contains(input.name)) environment.set(input.name, zeros(input, 2));
  SegmentRequest request{&model, {}, {}};
  for (const auto& node : model.graph.nodes)
    request.nodes.push_back(std::make_shared<onnx::Node>(node));
  for (const auto& output : model.graph.outputs) request.wanted.push_back(output.name);
  return optimize(lower(request, environment).graph);
}

class Exporters : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(fmt::format("{}/{}.onnx", ONRUSH_TEST_MODELS, GetParam())))
      GTEST_SKIP() << "no models in " << ONRUSH_TEST_MODELS;
  }
};

TEST_P(Exporters, EndInOneGraph) {
  const Graph first = optimized(GetParam());
  const Graph second = optimized(fmt::format("{}_torchscript", GetParam()));
  EXPECT_TRUE(canonical_lines(first) == canonical_lines(second))
      << canonical_difference(first, second);
}

INSTANTIATE_TEST_SUITE_P(Networks, Exporters,
                         testing::Values("resnet50", "mobilenet_v3_large", "efficientnet_b0",
                                         "convnext_tiny"));

// The newer exporter gives the batch of attention_mask a name of its own, so that its rows are
// sliced. With one name for both the graphs are the same.
TEST(Exporter, BertEndsInOneGraphForOneBatch) {
  if (!std::filesystem::exists(fmt::format("{}/bert_base.onnx", ONRUSH_TEST_MODELS)))
    GTEST_SKIP() << "no models in " << ONRUSH_TEST_MODELS;
  const auto with_one_batch = [](onnx::Model& model) {
    const onnx::Dimension batch = model.graph.inputs[0].type.shape->at(0);
    for (onnx::ValueInfo& input : model.graph.inputs) input.type.shape->at(0) = batch;
  };
  const Graph first = optimized("bert_base", with_one_batch);
  const Graph second = optimized("bert_base_torchscript", with_one_batch);
  EXPECT_TRUE(canonical_lines(first) == canonical_lines(second))
      << canonical_difference(first, second);
}

}  // namespace
}  // namespace onrush
