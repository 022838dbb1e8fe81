// Quantised models: the CPU backend beside the evaluator, over shapes that hurt and zero points of
// all kinds.
#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <map>
#include <random>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

using Ints = std::vector<int64_t>;

template <class T>
Tensor integers(DType dtype, Shape shape, unsigned seed) {
  Tensor tensor(dtype, std::move(shape));
  std::mt19937 generator(seed);
  for (T& x : tensor.as<T>()) x = static_cast<T>(generator());
  return tensor;
}
Tensor bytes(DType dtype, Shape shape, unsigned seed) {
  return dtype == DType::u8 ? integers<uint8_t>(dtype, std::move(shape), seed)
                            : integers<int8_t>(dtype, std::move(shape), seed);
}
Tensor floats(Shape shape, unsigned seed, float low, float high) {
  Tensor tensor(DType::f32, std::move(shape));
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  for (float& x : tensor.as<float>()) x = uniform(generator);
  return tensor;
}
Tensor number(float value) { return floats({}, 0, value, value); }
Tensor number(DType dtype, int value) {
  Tensor tensor(dtype, {});
  if (dtype == DType::u8) tensor.as<uint8_t>()[0] = static_cast<uint8_t>(value);
  else tensor.as<int8_t>()[0] = static_cast<int8_t>(value);
  return tensor;
}

// A model under construction: weights and inputs by name.
struct Network {
  std::vector<Node> nodes;
  std::map<std::string, Tensor> inputs, weights;
};

Tensor run(const std::string& device, const Network& network, int threads) {
  Graph g = graph({}, network.nodes, {"y"});
  for (const auto& [name, tensor] : network.inputs) {
    ValueInfo info = value_info(name);
    info.type.element = tensor.dtype();
    info.type.shape.emplace();
    for (int64_t extent : tensor.shape()) info.type.shape->push_back({extent, {}});
    g.inputs.push_back(info);
  }
  for (const auto& [name, tensor] : network.weights) g.initializers.push_back({name, tensor});
  Model whole = model(g);
  whole.opset_import.emplace_back("com.microsoft", 1);
  const std::string encoded = encode(whole);
  SessionOptions options;
  options.device = device;
  options.threads = threads;
  std::map<std::string, Value> feeds;
  for (const auto& [name, tensor] : network.inputs) feeds.emplace(name, tensor);
  return Session::load(bytes_of(encoded), options).run(feeds).at(0).tensor();
}

int64_t element(const Tensor& tensor, int64_t i) {
  const auto at = static_cast<size_t>(i);
  switch (tensor.dtype()) {
    case DType::u8: return tensor.as<uint8_t>()[at];
    case DType::i8: return tensor.as<int8_t>()[at];
    default: return tensor.as<int32_t>()[at];
  }
}

// Integers; one of a hundred may be the neighbour of what is expected where `rounds`, for a sum of
// f32 that is next to the middle of two.
void compare(const Network& network, bool rounds, int threads = 2) {
  const Tensor actual = run("cpu", network, threads), expected = run("reference", network, threads);
  ASSERT_EQ(actual.dtype(), expected.dtype());
  ASSERT_EQ(actual.shape(), expected.shape());
  int64_t neighbours = 0;
  for (int64_t i = 0; i < actual.count(); ++i) {
    const int64_t distance = std::abs(element(actual, i) - element(expected, i));
    ASSERT_LE(distance, rounds ? 1 : 0)
        << "element " << i << ": " << element(actual, i) << ", not " << element(expected, i);
    neighbours += distance;
  }
  EXPECT_LE(neighbours * 100, actual.count());
}

// --- sums

constexpr DType kBytes[] = {DType::u8, DType::i8};

enum class Zero { none, number, vector };

