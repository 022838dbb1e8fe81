// Sessions on a GPU: streams, capture, profiles, large results.
#include <cmath>
#include <cstring>
#include <numeric>

#include "../onnx/builders.h"
#include "backend/cuda/cuda_executable.h"
#include "backend/cuda/cuda_profiler.h"
#include "base/numeric.h"
#include "cuda/gpu.h"
#include <onrush/session.h>

namespace onrush::cuda {
namespace {

using onnx::named;
using onnx::node;

class RunTest : public GpuTest {
 protected:
  // y = softmax(x @ x) over [n, n], x of float32.
  static Session square() {
    onnx::Graph graph = onnx::graph({},
                                    {named("first", node("MatMul", {"x", "x"}, {"t"})),
                                     named("second", node("Softmax", {"t"}, {"y"}))},
                                    {"y"});
    return load(std::move(graph), "x", DType::f32, {{std::nullopt, "n"}, {std::nullopt, "n"}});
  }
  // y = table[i], a table of 4 rows.
  static Session rows() {
    onnx::Graph graph = onnx::graph({}, {node("Gather", {"table", "i"}, {"y"})}, {"y"});
    graph.initializers.push_back({.name = "table", .tensor = numbers({4, 2})});
    return load(std::move(graph), "i", DType::i64, {{std::nullopt, "n"}});
  }
  static Session load(onnx::Graph graph, const std::string& input, DType dtype,
                      std::vector<onnx::Dimension> shape) {
    onnx::ValueInfo info = onnx::value_info(input);
    info.type.element = dtype;
    info.type.shape = std::move(shape);
    graph.inputs = {std::move(info)};
    const std::string bytes = onnx::encode(onnx::model(graph));
    SessionOptions options;
    options.device = "cuda";
    options.precision = Precision::fp32;
    return Session::load(onnx::bytes_of(bytes), options);
  }

