// Reductions of the CPU backend that are divided among threads, against the reference.
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

// Around 1, so that products of many neither vanish nor overflow.
Tensor around_one(Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, 0.01f);
  for (float& x : tensor.as<float>()) x = 1 + normal(generator);
  return tensor;
}

std::vector<float> run(const std::string& device, const std::vector<Node>& nodes, const Tensor& x,
                       int threads) {
  Graph g = graph({}, nodes, {"y"});
  g.inputs = {value_info("x")};
  g.inputs[0].type.element = DType::f32;
  g.inputs[0].type.shape.emplace();
  for (int64_t extent : x.shape()) g.inputs[0].type.shape->push_back({extent, {}});
  const std::string bytes = encode(model(g));
  SessionOptions options;
  options.device = device;
  options.threads = threads;
  const auto outputs = Session::load(bytes_of(bytes), options).run({{"x", x}});
  const auto y = outputs.at(0).tensor().as<float>();
  return {y.begin(), y.end()};
}

// The result of any number of threads is the same, and the reference's within rounding.
void compare(const std::vector<Node>& nodes, const Tensor& x) {
  SCOPED_TRACE(nodes.back().op_type + " of " + testing::PrintToString(x.shape()));
  const std::vector<float> expected = run("reference", nodes, x, 1), one = run("cpu", nodes, x, 1);
  const double tolerance = nodes.back().op_type == "ReduceProd" ? 1e-3 : 1e-5;
  ASSERT_EQ(one.size(), expected.size());
  for (size_t i = 0; i < one.size(); ++i)
    if (std::isnan(expected[i])) ASSERT_TRUE(std::isnan(one[i])) << "element " << i;
    else ASSERT_NEAR(one[i], expected[i], tolerance * std::abs(expected[i])) << "element " << i;
  for (int threads : {2, 3}) {
    const std::vector<float> several = run("cpu", nodes, x, threads);
    ASSERT_EQ(several.size(), one.size());
    for (size_t i = 0; i < one.size(); ++i)
      if (std::isnan(one[i])) ASSERT_TRUE(std::isnan(several[i])) << "element " << i;
      else ASSERT_EQ(several[i], one[i]) << "element " << i;
  }
}

// Over the two axes in the middle.
std::vector<Node> reduce(const std::string& op, const std::string& from = "x",
                         const std::string& to = "y") {
  const auto axes = attribute("value_ints", std::vector<int64_t>{1, 2});
  return {node("Constant", {}, {"axes"}, {axes}), node(op, {from, "axes"}, {to})};
}

TEST(Reductions, FewOfManyElements) {
  for (const char* op : {"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd"})
    for (const Shape& shape : {Shape{1, 71, 67, 32}, Shape{2, 40, 41, 100}, Shape{1, 9, 9, 1100},
                               Shape{3, 300, 200, 1}, Shape{1, 5000, 1, 3}, Shape{1, 0, 5, 7}}) {
      const bool of_nothing = shape[1] == 0;
      if (of_nothing && op != std::string("ReduceSum")) continue;
      compare(reduce(op), around_one(shape));
      if (testing::Test::HasFatalFailure()) return;
    }
}

// With work before the sum, after it, and on a part of the elements.
TEST(Reductions, OfComputedElements) {
  const Tensor x = around_one({1, 60, 61, 48});
  std::vector<Node> nodes = reduce("ReduceMean", "e", "m");
  nodes.insert(nodes.begin(), node("Exp", {"x"}, {"e"}));
  nodes.push_back(node("Sigmoid", {"m"}, {"y"}));
  compare(nodes, x);
  nodes = reduce("ReduceMean", "p");
  const auto pads = attribute("value_ints", std::vector<int64_t>{0, 1, 2, 0, 0, 3, 4, 0});
  nodes.insert(nodes.begin(),
               {node("Constant", {}, {"pads"}, {pads}), node("Pad", {"x", "pads"}, {"p"})});
  compare(nodes, x);
}

TEST(Reductions, NoNumber) {
  Tensor x = around_one({1, 80, 80, 32});
  x.as<float>()[static_cast<size_t>(x.count() / 2)] = std::numeric_limits<float>::quiet_NaN();
  for (const char* op : {"ReduceMean", "ReduceMax", "ReduceMin"}) compare(reduce(op), x);
}

}  // namespace
}  // namespace onrush::onnx