void compare_product(int64_t m, int64_t k, int64_t n, DType lhs, DType rhs, Zero zero,
                     bool is_weight) {
  SCOPED_TRACE(testing::Message() << m << " x " << k << " x " << n << ", " << name(lhs) << " by "
                                  << name(rhs) << ", zero " << int(zero));
  Network net;
  std::vector<std::string> operands = {"a", "b"};
  net.inputs["a"] = bytes(lhs, {m, k}, 1);
  (is_weight ? net.weights : net.inputs)["b"] = bytes(rhs, {k, n}, 2);
  if (zero != Zero::none) {
    operands.insert(operands.end(), {"a0", "b0"});
    net.inputs["a0"] = bytes(lhs, zero == Zero::vector ? Shape{m} : Shape{}, 3);
    net.weights["b0"] = bytes(rhs, zero == Zero::vector ? Shape{n} : Shape{}, 4);
  }
  net.nodes = {node("MatMulInteger", operands, {"y"})};
  compare(net, false);
}

TEST(Quantized, Products) {
  for (int64_t m : {1, 5, 16, 33, 130})
    for (int64_t k : {1, 3, 64, 100, 200})
      for (int64_t n : {1, 31, 70})
        for (DType lhs : kBytes)
          for (DType rhs : kBytes) {
            compare_product(m, k, n, lhs, rhs, Zero::none, n == 31);
            compare_product(m, k, n, lhs, rhs, Zero::number, n != 31);
            compare_product(m, k, n, lhs, rhs, Zero::vector, k == 64);
            if (testing::Test::HasFatalFailure()) return;
          }
}

TEST(Quantized, EmptyProducts) {
  compare_product(3, 0, 4, DType::u8, DType::i8, Zero::number, false);
  compare_product(0, 5, 4, DType::u8, DType::i8, Zero::none, true);
}

struct ConvCase {
  Shape image, weights;
  std::vector<Attribute> attributes;
};

std::vector<ConvCase> convolutions() {
  const auto pads = [](Ints v) { return attribute("pads", std::move(v)); };
  const auto strides = [](Ints v) { return attribute("strides", std::move(v)); };
  const auto dilations = [](Ints v) { return attribute("dilations", std::move(v)); };
  const auto group = [](int64_t n) { return attribute("group", n); };
  return {{{1, 3, 20, 21}, {16, 3, 7, 7}, {pads({3, 3, 3, 3}), strides({2, 2})}},
          {{1, 3, 64, 65}, {33, 3, 7, 7}, {pads({3, 3, 3, 3}), strides({2, 2})}},
          {{1, 32, 17, 9}, {40, 32, 3, 3}, {pads({1, 1, 1, 1})}},
          {{1, 64, 30, 31}, {64, 64, 3, 3}, {pads({1, 1, 1, 1})}},
          {{2, 64, 28, 28}, {70, 64, 3, 3}, {pads({1, 1, 1, 1}), strides({2, 2})}},
          {{1, 60, 20, 34}, {20, 60, 3, 3}, {pads({0, 0, 1, 1})}},
          {{1, 128, 20, 34}, {20, 128, 3, 3}, {pads({2, 2, 2, 2}), dilations({2, 2})}},
          {{2, 128, 7, 7}, {50, 128, 1, 1}, {}},
          {{1, 65, 9, 8}, {30, 65, 1, 1}, {strides({2, 1})}},
          {{1, 5, 17, 9}, {8, 5, 3, 3}, {pads({0, 2, 1, 0}), dilations({2, 3})}},
          {{1, 6, 13, 30}, {40, 3, 3, 5}, {pads({0, 4, 2, 0}), group(2)}},
          {{1, 200, 7, 7}, {200, 1, 5, 5}, {pads({2, 2, 2, 2}), group(200)}},
          {{2, 24, 13, 30}, {24, 1, 3, 3}, {pads({1, 1, 1, 1}), strides({2, 2}), group(24)}},
          {{1, 17, 12, 25}, {17, 1, 3, 3}, {pads({0, 2, 2, 0}), dilations({2, 2}), group(17)}},
          {{1, 20, 50}, {20, 1, 9}, {pads({4, 4}), group(20)}},
          {{1, 20, 50}, {11, 20, 4}, {pads({4, 0})}}};
}