  static Tensor numbers(Shape shape, float first = 0) {
    std::vector<float> values(static_cast<size_t>(element_count(shape)));
    std::iota(values.begin(), values.end(), first);
    for (float& value : values) value = std::fmod(value, 7.0F) / 7;
    return Tensor::of<float>(DType::f32, std::move(shape), values);
  }
  Tensor on_device(const Tensor& tensor) const { return cuda::upload(context_, tensor, stream()); }
  std::vector<float> floats(const Tensor& tensor) const {
    const Tensor host =
        tensor.device().kind == Device::Kind::cuda ? cuda::download(tensor, stream()) : tensor;
    return {host.as<float>().begin(), host.as<float>().end()};
  }
  // A run on this test's stream from `x` to `y`, both on the device.
  RunOptions options(const Tensor& y) const {
    RunOptions result;
    result.stream = stream().handle();
    result.outputs["y"] = y;
    return result;
  }
};

TEST_F(RunTest, IsInTheOrderOfTheCallersStream) {
  const Session session = square();
  const Tensor x = numbers({64, 64}), other = numbers({64, 64}, 3);
  const std::vector<float> expected = floats(session.run({{"x", x}})[0].tensor());
  const Tensor input = on_device(other), output = device_tensor(context_, DType::f32, {64, 64});
  for (int round = 0; round < 4; ++round) {  // launched, then as a graph
    fill(device_address(output.data()), std::byte{0}, output.bytes(), stream());
    copy_to_device(device_address(input.data()), x.data(), x.bytes(), stream());
    session.run({{"x", input}}, {}, options(output));
    copy_to_device(device_address(input.data()), other.data(), other.bytes(), stream());
    EXPECT_EQ(floats(output), expected);
  }
}

TEST_F(RunTest, MayBeCapturedByTheCaller) {
  const Session session = square();
  const Tensor input = on_device(numbers({32, 32}));
  const Tensor output = device_tensor(context_, DType::f32, {32, 32});
  session.run({{"x", input}}, {}, options(output));
  Capture capture(stream());
  session.run({{"x", input}}, {}, options(output));
  const GraphExec graph(capture.end());
  for (int i = 0; i < 3; ++i) {
    const Tensor x = numbers({32, 32}, static_cast<float>(i));
    copy_to_device(device_address(input.data()), x.data(), x.bytes(), stream());
    graph.launch(stream());
    EXPECT_EQ(floats(output), floats(session.run({{"x", x}})[0].tensor()));
  }
}

TEST_F(RunTest, CaptureNeedsARunBefore) {
  const Session session = square();
  const Tensor input = on_device(numbers({32, 32}));
  const Tensor output = device_tensor(context_, DType::f32, {32, 32});
  const Capture capture(stream());
  EXPECT_THROW(session.run({{"x", input}}, {}, options(output)), Error);
}

TEST_F(RunTest, CaptureNeedsInputsAndOutputsOnTheDevice) {
  const Session session = square();
  const Tensor output = device_tensor(context_, DType::f32, {32, 32});
  session.run({{"x", numbers({32, 32})}});
  Capture capture(stream());
  EXPECT_THROW(session.run({{"x", numbers({32, 32})}}, {}, options(output)), Error);
}

// y = x (w * w'): the product of the weights, a packed copy of it, and nothing else is computed;
// the copy alone is read by runs.
TEST_F(RunTest, KeepsOfTheWeightsOnlyWhatItReads) {
  constexpr int64_t kSize = 512;
  onnx::Graph graph =
      onnx::graph({},
                  {node("Mul", {"w", "v"}, {"u"}), node("MatMul", {"x", "u"}, {"t"}),
                   node("Add", {"t", "b"}, {"y"})},
                  {"y"});
  for (const char* name : {"w", "v"})
    graph.initializers.push_back({.name = name, .tensor = numbers({kSize, kSize})});
  graph.initializers.push_back({.name = "b", .tensor = numbers({kSize})});
  const Session session =
      load(std::move(graph), "x", DType::f32, {{std::nullopt, "n"}, {kSize, ""}});
  const std::vector<float> first = floats(session.run({{"x", numbers({3, kSize})}})[0].tensor());
  EXPECT_EQ(session.memory_use().weights, (kSize * kSize + kSize) * sizeof(float));
  // A value that several plans and sizes read is there for all of them.
  const std::vector<float> one = floats(session.run({{"x", numbers({1, kSize})}})[0].tensor());
  const std::vector<float> w = floats(numbers({kSize, kSize}));
  for (size_t j = 0; j < kSize; ++j) {
    double sum = static_cast<double>(w[j]);
    for (size_t i = 0; i < kSize; ++i)
      sum += static_cast<double>(w[i]) * static_cast<double>(w[i * kSize + j] * w[i * kSize + j]);
    EXPECT_NEAR(first[j], sum, 1e-3 * sum);
    EXPECT_NEAR(one[j], sum, 1e-3 * sum);
  }
}

TEST_F(RunTest, ReportsAnIndexOutOfRange) {
  const Session session = rows();
  const auto indices = [](std::vector<int64_t> values) {
    return Tensor::of<int64_t>(DType::i64, {2}, values);
  };
  EXPECT_THROW(session.run({{"i", indices({0, 4})}}), Error);
  EXPECT_EQ(floats(session.run({{"i", indices({0, -1})}})[0].tensor()),
            floats(session.run({{"i", indices({0, 3})}})[0].tensor()));

  const Tensor output = device_tensor(context_, DType::f32, {2, 2});
  const Tensor wrong = on_device(indices({0, 9})), right = on_device(indices({0, 1}));
  session.run({{"i", wrong}}, {}, options(output));
  stream().synchronize();
  EXPECT_THROW(session.run({{"i", right}}, {}, options(output)), Error);
  EXPECT_NO_THROW(session.run({{"i", right}}, {}, options(output)));
}

TEST_F(RunTest, LargeResultsOutliveTheSession) {
  Tensor kept;
  std::vector<float> expected;
  {
    const Session session = square();
    const Tensor x = numbers({300, 300});
    kept = session.run({{"x", x}})[0].tensor();
    expected = floats(kept);
    for (int i = 1; i < 4; ++i) session.run({{"x", numbers({300, 300}, static_cast<float>(i))}});
  }
  EXPECT_EQ(floats(kept), expected);
}

// Of more than 2^31 elements.
class LargeRunTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    if (IsSkipped()) return;
    if (memory_use().free < size_t{20} << 30) GTEST_SKIP() << "skipped: less than 20 GB are free";
  }
  // Rows that go round the pattern, each from a step further.
  template <class T>
  static Tensor striped(DType dtype, Shape shape, const std::vector<T>& pattern) {
    Tensor tensor(dtype, shape);
    const auto width = static_cast<size_t>(shape[1]);
    std::vector<T> twice;
    while (twice.size() < width + pattern.size())
      twice.insert(twice.end(), pattern.begin(), pattern.end());
    auto* to = static_cast<T*>(tensor.data());
    for (int64_t row = 0; row < shape[0]; ++row, to += width)
      std::memcpy(to, twice.data() + static_cast<size_t>(row) % pattern.size(), width * sizeof(T));
    return tensor;
  }
  // The last `count` elements of a tensor on the device.
  template <class T>
  std::vector<T> tail(const Tensor& tensor, size_t count) const {
    return download<T>(device_address(tensor.data()) + tensor.bytes() - count * sizeof(T), count);
  }
};

