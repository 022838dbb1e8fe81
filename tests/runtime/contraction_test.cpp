// Products and convolutions of the CPU backend at sizes around its blocks, against the reference.
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Tensor random(Shape shape, unsigned seed) {
  Tensor tensor(DType::f32, std::move(shape));
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  for (float& x : tensor.as<float>()) x = normal(generator);
  return tensor;
}

ValueInfo info(std::string name, const Shape& shape) {
  ValueInfo result = value_info(std::move(name));
  result.type.element = DType::f32;
  result.type.shape.emplace();
  for (int64_t extent : shape) result.type.shape->push_back({extent, {}});
  return result;
}

std::vector<float> run(const std::string& device, const std::vector<Node>& nodes, const Tensor& a,
                       const Tensor& b, Precision precision = Precision::fp32, int threads = 2) {
  Graph g = graph({}, nodes, {"y"});
  g.inputs = {info("a", a.shape()), info("b", b.shape())};
  const std::string bytes = encode(model(g));
  SessionOptions options;
  options.device = device;
  options.threads = threads;
  options.precision = precision;
  const auto outputs = Session::load(bytes_of(bytes), options).run({{"a", a}, {"b", b}});
  const auto y = outputs.at(0).tensor().as<float>();
  return {y.begin(), y.end()};
}

// Within a few roundings of sums of `terms` products of numbers around 1; infinities are equal.
void compare(const std::vector<Node>& nodes, const Tensor& a, const Tensor& b, int64_t terms,
             int threads = 2) {
  const std::vector<float> actual = run("cpu", nodes, a, b, Precision::fp32, threads);
  const std::vector<float> expected = run("reference", nodes, a, b);
  ASSERT_EQ(actual.size(), expected.size());
  const double tolerance = 1e-5 + 2e-7 * double(terms);
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i])) ASSERT_TRUE(std::isnan(actual[i])) << "element " << i;
    else if (std::isinf(expected[i])) ASSERT_EQ(actual[i], expected[i]) << "element " << i;
    else ASSERT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
  }
}

void compare_product(int64_t m, int64_t k, int64_t n, float special = 0) {
  SCOPED_TRACE(testing::Message() << m << " x " << k << " x " << n << ", " << special);
  const Node op = node("MatMul", {"a", "b"}, {"y"});
  Tensor a = random({m, k}, 1), b = random({k, n}, 2);
  if (special != 0) a.as<float>()[static_cast<size_t>(m * k / 2)] = special;
  compare({op}, a, b, k);
  if (special == 0) return;
  a = random({m, k}, 1);
  b.as<float>()[static_cast<size_t>(k * n / 2)] = special;
  compare({op}, a, b, k);
}

TEST(Contractions, ProductsOfAllSizes) {
  for (int64_t m : {1, 7, 16, 24, 25, 33, 49, 700})
    for (int64_t k : {1, 31, 33, 100})
      for (int64_t n : {1, 32, 65}) {
        compare_product(m, k, n);
        if (testing::Test::HasFatalFailure()) return;
      }
}

// Whose results lie inside concatenations, and are read there.
TEST(Contractions, PartsOfConcatenations) {
  const auto pads = attribute("pads", std::vector<int64_t>{1, 1, 1, 1});
  const auto joined = [](std::vector<std::string> parts, std::string name, int64_t axis) {
    return node("Concat", std::move(parts), {std::move(name)}, {attribute("axis", axis)});
  };
  for (int64_t images : {1, 2})
    compare(
        {node("Conv", {"a", "b"}, {"c"}, {pads}), node("Conv", {"c", "b"}, {"d"}, {pads}),
         joined({"c", "d"}, "cd", 1), node("Relu", {"cd"}, {"r"}),
         node("Split", {"r"}, {"s", "t"}, {attribute("axis", int64_t{1})}),
         node("Conv", {"s", "b"}, {"e"}, {pads}), joined({"c", "t", "e"}, "f", 1),
         joined({"f", "cd", "c"}, "g", 1), node("Sigmoid", {"g"}, {"h"}),
         node("MaxPool", {"c"}, {"p"}, {attribute("kernel_shape", std::vector<int64_t>{2, 2})}),
         node("Flatten", {"h"}, {"k"}), node("Flatten", {"p"}, {"q"}), joined({"k", "q"}, "y", 1)},
        random({images, 32, 9, 11}, 1), random({32, 32, 3, 3}, 2), 300 * 300);
}