TEST(Quantized, Convolutions) {
  for (const ConvCase& c : convolutions())
    for (DType image : kBytes)
      for (DType weights : kBytes)
        for (Zero zero : {Zero::none, Zero::number}) {
          SCOPED_TRACE(testing::Message()
                       << testing::PrintToString(c.image) << " "
                       << testing::PrintToString(c.weights) << ", " << name(image) << " by "
                       << name(weights) << ", zero " << int(zero));
          Network net;
          net.inputs["x"] = bytes(image, c.image, 1);
          net.weights["w"] = bytes(weights, c.weights, 2);
          net.weights["x0"] = number(image, zero == Zero::none ? 0 : 77);
          net.weights["w0"] = number(weights, zero == Zero::none ? 0 : -3);
          net.nodes = {node("ConvInteger", {"x", "w", "x0", "w0"}, {"y"})};
          net.nodes[0].attributes = c.attributes;
          compare(net, false);
          // The same where the zero point of the image is computed.
          net.inputs["x0"] = net.weights.at("x0");
          net.weights.erase("x0");
          compare(net, false);
          if (testing::Test::HasFatalFailure()) return;
        }
}

// --- operators of quantised tensors

TEST(Quantized, QLinearConv) {
  for (const ConvCase& c : convolutions())
    for (DType dtype : kBytes)
      for (bool by_channel : {false, true}) {
        SCOPED_TRACE(testing::Message() << testing::PrintToString(c.image) << " "
                                        << testing::PrintToString(c.weights) << name(dtype));
        Network net;
        const Shape channels = {c.weights[0]};
        const double terms = double(element_count(c.weights) / c.weights[0]);
        const auto step = static_cast<float>(std::sqrt(terms) * 50);
        net.inputs["x"] = bytes(dtype, c.image, 1);
        net.weights = {{"w", bytes(DType::i8, c.weights, 2)},
                       {"xs", number(0.02f)},
                       {"x0", number(dtype, 12)},
                       {"ws", floats(by_channel ? channels : Shape{}, 3, 0.01f, 0.03f)},
                       {"w0", number(DType::i8, 0)},
                       {"ys", number(0.0004f * step)},
                       {"y0", number(dtype, 40)},
                       {"bias", integers<int16_t>(DType::i16, channels, 4)}};
        net.nodes = {
            node("Cast", {"bias"}, {"b"}, {attribute("to", int64_t{6})}),
            node("QLinearConv", {"x", "xs", "x0", "w", "ws", "w0", "ys", "y0", "b"}, {"y"})};
        net.nodes[1].attributes = c.attributes;
        compare(net, true);
        if (testing::Test::HasFatalFailure()) return;
      }
}

TEST(Quantized, QLinearMatMul) {
  for (DType lhs : kBytes)
    for (DType rhs : kBytes)
      for (int64_t batch : {1, 3})
        for (bool is_weight : {false, true}) {
          SCOPED_TRACE(testing::Message() << name(lhs) << " by " << name(rhs) << " " << batch);
          Network net;
          net.inputs["a"] = bytes(lhs, {batch, 37, 100}, 1);
          const Shape shape = is_weight ? Shape{100, 45} : Shape{batch, 100, 45};
          (is_weight ? net.weights : net.inputs)["b"] = bytes(rhs, shape, 2);
          net.weights.insert({{"as", number(0.02f)},
                              {"a0", number(lhs, 12)},
                              {"bs", number(0.01f)},
                              {"b0", number(rhs, 7)},
                              {"ys", number(0.1f)},
                              {"y0", number(lhs, 40)}});
          net.nodes = {
              node("QLinearMatMul", {"a", "as", "a0", "b", "bs", "b0", "ys", "y0"}, {"y"})};
          compare(net, true);
        }
}

// --- operators between quantisations

