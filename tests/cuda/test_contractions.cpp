// Matrix products and convolutions on a GPU, beside those of the CPU.
#include <cmath>
#include <fmt/format.h>
#include <random>

#include "../onnx/builders.h"
#include "cuda/gpu.h"
#include <onrush/session.h>

namespace onrush::cuda {
namespace {

using onnx::attribute;
using onnx::node;
using Ints = std::vector<int64_t>;

Tensor normal(const Shape& shape, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> numbers;
  std::vector<float> values(static_cast<size_t>(element_count(shape)));
  for (float& value : values) value = numbers(generator);
  return Tensor::of<float>(DType::f32, shape, values);
}

// The nodes read "a" and the weights, and compute "y".
std::vector<float> run(const std::string& device, Precision precision,
                       const std::vector<onnx::Node>& nodes, const Tensor& a,
                       const std::vector<std::pair<std::string, Tensor>>& weights) {
  onnx::Graph graph = onnx::graph({}, nodes, {"y"});
  onnx::ValueInfo input = onnx::value_info("a");
  input.type.shape = std::vector<onnx::Dimension>();
  for (size_t i = 0; i < a.shape().size(); ++i)
    input.type.shape->push_back({std::nullopt, fmt::format("n{}", i)});
  graph.inputs = {std::move(input)};
  for (const auto& [name, tensor] : weights)
    graph.initializers.push_back({.name = name, .tensor = tensor});
  const std::string bytes = onnx::encode(onnx::model(graph));
  SessionOptions options;
  options.device = device;
  options.precision = precision;
  const auto outputs = Session::load(onnx::bytes_of(bytes), options).run({{"a", a}});
  const auto y = outputs.at(0).tensor().as<float>();
  return {y.begin(), y.end()};
}

class Contractions : public GpuTest, public testing::WithParamInterface<Precision> {
 protected:
  static double rounding_error() {
    return GetParam() == Precision::fp32   ? 0x1p-22
           : GetParam() == Precision::bf16 ? 0x1p-8
                                           : 0x1p-11;
  }

  // A product of results of another, which lie in memory as the precision has it, and what follows
  // it, on numbers around 1. `rows` of a: its extents but the last.
  void compare_following(const Shape& rows, int64_t k, int64_t n,
                         std::vector<onnx::Node> after) const {
    constexpr int64_t kFirst = 40;
    Shape shape = rows;
    shape.push_back(kFirst);
    const auto scaled = [](Tensor tensor, int64_t terms) {
      for (float& value : tensor.as<float>()) value /= std::sqrt(static_cast<float>(terms));
      return tensor;
    };
    const std::vector<std::pair<std::string, Tensor>> weights = {
        {"w", scaled(normal({kFirst, k}, 2), kFirst)},
        {"b", scaled(normal({k, n}, 3), k)},
        {"v", scaled(normal({kFirst, n}, 4), kFirst)},
        {"c", scaled(normal({n, 24}, 6), n)},
        {"bias", normal({n}, 5)},
        {"zero", Tensor::of<float>(DType::f32, {}, std::vector<float>{0})},
        {"one", Tensor::of<float>(DType::f32, {}, std::vector<float>{1})},
        {"half", Tensor::of<float>(DType::f32, {}, std::vector<float>{0.5F})},
        {"root", Tensor::of<float>(DType::f32, {}, std::vector<float>{0.70710678F})}};
    std::vector<onnx::Node> nodes = {node("MatMul", {"a", "w"}, {"h"}),
                                     node("MatMul", {"a", "v"}, {"residual"}),
                                     node("MatMul", {"h", "b"}, {"product"})};
    nodes.insert(nodes.end(), after.begin(), after.end());
    const Tensor a = normal(shape, 1);
    const std::vector<float> expected = run("cpu", Precision::fp32, nodes, a, weights);
    const std::vector<float> got = run("cuda", GetParam(), nodes, a, weights);
    ASSERT_EQ(got.size(), expected.size());
    const double tolerance = 16 * rounding_error();
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], tolerance * (1 + std::fabs(expected[i])))
          << "element " << i << " of " << after.size() << " nodes after " << k << " x " << n;
  }

