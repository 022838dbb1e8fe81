// Recurrent layers of the CPU backend, whose trips run as a plan of their own, against the
// reference: at lengths that a session meets one after the other, with weights that are known and
// with weights that are not.
#include <gtest/gtest.h>
#include <random>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

struct Layer {
  std::string op;
  int64_t gates;
  std::vector<Attribute> attributes;
  bool bidirectional = false, lengths = false, peepholes = false;
};

std::vector<Layer> layers() {
  const auto text = [](const char* name, const char* value) {
    return attribute(name, std::string(value));
  };
  return {{"RNN", 1, {}},  {"RNN", 1, {text("direction", "reverse")}, false, true},
          {"GRU", 3, {}},  {"GRU", 3, {attribute("linear_before_reset", int64_t{1})}, true, true},
          {"LSTM", 4, {}}, {"LSTM", 4, {attribute("clip", 0.3F)}, true, true, true}};
}

constexpr int64_t kBatch = 3, kInput = 5, kHidden = 20;

Tensor random(Shape shape, unsigned seed) {
  Tensor tensor(DType::f32, std::move(shape));
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, 0.4F);
  for (float& x : tensor.as<float>()) x = normal(generator);
  return tensor;
}

// y and the last states of a layer whose weights are constants, or inputs.
class Recurrence {
 public:
  Recurrence(const Layer& layer, bool constant) {
    const int64_t directions = layer.bidirectional ? 2 : 1, rows = layer.gates * kHidden;
    weights_ = {{"w", random({directions, rows, kInput}, 1)},
                {"r", random({directions, rows, kHidden}, 2)},
                {"b", random({directions, 2 * rows}, 3)}};
    Node node = onnx::node(layer.op, {"x", "w", "r", "b", "", ""}, {"y", "h"}, layer.attributes);
    node.attributes.push_back(attribute("hidden_size", kHidden));
    if (layer.bidirectional)
      node.attributes.push_back(attribute("direction", std::string("bidirectional")));
    if (layer.lengths) node.inputs[4] = "lengths";
    if (layer.peepholes) {
      weights_["p"] = random({directions, 3 * kHidden}, 4);
      node.inputs.insert(node.inputs.end(), {"", "p"});
    }
    graph_ = graph({"x"}, {node}, {"y", "h"});
    graph_.inputs[0].type.shape = {{{}, "steps"}, {kBatch, {}}, {kInput, {}}};
    if (layer.lengths) {
      graph_.inputs.push_back(value_info("lengths"));
      graph_.inputs.back().type.element = DType::i32;
      graph_.inputs.back().type.shape.emplace(1, Dimension{kBatch, {}});
    }
    for (const auto& [name, tensor] : weights_) {
      if (constant) {
        graph_.initializers.push_back({name, tensor});
        continue;
      }
      graph_.inputs.push_back(value_info(name));
      graph_.inputs.back().type.shape.emplace();
      for (const int64_t size : tensor.shape())
        graph_.inputs.back().type.shape->push_back({size, {}});
    }
    if (constant) weights_.clear();
  }

  Session load(const std::string& device) const {
    const std::string bytes = encode(model(graph_));
    return Session::load(bytes_of(bytes), {.threads = 2, .device = device});
  }

  NamedValues inputs(int64_t steps) const {
    NamedValues values;
    for (const auto& [name, tensor] : weights_) values[name] = tensor;
    values["x"] = random({steps, kBatch, kInput}, static_cast<unsigned>(steps));
    if (graph_.inputs.size() > 1 && graph_.inputs[1].name == "lengths") {
      const int32_t lengths[] = {static_cast<int32_t>(steps), static_cast<int32_t>(steps / 2), 0};
      values["lengths"] = Tensor::of<int32_t>(DType::i32, {kBatch}, lengths);
    }
    return values;
  }

 private:
  Graph graph_;
  std::map<std::string, Tensor> weights_;
};

TEST(Recurrence, ComputesWhatTheReferenceDoes) {
  for (const Layer& layer : layers())
    for (const bool constant : {true, false}) {
      const Recurrence recurrence(layer, constant);
      Session session = recurrence.load("cpu"), reference = recurrence.load("reference");
      for (const int64_t steps : {5, 2, 9, 1, 0, 40}) {
        SCOPED_TRACE(testing::Message() << layer.op << ", constant weights: " << constant << ", "
                                        << steps << " steps");
        const auto actual = session.run(recurrence.inputs(steps));
        const auto expected = reference.run(recurrence.inputs(steps));
        for (size_t i = 0; i < expected.size(); ++i) {
          const auto a = actual[i].tensor().as<float>(), e = expected[i].tensor().as<float>();
          ASSERT_EQ(actual[i].tensor().shape(), expected[i].tensor().shape());
          // Roundings grow from step to step.
          for (size_t j = 0; j < e.size(); ++j) ASSERT_NEAR(a[j], e[j], 2e-5) << "element " << j;
        }
      }
    }
}

// The weights are packed once, for all plans.
TEST(Recurrence, KeepsItsWeightsOnce) {
  const Recurrence recurrence(layers()[4], true);
  Session session = recurrence.load("cpu");
  session.run(recurrence.inputs(5));
  const size_t before = session.memory_use().weights;
  EXPECT_GE(before, static_cast<size_t>(4 * kHidden * (kHidden + kInput)) * sizeof(float));
  session.run(recurrence.inputs(7));
  EXPECT_EQ(session.memory_use().weights, before);
}

TEST(Recurrence, IsALoopInProfiles) {
  const Recurrence recurrence(layers()[4], true);
  Session session = recurrence.load("cpu");
  session.run(recurrence.inputs(5));
  RunProfile profile;
  RunOptions options;
  options.profile = &profile;
  std::vector<Value> results;
  session.run(recurrence.inputs(5), {}, options, results);
  int loops = 0;
  for (const ProfileEvent& event : profile.events) {
    EXPECT_NE(event.step->kind, "host");
    if (event.step->kind != "loop") continue;
    ++loops;
    EXPECT_EQ(event.step->apart, "a loop runs its body trip by trip");
  }
  EXPECT_GE(loops, 1);
}

}  // namespace
}  // namespace onrush::onnx
