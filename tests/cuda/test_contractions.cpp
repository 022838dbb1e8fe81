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

std::vector<float> run(const std::string& device, Precision precision, const onnx::Node& op,
                       const Tensor& a, const Tensor& b) {
  onnx::Graph graph = onnx::graph({}, {op}, {"y"});
  onnx::ValueInfo input = onnx::value_info("a");
  input.type.shape = std::vector<onnx::Dimension>();
  for (size_t i = 0; i < a.shape().size(); ++i)
    input.type.shape->push_back({std::nullopt, fmt::format("n{}", i)});
  graph.inputs = {std::move(input)};
  graph.initializers.push_back({.name = "b", .tensor = b});
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
  // Sums of `terms` products of two numbers around 1: the errors of rounding those as the precision
  // has it add up like steps to either side, and each partial sum is rounded to f32.
  void compare(const onnx::Node& op, const Tensor& a, const Tensor& b, int64_t terms) const {
    SCOPED_TRACE(op.op_type + " of " + testing::PrintToString(a.shape()) + " and " +
                 testing::PrintToString(b.shape()));
    const std::vector<float> expected = run("cpu", Precision::fp32, op, a, b);
    const std::vector<float> got = run("cuda", GetParam(), op, a, b);
    ASSERT_EQ(got.size(), expected.size());
    const double rounding = GetParam() == Precision::fp32   ? 0x1p-22
                            : GetParam() == Precision::bf16 ? 0x1p-8
                                                            : 0x1p-11;
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
