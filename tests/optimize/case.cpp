#include "case.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/numeric.h"

namespace onrush {
namespace {

std::string constant_text(const Tensor& tensor) {
  if (tensor.count() == 1) return fmt::format("{}", load_f64(tensor.dtype(), tensor.data(), 0));
  return "w" + to_string(tensor.shape());
}

std::string text(const Graph& graph, NodeId id) {
  const Node& node = graph[id];
  if (node.op == Op::input) return graph.inputs[node.as<InputAttr>().index].name;
  if (node.op == Op::constant) return constant_text(node.as<ConstantAttr>().tensor);
  if (node.op == Op::broadcast && graph[node.inputs[0]].op == Op::constant)
    return text(graph, node.inputs[0]);
  std::string result = fmt::format("{}(", name(node.op));
  for (NodeId operand : node.inputs)
    result += (result.back() == '(' ? "" : ", ") + text(graph, operand);
  const std::string attr = to_string(node.attr);
  return result + ")" + (attr.empty() ? "" : "{" + attr + "}");
}

void expect_close(const Tensor& before, const Tensor& after) {
  ASSERT_EQ(before.dtype(), after.dtype());
  ASSERT_EQ(before.shape(), after.shape());
  double largest = 0;
  for (int64_t i = 0; i < before.count(); ++i) {
    const double x = load_f64(before.dtype(), before.data(), i);
    if (std::isfinite(x)) largest = std::max(largest, std::abs(x));
  }
  // Differences of nearly equal numbers keep the rounding of those.
  const double tolerance = 1e-6 + (bits(before.dtype()) < 32 ? 4e-3 : 1e-5) * largest;
  for (int64_t i = 0; i < before.count(); ++i) {
    const double x = load_f64(before.dtype(), before.data(), i);
    const double y = load_f64(after.dtype(), after.data(), i);
    if (std::isnan(x)) ASSERT_TRUE(std::isnan(y)) << "element " << i;
    else if (std::isinf(x)) ASSERT_EQ(x, y) << "element " << i;
    else ASSERT_NEAR(x, y, tolerance) << "element " << i;
  }
}

}  // namespace

std::string expression(const Graph& graph) {
  std::string result;
  for (const GraphOutput& output : graph.outputs)
    result += (result.empty() ? "" : "; ") + text(graph, output.node);
  return result;
}

Tensor Case::random(DType dtype, Shape shape, double low, double high) {
  Tensor tensor(dtype, std::move(shape));
  std::uniform_real_distribution<double> distribution(low, high);
  for (int64_t i = 0; i < tensor.count(); ++i)
    store_f64(dtype, tensor.data(), i, distribution(generator_));
  return tensor;
}

NodeId Case::x(DType dtype, Dims shape, double low, double high) {
  const std::string name = feeds_.empty() ? "x" : fmt::format("x{}", feeds_.size());
  feeds_.push_back({{dtype, shape}, low, high});
  return input(name, {dtype, std::move(shape)});
}

NodeId Case::x(Dims shape, double low, double high) {
  return x(DType::f32, std::move(shape), low, high);
}

NodeId Case::weight(Shape shape) { return constant(random(DType::f32, std::move(shape), -1, 1)); }

void Case::compare(const Graph& graph, const Computation& compute,
                   std::span<const int64_t> values) {
  const SizeTable sizes = graph.shapes->evaluate(values);
  const auto holds = [&](const Guard& guard) { return sizes.holds(guard); };
  if (!std::ranges::all_of(graph.shapes->guards(), holds)) return;
  std::vector<Tensor> inputs;
  for (const Feed& feed : feeds_) {
    Shape shape;
    for (Dim dim : feed.type.shape) shape.push_back(sizes(dim));
    inputs.push_back(random(feed.type.dtype, std::move(shape), feed.low, feed.high));
  }
  const std::vector<Tensor> expected = evaluate(graph, inputs, sizes);
  std::vector<Tensor> results;
  EXPECT_NO_THROW(results = compute(inputs, sizes));
  EXPECT_EQ(expected.size(), results.size());
  for (size_t i = 0; i < results.size(); ++i) expect_close(expected[i], results[i]);
  if (testing::Test::HasFailure())
    ADD_FAILURE() << "sizes " << to_string(values) << "\n" << to_string(graph);
}

void Case::check(const std::vector<NodeId>& outputs, const Compile& compile) {
  for (NodeId y : outputs) output("y", y);
  const Graph graph = finish();
  verify(graph, Stage::lowered);
  Computation compute;
  EXPECT_NO_THROW(compute = compile(graph)) << to_string(graph);
  if (!compute) return;
  std::vector<int64_t> sizes;
  for (const Symbol& symbol : graph.shapes->symbols()) sizes.push_back(symbol.value);
  compare(graph, compute, sizes);
  if (sizes.empty()) return;
  for (int64_t& size : sizes) size += 3;
  compare(graph, compute, sizes);
  constexpr int64_t kSizes[] = {0, 1, 2, 3, 5, 7};
  for (int i = 0; i < 4; ++i) {
    for (int64_t& size : sizes) size = kSizes[generator_() % std::size(kSizes)];
    compare(graph, compute, sizes);
  }
}

Graph Case::run(const std::vector<NodeId>& outputs, PassFunction pass) {
  Graph after;
  check(outputs, [&](const Graph& graph) {
    after = pass(graph, {});
    verify(after, Stage::optimized);
    return [&](std::span<const Tensor> inputs, const SizeTable& sizes) {
      return evaluate(after, inputs, sizes);
    };
  });
  return after;
}

Graph Case::run(NodeId y, PassFunction pass) { return run(std::vector{y}, pass); }

int count(const Graph& graph, Op op) {
  int count = 0;
  for (const Node& node : graph.nodes) count += node.op == op;
  return count;
}

}  // namespace onrush