  // Sums of `terms` products of two numbers around 1: the errors of rounding those as the precision
  // has it add up like steps to either side, and each partial sum is rounded to f32.
  void compare(const onnx::Node& op, const Tensor& a, const Tensor& b, int64_t terms) const {
    SCOPED_TRACE(op.op_type + " of " + testing::PrintToString(a.shape()) + " and " +
                 testing::PrintToString(b.shape()));
    const std::vector<float> expected = run("cpu", Precision::fp32, {op}, a, {{"b", b}});
    const std::vector<float> got = run("cuda", GetParam(), {op}, a, {{"b", b}});
    ASSERT_EQ(got.size(), expected.size());
    const double rounding = rounding_error();
    const auto count = static_cast<double>(terms);
    const double tolerance = 8 * rounding * std::sqrt(count) + 0x1p-22 * count;
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], tolerance + rounding * std::fabs(expected[i]))
          << "element " << i;
  }
  void compare_product(const Shape& a, const Shape& b) const {
    compare(node("MatMul", {"a", "b"}, {"y"}), normal(a, 1), normal(b, 2), a.back());
  }
  void compare_conv(const Shape& image, const Shape& weights,
                    std::vector<onnx::Attribute> attributes) const {
    onnx::Node op = node("Conv", {"a", "b"}, {"y"});
    op.attributes = std::move(attributes);
    compare(op, normal(image, 1), normal(weights, 2), element_count(weights) / weights[0]);
  }
};

INSTANTIATE_TEST_SUITE_P(Precisions, Contractions,
                         testing::Values(Precision::fp32, Precision::tf32, Precision::fp16,
                                         Precision::bf16));

TEST_P(Contractions, ProductsOfAllSizes) {
  for (const int64_t m : {1, 3, 33, 200})
    for (const int64_t k : {1, 7, 72, 530})
      for (const int64_t n : {1, 19, 264}) compare_product({m, k}, {k, n});
  compare_product({0, 40}, {40, 8});
}

TEST_P(Contractions, LargeProducts) {
  compare_product({2049, 776}, {776, 3080});
  compare_product({4000, 64}, {64, 1000});
  compare_product({1030, 1001}, {1001, 2003});
  compare_product({520, 3072}, {3072, 768});
}

TEST_P(Contractions, WhatFollowsLargeProducts) {
  const onnx::Node bias = node("Add", {"product", "bias"}, {"biased"});
  const std::vector<onnx::Node> gelu = {
      bias,
      node("Mul", {"biased", "root"}, {"scaled"}),
      node("Erf", {"scaled"}, {"erf"}),
      node("Add", {"erf", "one"}, {"shifted"}),
      node("Mul", {"biased", "shifted"}, {"doubled"}),
      node("Mul", {"doubled", "half"}, {"after"}),
  };
  const std::vector<onnx::Node> residual = {bias, node("Add", {"biased", "residual"}, {"sum"}),
                                            node("Relu", {"sum"}, {"after"})};
  // What follows lies in memory as the precision has it, or is the output.
  const auto stored = [](std::vector<onnx::Node> nodes) {
    nodes.push_back(node("MatMul", {"after", "c"}, {"y"}));
    return nodes;
  };
  const auto last = [](std::vector<onnx::Node> nodes) {
    nodes.back().outputs = {"y"};
    return nodes;
  };
  compare_following({4096}, 768, 768, stored(residual));
  compare_following({9000}, 328, 776, stored(gelu));
  compare_following({20000}, 64, 256, stored(residual));
  compare_following({30000}, 72, 64, stored(residual));
  compare_following({12345}, 96, 96, stored(gelu));
  compare_following({40, 197}, 200, 384, stored(gelu));
  compare_following({4097}, 768, 776, last(residual));
  compare_following({5001}, 136, 1003, last(residual));
}

TEST_P(Contractions, BatchesOfProducts) {
  compare_product({7, 50, 64}, {7, 64, 33});
  compare_product({5, 700, 96}, {5, 96, 1024});
  compare_product({3, 1, 65, 128}, {2, 128, 72});
}

TEST_P(Contractions, Convolutions) {
  const auto pads = [](Ints v) { return attribute("pads", std::move(v)); };
  const auto strides = [](Ints v) { return attribute("strides", std::move(v)); };
  const auto group = [](int64_t v) { return attribute("group", v); };
  compare_conv({2, 3, 65, 63}, {32, 3, 7, 7}, {pads({3, 3, 3, 3}), strides({2, 2})});
  compare_conv({3, 64, 31, 30}, {96, 64, 3, 3}, {pads({1, 1, 1, 1})});
  compare_conv({8, 64, 56, 56}, {256, 64, 1, 1}, {});
  compare_conv({1, 36, 17, 19}, {48, 9, 3, 3}, {pads({1, 0, 1, 2}), group(4)});
  compare_conv({2, 40, 14, 14}, {40, 1, 5, 5}, {pads({2, 2, 2, 2}), group(40)});
  compare_conv({2, 6, 100}, {5, 6, 9}, {pads({4, 4}), attribute("dilations", Ints{2})});
  compare_conv({1, 4, 6, 10, 9}, {7, 4, 3, 3, 3}, {pads({1, 1, 1, 1, 1, 1})});
}

}  // namespace
}  // namespace onrush::cuda