// Adds y = Quantize(x) and its dequantised form, `name` and `name`_real.
void quantise(Network& net, const std::string& x, const std::string& name, float scale, int zero,
              DType dtype = DType::u8) {
  net.weights[name + "_scale"] = number(scale);
  net.weights[name + "_zero"] = number(dtype, zero);
  net.nodes.push_back(node("QuantizeLinear", {x, name + "_scale", name + "_zero"}, {name}));
  net.nodes.push_back(
      node("DequantizeLinear", {name, name + "_scale", name + "_zero"}, {name + "_real"}));
}
// A weight of i8, per channel along `axis`; `name`_real.
void add_weight(Network& net, const std::string& name, const Shape& shape, int64_t axis,
                unsigned seed) {
  const Shape channels = {shape[static_cast<size_t>(axis)]};
  net.weights[name] = bytes(DType::i8, shape, seed);
  net.weights[name + "_scale"] = floats(channels, seed, 0.0005f, 0.001f);
  net.weights[name + "_zero"] = Tensor(DType::i8, channels);
  for (int8_t& x : net.weights[name + "_zero"].as<int8_t>()) x = 0;
  net.nodes.push_back(node("DequantizeLinear", {name, name + "_scale", name + "_zero"},
                           {name + "_real"}, {attribute("axis", axis)}));
}

Network block(DType dtype, int64_t channels, int zero) {
  Network net;
  net.inputs["x"] = floats({1, channels, 19, 18}, 5, -1, 1);
  net.weights["bias"] = floats({channels}, 6, -1, 1);
  quantise(net, "x", "qx", 0.01f, zero, dtype);
  add_weight(net, "w1", {channels, channels, 3, 3}, 0, 7);
  add_weight(net, "w2", {channels, channels, 1, 1}, 0, 8);
  const auto pads = attribute("pads", Ints{1, 1, 1, 1});
  net.nodes.push_back(node("Conv", {"qx_real", "w1_real", "bias"}, {"c1"}, {pads}));
  net.nodes.push_back(node("Relu", {"c1"}, {"r1"}));
  quantise(net, "r1", "q1", 0.02f, zero, dtype);
  net.nodes.push_back(node("Conv", {"q1_real", "w2_real", "bias"}, {"c2"}));
  quantise(net, "c2", "q2", 0.013f, zero, dtype);
  net.nodes.push_back(node("Add", {"q2_real", "qx_real"}, {"a"}));
  net.nodes.push_back(node("Relu", {"a"}, {"r2"}));
  quantise(net, "r2", "q3", 0.017f, zero, dtype);
  return net;
}

// What runs is counted by tests/optimize; here it is compared. Differences of one step in what a
// product reads reach its result.
TEST(Quantized, ResidualBlocks) {
  for (DType dtype : kBytes)
    for (int64_t channels : {16, 33, 64})
      for (int zero : {0, 20}) {
        SCOPED_TRACE(testing::Message() << name(dtype) << " " << channels << " " << zero);
        Network net = block(dtype, channels, zero);
        net.nodes.push_back(node("Identity", {"q3"}, {"y"}));
        compare(net, true);
        net.nodes.back() =
            node("MaxPool", {"q3_real"}, {"p"},
                 {attribute("kernel_shape", Ints{3, 3}), attribute("pads", Ints{1, 1, 1, 1})});
        net.nodes.push_back(node("QuantizeLinear", {"p", "q3_scale", "q3_zero"}, {"y"}));
        compare(net, true);
        net.nodes.back() = node("GlobalAveragePool", {"q3_real"}, {"g"});
        quantise(net, "g", "y", 0.02f, 3, dtype);
        compare(net, true);
      }
}

