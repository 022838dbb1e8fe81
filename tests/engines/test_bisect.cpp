#include <algorithm>
#include <fmt/format.h>

#include "engines/bisect.h"
#include "engines/worker.h"
#include "onnx/builders.h"
#include <onrush/session.h>

namespace onrush::engines {
namespace {

using onnx::named;
using onnx::node;

std::vector<Tensor> run(const onnx::Model& model, const NamedTensors& inputs) {
  const std::string bytes = onnx::encode(model);
  SessionOptions options;
  options.device = "reference";
  const Session session = Session::load(onnx::bytes_of(bytes), options);
  NamedValues values(inputs.begin(), inputs.end());
  std::vector<Tensor> outputs;
  for (const Value& value : session.run(values)) outputs.push_back(value.tensor());
  return outputs;
}

// An engine that takes the node "bad" for an Abs, but only if `broken` says so of the model.
RunModel engine(const std::function<bool(const onnx::Model&)>& broken) {
  return [=](const onnx::Model& model, const NamedTensors& inputs) {
    onnx::Model own = model;
    if (broken(model))
      for (onnx::Node& node : own.graph.nodes)
        if (node.name == "bad") node.op_type = "Abs";
    return run(own, inputs);
  };
}

bool has(const onnx::Model& model, const std::string& name) {
  return std::ranges::any_of(model.graph.nodes,
                             [&](const onnx::Node& node) { return node.name == name; });
}

class Bisect : public testing::Test {
 protected:
  std::optional<Culprit> find(const std::function<bool(const onnx::Model&)>& broken) {
    return bisect(model_, inputs_, engine(broken), run, 1e-3, [](std::string_view) {});
  }

  const std::vector<float> elements_ = {-3, -2, -1, 0, 1, 2};
  const NamedTensors inputs_ = {{"x", Tensor::of<float>(DType::f32, {6}, elements_)}};
  const onnx::Model model_ = onnx::model(onnx::graph(
      {"x"},
      {named("before", node("Sigmoid", {"x"}, {"a"})),
       named("shift", node("Sub", {"a", "x"}, {"b"})), named("bad", node("Neg", {"b"}, {"c"})),
       named("after", node("Tanh", {"c"}, {"d"})), named("end", node("Mul", {"d", "a"}, {"y"}))},
      {"y"}));
};

TEST_F(Bisect, equal_engines_have_no_culprit) {
  EXPECT_FALSE(find([](const onnx::Model&) { return false; }));
}

TEST_F(Bisect, one_node_shows_it) {
  const auto culprit = find([](const onnx::Model&) { return true; });
  ASSERT_TRUE(culprit);
  EXPECT_EQ(culprit->node, "bad (Neg)");
  EXPECT_EQ(culprit->value, "c");
  EXPECT_EQ(culprit->model.graph.nodes.size(), 1u);
  ASSERT_EQ(culprit->inputs.size(), 1u);
  EXPECT_EQ(culprit->inputs[0].first, "b");
  EXPECT_TRUE(parts(culprit->in_part, 1e-3));
  // What is written shows it again.
  const auto wrong = engine([](const onnx::Model&) { return true; });
  EXPECT_TRUE(parts(
      difference(wrong(culprit->model, culprit->inputs), run(culprit->model, culprit->inputs)),
      1e-3));
}

// Wrong only together with the node before it, and only as long as what lies between is no output:
// as a defect of fusion is.
TEST_F(Bisect, defects_that_outputs_hide_are_found) {
  const auto culprit = find([](const onnx::Model& model) {
    return has(model, "shift") &&
           std::ranges::none_of(model.graph.outputs,
                                [](const onnx::ValueInfo& output) { return output.name == "b"; });
  });
  ASSERT_TRUE(culprit);
  EXPECT_EQ(culprit->node, "bad (Neg)");
  EXPECT_EQ(culprit->model.graph.nodes.size(), 2u);
}

TEST_F(Bisect, engines_that_fail_on_some_values_are_no_obstacle) {
  const RunModel fails_on_a = [](const onnx::Model& model, const NamedTensors& inputs) {
    for (const auto& output : model.graph.outputs)
      if (output.name == "a") throw std::runtime_error("no such output");
    return run(model, inputs);
  };
  const auto culprit = bisect(model_, inputs_, engine([](const onnx::Model&) { return true; }),
                              fails_on_a, 1e-3, [](std::string_view) {});
  ASSERT_TRUE(culprit);
  EXPECT_EQ(culprit->node, "bad (Neg)");
}

TEST_F(Bisect, engines_that_fail_on_all_values_agree_in_nothing) {
  const RunModel fails = [](const onnx::Model&, const NamedTensors&) -> std::vector<Tensor> {
    throw std::runtime_error("no");
  };
  EXPECT_THROW(bisect(model_, inputs_, run, fails, 1e-3, [](std::string_view) {}), Error);
  const RunModel interrupted = [](const onnx::Model&, const NamedTensors&) -> std::vector<Tensor> {
    throw Interrupted();
  };
  EXPECT_THROW(bisect(model_, inputs_, run, interrupted, 1e-3, [](std::string_view) {}),
               Interrupted);
}

TEST_F(Bisect, values_of_subgraphs_are_followed) {
  onnx::Model model = model_;
  onnx::Node branch = node("If", {"true"}, {"y"});
  branch.name = "choice";
  const auto body = [](const char* result) {
    return onnx::graph({}, {node("Add", {"d", "a"}, {result})}, {result});
  };
  branch.attributes = {onnx::subgraph("then_branch", body("s")),
                       onnx::subgraph("else_branch", body("t"))};
  model.graph.nodes.back() = branch;
  Tensor yes(DType::boolean, {});
  yes.as<uint8_t>()[0] = 1;
  model.graph.initializers = {{"true", yes}};
  const RunModel wrong = [](const onnx::Model& model, const NamedTensors& inputs) {
    std::vector<Tensor> outputs = run(model, inputs);
    for (size_t i = 0; i < outputs.size(); ++i)
      if (model.graph.outputs[i].name == "y") outputs[i].as<float>()[0] += 1;
    return outputs;
  };
  const auto culprit = bisect(model, inputs_, wrong, run, 1e-3, [](std::string_view) {});
  ASSERT_TRUE(culprit);
  EXPECT_EQ(culprit->node, "choice (If)");
  EXPECT_EQ(culprit->model.graph.inputs.size(), 2u);  // a and d, which only the branches read
}

}  // namespace
}  // namespace onrush::engines