// Large enough for the matrix units.
TEST(Contractions, LargeProducts) {
  compare_product(16, 1600, 1000);
  compare_product(25, 1100, 950);
  compare_product(33, 1024, 769);
  compare_product(49, 512, 1024);
  compare_product(700, 100, 400);
}

TEST(Contractions, LongSums) {
  compare_product(49, 2500, 100);
  compare_product(300, 1201, 33);
  compare_product(700, 700, 70);
}

// The last of many threads' blocks has fewer rows than the matrix units take, and rows so far apart
// that they are copied first; those of the other blocks are read in place.
TEST(Contractions, ShortLastBlock) {
  const Node op = node("MatMul", {"a", "b"}, {"y"});
  for (int threads : {2, 5, 16, 24, 32})
    for (int64_t m : {49, 196, 200, 392}) {
      SCOPED_TRACE(testing::Message() << m << " rows, " << threads << " threads");
      compare({op}, random({m, 1024}, 1), random({1024, 256}, 2), 1024, threads);
    }
}

TEST(Contractions, ExtremeOperands) {
  for (float special : {kInfinity, -kInfinity, std::nanf(""), 3.4e38f, 1e-39f}) {
    compare_product(49, 70, 40, special);
    compare_product(49, 2500, 40, special);
    compare_product(700, 33, 64, special);
    compare_product(130, 2500, 80, special);
    if (testing::Test::HasFatalFailure()) return;
  }
}

void compare_conv(const Shape& image, const Shape& weights, std::vector<Attribute> attributes) {
  SCOPED_TRACE(testing::Message() << "image " << testing::PrintToString(image));
  Node op = node("Conv", {"a", "b"}, {"y"});
  op.attributes = std::move(attributes);
  compare({op}, random(image, 3), random(weights, 4), element_count(weights) / weights[0]);
}

TEST(Contractions, Convolutions) {
  using Ints = std::vector<int64_t>;
  const auto pads = [](Ints v) { return attribute("pads", std::move(v)); };
  compare_conv({1, 3, 20, 21}, {16, 3, 7, 7},
               {pads({3, 3, 3, 3}), attribute("strides", Ints{2, 2})});
  compare_conv({1, 32, 17, 9}, {40, 32, 3, 3}, {pads({1, 1, 1, 1})});
  compare_conv({1, 5, 17, 9}, {8, 5, 3, 3},
               {pads({0, 2, 1, 0}), attribute("dilations", Ints{2, 3})});
  compare_conv({2, 4, 12, 40}, {6, 4, 1, 5},
               {pads({0, 9, 0, 9}), attribute("strides", Ints{1, 3})});
  compare_conv({1, 64, 14, 14}, {64, 64, 3, 3}, {pads({1, 1, 1, 1})});
}

TEST(Contractions, DepthwiseConvolutions) {
  using Ints = std::vector<int64_t>;
  const auto compare_depthwise = [](const Shape& image, Shape window, Ints pads, Ints strides,
                                    Ints dilations) {
    window.insert(window.begin(), {image[1], 1});
    compare_conv(
        image, window,
        {attribute("group", image[1]), attribute("pads", std::move(pads)),
         attribute("strides", std::move(strides)), attribute("dilations", std::move(dilations))});
  };
  compare_depthwise({1, 200, 7, 7}, {5, 5}, {2, 2, 2, 2}, {1, 1}, {1, 1});
  compare_depthwise({2, 24, 13, 30}, {3, 3}, {1, 1, 1, 1}, {2, 2}, {1, 1});
  compare_depthwise({1, 17, 12, 25}, {5, 5}, {0, 2, 2, 0}, {2, 2}, {1, 1});
  compare_depthwise({1, 40, 9, 31}, {7, 7}, {3, 3, 3, 3}, {1, 1}, {1, 1});
  compare_depthwise({1, 16, 20, 20}, {3, 3}, {4, 0, 4, 3}, {3, 1}, {2, 3});
  compare_depthwise({1, 33, 15, 1}, {3, 3}, {1, 1, 1, 1}, {1, 1}, {1, 1});
  compare_depthwise({1, 33, 1, 15}, {3, 3}, {1, 1, 1, 1}, {1, 2}, {1, 1});
  compare_depthwise({1, 8, 4, 3}, {3, 5}, {5, 6, 5, 6}, {1, 1}, {1, 1});
  compare_depthwise({1, 20, 50}, {9}, {4, 4}, {1}, {1});
}