// As an exporter writes attention and what follows it.
TEST(Quantized, Attention) {
  for (DType dtype : kBytes) {
    SCOPED_TRACE(name(dtype));
    Network net;
    net.inputs["x"] = floats({2, 21, 64}, 5, -1, 1);
    net.weights["bias"] = floats({64}, 6, -1, 1);
    net.weights["heads"] = integers<int64_t>(DType::i64, {4}, 0);
    const int64_t heads[] = {0, 0, 4, 16};
    std::ranges::copy(heads, net.weights["heads"].as<int64_t>().begin());
    quantise(net, "x", "qx", 0.01f, 5, dtype);
    const auto perm = [](Ints axes) { return attribute("perm", std::move(axes)); };
    for (const std::string part : {"q", "k", "v"}) {
      add_weight(net, "w" + part, {64, 64}, 1, 10);
      net.nodes.push_back(node("MatMul", {"qx_real", "w" + part + "_real"}, {"m" + part}));
      quantise(net, "m" + part, "n" + part, 0.02f, 7, dtype);
      net.nodes.push_back(node("Add", {"n" + part + "_real", "bias"}, {"b" + part}));
      quantise(net, "b" + part, "p" + part, 0.02f, 9, dtype);
      net.nodes.push_back(node("Reshape", {"p" + part + "_real", "heads"}, {"s" + part}));
      quantise(net, "s" + part, "t" + part, 0.02f, 9, dtype);
      net.nodes.push_back(node("Transpose", {"t" + part + "_real"}, {part},
                               {perm(part == "k" ? Ints{0, 2, 3, 1} : Ints{0, 2, 1, 3})}));
    }
    net.nodes.push_back(node("MatMul", {"q", "k"}, {"scores"}));
    net.nodes.push_back(node("Softmax", {"scores"}, {"weights"}));
    quantise(net, "weights", "qw", 1 / 127.0f, 0, dtype);
    net.nodes.push_back(node("MatMul", {"qw_real", "v"}, {"context"}));
    net.nodes.push_back(node("Gelu", {"context"}, {"gelu"}));
    quantise(net, "gelu", "y", 0.1f, 30, dtype);
    compare(net, true);
  }
}

// Asymmetric weights, and scales that do not allow a product of integers.
TEST(Quantized, OddParameters) {
  for (const std::string what : {"asymmetric", "by row", "f16"}) {
    SCOPED_TRACE(what);
    Network net;
    net.inputs["x"] = floats({30, 70}, 5, -1, 1);
    quantise(net, "x", "qx", 0.01f, 100);
    const int64_t along = what == "by row" ? 0 : 1;
    add_weight(net, "w", {70, 40}, along, 7);
    if (what == "asymmetric") net.weights["w_zero"] = bytes(DType::i8, {40}, 9);
    net.nodes.push_back(node("MatMul", {"qx_real", "w_real"}, {"m"}));
    quantise(net, "m", "y", 0.01f, 128);
    compare(net, true);
  }
}

TEST(Quantized, DynamicQuantisation) {
  for (int64_t rows : {1, 12, 130})
    for (const Shape& bias : {Shape{}, Shape{90}}) {
      Network net;
      net.inputs["x"] = floats({2, rows, 100}, 5, -1, 2);
      net.weights = {{"w", bytes(DType::i8, {100, 90}, 6)},
                     {"ws", floats({90}, 7, 0.001f, 0.002f)},
                     {"w0", number(DType::i8, 0)},
                     {"b", floats(bias, 8, -1, 1)}};
      net.nodes = {node("DynamicQuantizeLinear", {"x"}, {"q", "s", "z"}),
                   node("MatMulInteger", {"q", "w", "z", "w0"}, {"i"}),
                   node("Cast", {"i"}, {"f"}, {attribute("to", int64_t{1})}),
                   node("Mul", {"s", "ws"}, {"scale"}),
                   node("Mul", {"f", "scale"}, {"m"}),
                   node("Add", {"m", "b"}, {"a"}),
                   node("Gelu", {"a"}, {"g"})};
      quantise(net, "g", "y", 0.01f, 20);
      compare(net, true);
    }
}

// --- operators of com.microsoft

