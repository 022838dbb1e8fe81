// What profiles say of a step: what it reads, writes and computes at the sizes of the run.
#include <gtest/gtest.h>
#include <numeric>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

ValueInfo info(std::string name, std::vector<Dimension> shape) {
  ValueInfo result = value_info(std::move(name));
  result.type.shape = std::move(shape);
  return result;
}

Tensor filled(Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  std::iota(tensor.as<float>().begin(), tensor.as<float>().end(),
            0.5f);  // no two alike: constants fold
  return tensor;
}

Graph network(std::vector<Node> nodes, std::vector<Initializer> weights = {}) {
  Graph result = graph({}, std::move(nodes), {"y"});
  result.inputs = {info("x", {{std::nullopt, "rows"}, {64, {}}})};
  result.initializers = std::move(weights);
  return result;
}

// The steps of a second run.
using Steps = std::vector<std::shared_ptr<const ProfiledStep>>;
Steps steps_of(const Session& session, int64_t rows) {
  RunProfile profile;
  for (int run = 0; run < 2; ++run) {
    RunOptions options;
    profile = {};
    options.profile = &profile;
    session.run({{"x", filled({rows, 64})}}, {}, options);
  }
  Steps steps;
  for (const ProfileEvent& event : profile.events) steps.push_back(event.step);
  return steps;
}

Session load(const Graph& graph) {
  const std::string bytes = encode(model(graph));
  return Session::load(bytes_of(bytes), {.threads = 1});
}

TEST(Profiles, CountBytesAndOperationsAtTheSizesOfTheRun) {
  const Session session = load(network(
      {named("mm", node("MatMul", {"x", "w"}, {"p"})), named("relu", node("Relu", {"p"}, {"y"}))},
      {{"w", filled({64, 32})}}));
  for (const int64_t rows : {5, 7}) {
    const Steps steps = steps_of(session, rows);
    ASSERT_EQ(steps.size(), 1u);
    EXPECT_EQ(steps[0]->flops, 2 * rows * 64 * 32 + rows * 32);
    EXPECT_EQ(steps[0]->product_flops, 2 * rows * 64 * 32);
    EXPECT_EQ(steps[0]->bytes_read, 4 * (rows * 64 + 64 * 32));
    EXPECT_EQ(steps[0]->bytes_written, 4 * rows * 32);
    EXPECT_EQ(steps[0]->nodes, (std::vector<std::string>{"mm", "relu"}));
  }
}

// Normalised rows are read once, however often the kernel looks at them.
TEST(Profiles, CountAnElementOnce) {
  const Session session = load(network({named("norm", node("Softmax", {"x"}, {"y"}))}));
  const Steps steps = steps_of(session, 3);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0]->bytes_read, 4 * 3 * 64);
  EXPECT_EQ(steps[0]->bytes_written, 4 * 3 * 64);
}

// A window that overlaps reads its image once, and a transposed copy computes nothing.
TEST(Profiles, CountWhatConvolutionsAndCopiesRead) {
  Graph image = network(
      {named("shape", node("Reshape", {"x", "sizes"}, {"image"})),
       named("conv",
             node("Conv", {"image", "k"}, {"c"}, {attribute("pads", std::vector<int64_t>(4, 1))})),
       named("turn", node("Transpose", {"c"}, {"y"},
                          {attribute("perm", std::vector<int64_t>{0, 1, 3, 2})}))},
      {{"sizes", Tensor::of<int64_t>(DType::i64, {4}, {{1, 4, 16, -1}})},
       {"k", filled({8, 4, 3, 3})}});
  int64_t flops = 0, read = 0;
  for (const auto& step : steps_of(load(image), 20)) {
    flops += step->flops;
    if (step->kind == "contraction") read = step->bytes_read;
  }
  EXPECT_EQ(flops, 2 * 8 * 16 * 20 * 4 * 9);
  EXPECT_EQ(read, 4 * (20 * 64 + 8 * 4 * 9));
}

TEST(Profiles, SayWhyAStepIsAKernelOfItsOwn) {
  const Session session = load(network(
      {named("a", node("MatMul", {"x", "w"}, {"p"})), named("b", node("MatMul", {"p", "w"}, {"q"})),
       named("soft", node("Softmax", {"q"}, {"s"})),
       named("add", node("Concat", {"s", "x"}, {"y"}, {attribute("axis", int64_t{0})}))},
      {{"w", filled({64, 64})}}));
  std::string reasons;
  for (const auto& step : steps_of(session, 6)) reasons += step->apart + "\n";
  for (const char* part : {"a product reads", "rows that no kernel before it", "several kernels"})
    EXPECT_NE(reasons.find(part), std::string::npos) << reasons;
}

// The first product's result is scratch while the second one reads it.
TEST(Profiles, TellTheScratchMemoryAlive) {
  const Session session = load(network({named("a", node("MatMul", {"x", "w"}, {"p"})),
                                        named("b", node("MatMul", {"p", "w"}, {"y"}))},
                                       {{"w", filled({64, 64})}}));
  const Steps steps = steps_of(session, 6);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[0]->scratch_bytes, 4 * 6 * 64);
  EXPECT_EQ(steps[1]->scratch_bytes, 4 * 6 * 64);
}

}  // namespace
}  // namespace onrush::onnx