std::vector<std::pair<Shape, std::pair<Shape, std::vector<Attribute>>>> overlapping_windows() {
  using Ints = std::vector<int64_t>;
  const auto pads = [](Ints v) { return attribute("pads", std::move(v)); };
  const auto strides = [](Ints v) { return attribute("strides", std::move(v)); };
  const auto dilations = [](Ints v) { return attribute("dilations", std::move(v)); };
  return {{{1, 64, 20, 33}, {{70, 64, 3, 3}, {pads({1, 1, 1, 1})}}},
          {{1, 48, 9, 40}, {{12, 48, 2, 2}, {pads({0, 0, 1, 1})}}},
          {{1, 30, 9, 40}, {{40, 30, 3, 3}, {pads({0, 0, 1, 1})}}},
          {{1, 32, 64, 64}, {{32, 32, 3, 3}, {pads({1, 1, 1, 1})}}},
          {{1, 32, 30, 70}, {{33, 32, 3, 3}, {pads({1, 1, 1, 1}), strides({2, 2})}}},
          {{1, 32, 30, 70}, {{5, 32, 5, 3}, {pads({2, 0, 1, 3}), strides({1, 2})}}},
          {{1, 64, 24, 24}, {{16, 64, 3, 3}, {pads({2, 3, 2, 3}), dilations({2, 3})}}},
          {{1, 3, 34, 63}, {{33, 3, 7, 7}, {pads({3, 3, 3, 3}), strides({2, 2})}}},
          {{1, 8, 20, 33}, {{70, 8, 5, 3}, {pads({2, 1, 2, 1}), dilations({2, 1})}}}};
}

// Windows that overlap, which are read from the image itself.
TEST(Contractions, OverlappingWindows) {
  for (const auto& [image, conv] : overlapping_windows())
    compare_conv(image, conv.first, conv.second);
}

TEST(Contractions, OverlappingWindowsInBf16) {
  for (const auto& [image_shape, conv] : overlapping_windows()) {
    const auto& [weights_shape, attributes] = conv;
    SCOPED_TRACE(testing::Message() << image_shape[1] << " x " << weights_shape[0]);
    Node op = node("Conv", {"a", "b"}, {"y"});
    op.attributes = attributes;
    const Tensor image = random(image_shape, 3), weights = random(weights_shape, 4);
    std::vector<float> actual;
    try {
      actual = run("cpu", {op}, image, weights, Precision::bf16);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    const std::vector<float> expected = run("reference", {op}, image, weights);
    // Factors of about 1 are rounded by up to 2^-9 of them.
    const double terms = double(weights_shape[1] * weights_shape[2] * weights_shape[3]);
    for (size_t i = 0; i < actual.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], 0.025 * std::sqrt(terms)) << "element " << i;
  }
}

// Several layers, some of which write over what they read: with products of bf16, what lies between
// them in memory is bf16, too. The tolerance is a part of the largest result.
void compare_layers(const Shape& image, const Shape& weights, int64_t group, Precision precision,
                    double tolerance) {
  SCOPED_TRACE(testing::Message() << testing::PrintToString(image) << " group " << group);
  const int64_t pad = weights[2] / 2;
  const auto conv = [&](const char* x, const char* y) {
    return node("Conv", {x, "b"}, {y},
                {attribute("group", group), attribute("pads", std::vector<int64_t>(4, pad))});
  };
  const std::vector<Node> layers = {
      conv("a", "c1"),
      node("Relu", {"c1"}, {"r1"}),
      conv("r1", "c2"),
      conv("c2", "c3"),
      node("Sigmoid", {"c3"}, {"s3"}),
      node("Mul", {"c3", "s3"}, {"m3"}),
      node("Add", {"m3", "r1"}, {"a3"}),
      conv("a3", "c4"),
      node("Add", {"c4", "c2"}, {"a4"}),
      node("MaxPool", {"a4"}, {"p"}, {attribute("kernel_shape", std::vector<int64_t>{3, 3})}),
      conv("p", "c5"),
      node("GlobalAveragePool", {"c5"}, {"g"}),
      node("Mul", {"c5", "g"}, {"m5"}),
      conv("m5", "c6"),
      node("Concat", {"c6", "c5"}, {"y"}, {attribute("axis", int64_t{1})})};
  const Tensor a = random(image, 3);
  Tensor b = random(weights, 4);
  const double terms = double(element_count(weights) / weights[0]);
  for (float& x : b.as<float>()) x /= static_cast<float>(std::sqrt(terms));
  std::vector<float> actual;
  try {
    actual = run("cpu", layers, a, b, precision);
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const std::vector<float> expected = run("reference", layers, a, b);
  ASSERT_EQ(actual.size(), expected.size());
  float largest = 0;
  for (float x : expected) largest = std::max(largest, std::abs(x));
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], tolerance * double(largest)) << "element " << i;
}