// Expects the operator to be what dequantising, `plain` from a and b (or a alone) to r, and
// quantising is.
void compare_microsoft(const std::string& op, std::vector<Attribute> attributes,
                       const std::vector<Node>& plain, bool binary) {
  SCOPED_TRACE(op);
  for (DType dtype : kBytes) {
    Network net;
    net.inputs["qa"] = bytes(dtype, {2, 5, 6, 7}, 1);
    net.inputs["qb"] = bytes(dtype, {2, 5, 6, 7}, 2);
    net.weights = {{"as", number(0.02f)},    {"a0", number(dtype, 12)}, {"bs", number(0.03f)},
                   {"b0", number(dtype, 3)}, {"ys", number(0.025f)},    {"y0", number(dtype, 9)}};
    Network spelled = net;
    Names operands = {"qa", "as", "a0"};
    if (binary) operands.insert(operands.end(), {"qb", "bs", "b0"});
    operands.insert(operands.end(), {"ys", "y0"});
    if (op == "QLinearConcat") operands = {"ys", "y0", "qa", "as", "a0", "qb", "bs", "b0"};
    net.nodes = {node(op, operands, {"y"}, std::move(attributes), "com.microsoft")};
    spelled.nodes = {node("DequantizeLinear", {"qa", "as", "a0"}, {"a"}),
                     node("DequantizeLinear", {"qb", "bs", "b0"}, {"b"})};
    spelled.nodes.insert(spelled.nodes.end(), plain.begin(), plain.end());
    spelled.nodes.push_back(node("QuantizeLinear", {"r", "ys", "y0"}, {"y"}));
    const Tensor expected = run("reference", spelled, 1);
    for (const char* device : {"reference", "cpu"}) {
      const Tensor actual = run(device, net, 2);
      ASSERT_EQ(actual.shape(), expected.shape());
      for (int64_t i = 0; i < actual.count(); ++i)
        ASSERT_EQ(element(actual, i), element(expected, i)) << device << ", element " << i;
    }
    attributes = net.nodes[0].attributes;
  }
}

TEST(Quantized, MicrosoftOperators) {
  const auto axis = attribute("axis", int64_t{1});
  compare_microsoft("QLinearAdd", {}, {node("Add", {"a", "b"}, {"r"})}, true);
  compare_microsoft("QLinearMul", {}, {node("Mul", {"a", "b"}, {"r"})}, true);
  compare_microsoft("QLinearConcat", {axis}, {node("Concat", {"a", "b"}, {"r"}, {axis})}, true);
  compare_microsoft("QLinearSigmoid", {}, {node("Sigmoid", {"a"}, {"r"})}, false);
  const auto alpha = attribute("alpha", 0.2f);
  compare_microsoft("QLinearLeakyRelu", {alpha}, {node("LeakyRelu", {"a"}, {"r"}, {alpha})}, false);
  compare_microsoft("QLinearSoftmax", {axis}, {node("Softmax", {"a"}, {"r"}, {axis})}, false);
  compare_microsoft("QLinearGlobalAveragePool", {}, {node("GlobalAveragePool", {"a"}, {"r"})},
                    false);
}

