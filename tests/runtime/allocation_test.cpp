// A steady run allocates nothing, and a new size little. Every allocation of this program is
// counted: those of C++ here, the aligned ones of tensors through the C function they call.
#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <new>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace {
std::atomic<long> allocations{0};

void* allocate(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(bytes);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
extern "C" void* aligned_alloc(size_t alignment, size_t bytes) noexcept {
  ++allocations;
  return memalign(alignment, bytes);
}

namespace onrush::onnx {
namespace {

Tensor random(Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  float value = 0.1f;
  for (float& x : tensor.as<float>()) x = value = 3.7f * value * (1 - value);
  return tensor;
}

// Pictures through a convolution, a depthwise one, pooling, a product and a softmax; the input
// itself and its shape come out as well.
Graph network() {
  Graph result =
      graph({},
            {node("Conv", {"x", "w"}, {"c"}, {attribute("pads", std::vector<int64_t>{1, 1, 1, 1})}),
             node("Relu", {"c"}, {"r"}),
             node("Conv", {"r", "d"}, {"e"}, {attribute("group", int64_t{8})}),
             node("GlobalAveragePool", {"e"}, {"p"}), node("Flatten", {"p"}, {"f"}),
             node("MatMul", {"f", "m"}, {"l"}), node("Softmax", {"l"}, {"y"}),
             node("Identity", {"x"}, {"same"}), node("Shape", {"x"}, {"sizes"})},
            {"y", "same", "sizes"});
  ValueInfo x = value_info("x");
  x.type.element = DType::f32;
  x.type.shape = {{std::nullopt, "n"}, {3, ""}, {std::nullopt, "h"}, {std::nullopt, "w"}};
  result.inputs = {x};
  result.initializers = {
      {"w", random({8, 3, 3, 3})}, {"d", random({8, 1, 3, 3})}, {"m", random({8, 5})}};
  return result;
}

class SteadyRuns : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, SteadyRuns, testing::Values(1, 2));

TEST_P(SteadyRuns, AllocateNothing) {
  SessionOptions options;
  options.threads = GetParam();
  const std::string bytes = encode(model(network()));
  const Session session = Session::load(bytes_of(bytes), options);
  std::vector<NamedValues> inputs;
  std::vector<RunOptions> calls;
  for (int64_t size : {32, 24}) {
    const Tensor x = random({2, 3, size, size});
    inputs.push_back({{"x", x}});
    RunOptions call;
    call.outputs = {{"y", Tensor(DType::f32, {2, 5})},
                    {"same", Tensor(DType::f32, x.shape())},
                    {"sizes", Tensor(DType::i64, {4})}};
    calls.push_back(call);
  }
  std::vector<Value> results;
  const auto run = [&](int times) {
    for (int i = 0; i < times; ++i)
      for (size_t size = 0; size < 2; ++size) session.run(inputs[size], {}, calls[size], results);
  };
  // Scratch memory of a thread grows when the thread first does a kind of work.
  long fewest = LONG_MAX;
  for (int batch = 0; batch < 10; ++batch) {
    const long before = allocations;
    run(20);
    fewest = std::min<long>(fewest, allocations - before);
  }
  EXPECT_EQ(fewest, 0);
  EXPECT_EQ(results[0].tensor().data(), calls[1].outputs["y"].data());
}

// So many equal layers, each a convolution and what follows it.
Graph layers(int count) {
  std::vector<Node> nodes;
  std::string at = "x";
  for (int i = 0; i < count; ++i) {
    const std::string conv = fmt::format("c{}", i), next = fmt::format("r{}", i);
    nodes.push_back(
        node("Conv", {at, "w"}, {conv}, {attribute("pads", std::vector<int64_t>{1, 1, 1, 1})}));
    nodes.push_back(node("Relu", {conv}, {next}));
    at = next;
  }
  Graph result = graph({}, nodes, {at});
  ValueInfo x = value_info("x");
  x.type.element = DType::f32;
  x.type.shape = {{1, ""}, {8, ""}, {std::nullopt, "h"}, {std::nullopt, "w"}};
  result.inputs = {x};
  result.initializers = {{"w", random({8, 8, 3, 3})}};
  return result;
}

// The fewest allocations of a run at a size that the plan has not had.
long allocations_of_a_new_size(const Graph& network) {
  SessionOptions options;
  options.threads = 1;
  const std::string bytes = encode(model(network));
  const Session session = Session::load(bytes_of(bytes), options);
  long fewest = LONG_MAX;
  for (int64_t size = 20; size > 10; --size) {
    const NamedValues inputs = {{"x", random({1, 8, size, size})}};
    const long before = allocations;
    session.run(inputs);
    fewest = std::min<long>(fewest, allocations - before);
  }
  return fewest;
}

TEST(NewSizes, BindEqualLayersOnce) {
  const long few = allocations_of_a_new_size(layers(4));
  const long many = allocations_of_a_new_size(layers(24));
  EXPECT_LE(many - few, 2 * 20) << few << " for 4 layers, " << many << " for 24";
  EXPECT_LE(few, 200);
}

TEST(SteadyRuns, AreCounted) {
  const long before = allocations;
  const Tensor tensor(DType::f32, {3});
  EXPECT_GE(allocations - before, 3);  // the shape, the bytes, their owner
}

}  // namespace
}  // namespace onrush::onnx