TEST_F(LargeRunTest, ElementsAndReductions) {
  constexpr int64_t kRows = (1 << 15) + 1, kWidth = 1 << 16;
  onnx::Graph graph = onnx::graph(
      {},
      {node("Add", {"x", "x"}, {"y"}), node("Transpose", {"x"}, {"t"}),
       node("Gather", {"y", "last"}, {"z"}),
       node("ReduceMax", {"y", "rows"}, {"m"}, {onnx::attribute("keepdims", int64_t{0})})},
      {"y", "t", "z", "m"});
  const int64_t last = kRows - 1, rows = 0;
  graph.initializers.push_back(
      {.name = "last", .tensor = Tensor::of<int64_t>(DType::i64, {}, std::span(&last, 1))});
  graph.initializers.push_back(
      {.name = "rows", .tensor = Tensor::of<int64_t>(DType::i64, {1}, std::span(&rows, 1))});
  const Session session =
      load(std::move(graph), "x", DType::u8, {{std::nullopt, "n"}, {kWidth, ""}});
  std::vector<uint8_t> pattern(101);
  std::iota(pattern.begin(), pattern.end(), uint8_t{0});
  const Tensor x = on_device(striped<uint8_t>(DType::u8, {kRows, kWidth}, pattern));
  RunOptions run_options;
  run_options.results_on = x.device();
  const auto results = session.run({{"x", x}}, {}, run_options);
  std::vector<uint8_t> row, column;
  for (int64_t i = 0; i < kWidth; ++i) row.push_back(static_cast<uint8_t>((last + i) % 101 * 2));
  for (int64_t i = 0; i < kRows; ++i)
    column.push_back(static_cast<uint8_t>((kWidth - 1 + i) % 101));
  EXPECT_EQ(tail<uint8_t>(results[0].tensor(), row.size()), row);
  EXPECT_EQ(tail<uint8_t>(results[1].tensor(), column.size()), column);
  EXPECT_EQ(tail<uint8_t>(results[2].tensor(), row.size()), row);
  EXPECT_EQ(tail<uint8_t>(results[3].tensor(), kWidth), std::vector<uint8_t>(kWidth, 200));
}

TEST_F(LargeRunTest, Products) {
  constexpr int64_t kRows = (1 << 25) + 1, kDepth = 64;
  onnx::Graph graph = onnx::graph({}, {node("MatMul", {"x", "w"}, {"y"})}, {"y"});
  std::vector<uint16_t> ones(kDepth * kDepth, f32_to_f16(0));  // w swaps columns from end to end
  for (int64_t i = 0; i < kDepth; ++i)
    ones[static_cast<size_t>(i * kDepth + kDepth - 1 - i)] = f32_to_f16(1);
  graph.initializers.push_back(
      {.name = "w", .tensor = Tensor::of<uint16_t>(DType::f16, {kDepth, kDepth}, ones)});
  const Session session =
      load(std::move(graph), "x", DType::f16, {{std::nullopt, "n"}, {kDepth, ""}});
  std::vector<uint16_t> pattern;
  for (int i = 0; i < 101; ++i) pattern.push_back(f32_to_f16(static_cast<float>(i)));
  const Tensor x = on_device(striped<uint16_t>(DType::f16, {kRows, kDepth}, pattern));
  RunOptions run_options;
  run_options.results_on = x.device();
  const Tensor y = session.run({{"x", x}}, {}, run_options)[0].tensor();
  std::vector<uint16_t> expected;
  for (int64_t i = kDepth - 1; i >= 0; --i)
    expected.push_back(pattern[static_cast<size_t>((kRows - 1 + i) % 101)]);
  EXPECT_EQ(tail<uint16_t>(y, kDepth), expected);
}

TEST_F(RunTest, ProfileCoversTheRun) {
  const Session session = square();
  const Tensor x = numbers({512, 512});
  for (int round = 0; round < 3; ++round) {
    RunProfile profile;
    RunOptions run_options;
    run_options.profile = &profile;
    session.run({{"x", x}}, {}, run_options);
    EXPECT_FALSE(profile.device_clock.empty());
    int64_t sum = 0, end = 0;
    std::vector<std::string> nodes;
    for (const ProfileEvent& event : profile.events) {
      EXPECT_GE(event.start_ns, end);
      end = event.start_ns + event.duration_ns;
      sum += event.duration_ns;
      nodes.insert(nodes.end(), event.step->nodes.begin(), event.step->nodes.end());
    }
    EXPECT_EQ(nodes, (std::vector<std::string>{"first", "second"}));
    EXPECT_LE(sum, profile.duration_ns);
    EXPECT_GE(sum, profile.duration_ns / 2);
  }
}

}  // namespace
}  // namespace onrush::cuda