TEST(Quantized, MicrosoftGemm) {
  for (bool quantises : {false, true}) {
    Network net;
    net.inputs["a"] = bytes(DType::u8, {9, 70}, 1);
    net.weights = {{"w", bytes(DType::i8, {33, 70}, 2)},
                   {"as", number(0.02f)},
                   {"a0", number(DType::u8, 12)},
                   {"ws", floats({33}, 3, 0.01f, 0.02f)},
                   {"w0", number(DType::i8, 0)},
                   {"b", integers<int32_t>(DType::i32, {33}, 4)},
                   {"ys", number(0.1f)},
                   {"y0", number(DType::u8, 128)}};
    for (int32_t& x : net.weights["b"].as<int32_t>()) x %= 10000;
    Names operands = {"a", "as", "a0", "w", "ws", "w0", "b", "ys", "y0"};
    Network spelled = net;
    spelled.nodes = {node("DequantizeLinear", {"a", "as", "a0"}, {"ra"}),
                     node("Transpose", {"w"}, {"t"}, {attribute("perm", Ints{1, 0})}),
                     node("MatMulInteger", {"a", "t", "a0", "w0"}, {"sums"}),
                     node("Add", {"sums", "b"}, {"biased"}),
                     node("Cast", {"biased"}, {"f"}, {attribute("to", int64_t{1})}),
                     node("Mul", {"as", "ws"}, {"s"}),
                     node("Mul", {"f", "s"}, {"r"}),
                     node("QuantizeLinear", {"r", "ys", "y0"}, {"y"})};
    if (!quantises) operands.resize(7);
    net.nodes = {node("QGemm", operands, {quantises ? "y" : "r"}, {attribute("transB", int64_t{1})},
                      "com.microsoft")};
    if (!quantises) net.nodes.push_back(node("QuantizeLinear", {"r", "ys", "y0"}, {"y"}));
    const Tensor expected = run("reference", spelled, 1), actual = run("cpu", net, 2);
    for (int64_t i = 0; i < actual.count(); ++i)
      ASSERT_NEAR(element(actual, i), element(expected, i), 1) << "element " << i;
  }
}

// Two blocks a row of which the second is not full.
TEST(Quantized, MatMulNBits) {
  constexpr int64_t kK = 50, kN = 7, kSize = 32;
  for (int64_t width : {4, 8})
    for (bool has_zero : {false, true}) {
      SCOPED_TRACE(testing::Message() << width << " bits, zero points " << has_zero);
      const int64_t blocks = 2, bytes_each = kSize * width / 8;
      Network net;
      net.inputs["a"] = floats({3, kK}, 1, -1, 1);
      net.weights = {{"w", bytes(DType::u8, {kN, blocks, bytes_each}, 2)},
                     {"s", floats({kN, blocks}, 3, 0.01f, 0.02f)},
                     {"z", bytes(DType::u8, {kN, blocks * width / 8}, 4)},
                     {"ys", number(0.1f)},
                     {"y0", number(DType::u8, 128)}};
      Names operands = {"a", "w", "s"};
      if (has_zero) operands.emplace_back("z");
      net.nodes = {node("MatMulNBits", operands, {"m"},
                        {attribute("K", kK), attribute("N", kN), attribute("bits", width),
                         attribute("block_size", kSize)},
                        "com.microsoft"),
                   node("QuantizeLinear", {"m", "ys", "y0"}, {"y"})};
      const Tensor actual = run("cpu", net, 2);
      const auto nibble = [&](const Tensor& t, int64_t row, int64_t count, int64_t i) {
        const auto all = t.as<uint8_t>();
        if (width == 8) return int{all[static_cast<size_t>(row * count + i)]};
        return all[static_cast<size_t>(row * ((count + 1) / 2) + i / 2)] >> (i % 2 * 4) & 15;
      };
      for (int64_t r = 0; r < 3; ++r)
        for (int64_t j = 0; j < kN; ++j) {
          double sum = 0;
          for (int64_t p = 0; p < kK; ++p) {
            const int64_t block = p / kSize;
            const int zero =
                has_zero ? nibble(net.weights["z"], j, blocks, block) : (width == 4 ? 8 : 128);
            const double w = nibble(net.weights["w"], j * blocks + block, kSize, p % kSize) - zero;
            sum += w * net.weights["s"].as<float>()[static_cast<size_t>(j * blocks + block)] *
                   net.inputs["a"].as<float>()[static_cast<size_t>(r * kK + p)];
          }
          const double expected = std::clamp(std::nearbyint(sum / 0.1) + 128, 0.0, 255.0);
          ASSERT_NEAR(element(actual, r * kN + j), expected, 1) << r << " " << j;
        }
    }
}

}  // namespace
}  // namespace onrush::onnx