void compare_layers(Precision precision, double tolerance) {
  for (int64_t channels : {16, 40, 64})
    for (const Shape& size : {Shape{1, 9, 9}, Shape{2, 7, 7}, Shape{1, 12, 11}, Shape{1, 3, 3}}) {
      const Shape image = {size[0], channels, size[1], size[2]};
      compare_layers(image, {channels, channels, 1, 1}, 1, precision, tolerance);
      compare_layers(image, {channels, channels, 3, 3}, 1, precision, tolerance);
      compare_layers(image, {channels, 1, 3, 3}, channels, precision, tolerance);
      compare_layers(image, {channels, channels / 2, 1, 1}, 2, precision, tolerance);
    }
}

TEST(Contractions, Layers) { compare_layers(Precision::fp32, 1e-5); }
TEST(Contractions, LayersInBf16) { compare_layers(Precision::bf16, 0.03); }

// Read where they are, but for rows at the edge.
TEST(Contractions, WindowsOfFewProducts) {
  using Ints = std::vector<int64_t>;
  const auto pads = [](Ints v) { return attribute("pads", std::move(v)); };
  const auto strides = [](Ints v) { return attribute("strides", std::move(v)); };
  compare_conv({1, 3, 40, 41}, {16, 3, 3, 3}, {pads({1, 1, 1, 1}), strides({2, 2})});
  compare_conv({2, 3, 10, 9}, {70, 3, 3, 3}, {pads({1, 1, 1, 1})});
  compare_conv({1, 6, 3, 50}, {40, 3, 3, 5}, {pads({0, 4, 2, 0}), attribute("group", int64_t{2})});
  compare_conv({1, 10, 64}, {33, 10, 7}, {pads({6, 0}), strides({3})});
}

// Where steps of k reach beyond a row of the window, what they read there must not count.
TEST(Contractions, FewChannelsOfInfinityInBf16) {
  Node op = node("Conv", {"a", "b"}, {"y"}, {attribute("pads", std::vector<int64_t>(4, 3))});
  Tensor image = random({1, 3, 20, 32}, 3);
  image.as<float>()[333] = kInfinity;
  const Tensor weights = random({16, 3, 7, 7}, 4);
  std::vector<float> actual;
  try {
    actual = run("cpu", {op}, image, weights, Precision::bf16);
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const std::vector<float> expected = run("reference", {op}, image, weights);
  for (size_t i = 0; i < actual.size(); ++i)
    ASSERT_EQ(std::isfinite(actual[i]), std::isfinite(expected[i])) << "element " << i;
}

TEST(Contractions, OverlappingWindowsOfInfinity) {
  Node op = node("Conv", {"a", "b"}, {"y"});
  op.attributes = {attribute("pads", std::vector<int64_t>{1, 1, 1, 1})};
  Tensor image = random({1, 32, 20, 30}, 3);
  image.as<float>()[1234] = kInfinity;
  compare({op}, image, random({32, 32, 3, 3}, 4), 288);
  Tensor weights = random({32, 32, 3, 3}, 4);
  weights.as<float>()[77] = -kInfinity;
  compare({op}, random({1, 32, 20, 30}, 3), weights, 288);
}

// y = activation(x) as exporters write it.
std::vector<Node> activation(const std::string& name) {
  if (name == "silu") return {node("Sigmoid", {"x"}, {"s"}), node("Mul", {"x", "s"}, {"y"})};
  if (name == "gelu_tanh")
    return {node("Gelu", {"x"}, {"y"}, {attribute("approximate", std::string("tanh"))})};
  return {node(name, {"x"}, {"y"})};
}

TEST(Contractions, Activations) {
  for (const char* name : {"Relu", "silu", "HardSwish", "Gelu", "gelu_tanh", "Sigmoid", "Tanh"})
    for (int64_t m : {3, 40}) {
      SCOPED_TRACE(testing::Message() << name << ", " << m << " rows");
      std::vector<Node> product = activation(name), depthwise = product;
      product.insert(product.begin(), node("MatMul", {"a", "b"}, {"x"}));
      compare(product, random({m, 30}, 5), random({30, 70}, 6), 30);
      Node conv = node("Conv", {"a", "b"}, {"x"});
      conv.attributes = {attribute("group", int64_t{19})};
      depthwise.insert(depthwise.begin(), conv);
      compare(depthwise, random({1, 19, m, 8}, 7), random({19, 1, 3, 3}, 8), 9);
    }
}

}  // namespace
}  // namespace onrush::onnx
