// What runs ask of the driver, by a stand-in of it.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <numeric>
#include <thread>

#include "../onnx/builders.h"
#include "cuda/support.h"
#include <onrush/device_memory.h>
#include <onrush/session.h>

namespace onrush::cuda {
namespace {

using onnx::named;
using onnx::node;

constexpr Device kGpu{Device::Kind::cuda, 0};

long calls(const char* name) {
  static const auto count =
      reinterpret_cast<long (*)(const char*)>(dlsym(dlopen(FAKE_DRIVER, RTLD_NOW), "fake_calls"));
  return count(name);
}

// Calls of a function since this was made.
class Calls {
 public:
  explicit Calls(const char* name) : name_(name), before_(calls(name)) {}
  long operator()() const { return calls(name_) - before_; }

 private:
  const char* name_;
  long before_;
};

class NewSizes : public testing::Test {
 protected:
  // A step of a decode: present = past and x, y = softmax of x with present, sizes of past: [n, 8].
  Session decode(bool negates = false) {  // and what is computed from past alone
    onnx::Graph graph = onnx::graph({},
                                    {named("append", node("Concat", {"past", "x"}, {"present"},
                                                          {onnx::attribute("axis", int64_t{0})})),
                                     named("turn", node("Transpose", {"present"}, {"turned"})),
                                     named("score", node("MatMul", {"x", "turned"}, {"scores"})),
                                     named("weigh", node("Softmax", {"scores"}, {"y"}))},
                                    {"present", "y"});
    if (negates) {
      graph.nodes.push_back(named("negate", node("Neg", {"past"}, {"negative"})));
      graph.outputs.push_back(onnx::value_info("negative"));
    }
    graph.inputs = {input("past", {{std::nullopt, "n"}, {8, ""}}), input("x", {{1, ""}, {8, ""}})};
    const std::string bytes = onnx::encode(onnx::model(graph));
    SessionOptions options;
    options.device = "cuda";
    options.cache_folder = folder_.path();
    options.progress = [this](std::string_view) { ++compiled_; };
    return Session::load(onnx::bytes_of(bytes), options);
  }
  static onnx::ValueInfo input(const std::string& name, std::vector<onnx::Dimension> shape) {
    onnx::ValueInfo info = onnx::value_info(name);
    info.type.element = DType::f32;
    info.type.shape = std::move(shape);
    return info;
  }
  static Tensor on_gpu(Shape shape) {
    Tensor host(DType::f32, shape);
    std::iota(host.as<float>().begin(), host.as<float>().end(), 0.0F);
    return moved_to(kGpu, host);
  }
  // Runs with `n` rows of past; gives the present.
  static Tensor run(const Session& session, const Tensor& past, const Tensor& x) {
    RunOptions options;
    options.results_on = kGpu;
    return session.run({{"past", past}, {"x", x}}, {}, options)[0].tensor();
  }

  // Until kernels have been compiled that are not for the sizes at hand.
  static void wait_for(const Calls& loaded, long modules) {
    for (int i = 0; i < 1000 && loaded() < modules; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_GE(loaded(), modules);
    // They are counted before a binding may have them.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }

  TemporaryFolder folder_;         // of the kernel cache
  std::atomic<int> compiled_ = 0;  // programs that a call has waited for
};

// 23 rows of past make 24 of present, of which 16 bytes are read at once.
TEST_F(NewSizes, NoRunWaitsForAKernel) {
  const Session session = decode();
  const Tensor x = on_gpu({1, 8});
  const Calls loaded("cuModuleLoadData");
  run(session, on_gpu({23, 8}), x);
  EXPECT_GT(compiled_, 0);
  const long first = loaded();
  run(session, on_gpu({23, 8}), x);  // a second run: others may follow
  wait_for(loaded, first + 1);
  compiled_ = 0;
  for (int64_t n = 1; n < 40; ++n) run(session, on_gpu({n, 8}), x);
  EXPECT_EQ(compiled_, 0);
}

TEST_F(NewSizes, KernelsThatStandInAreReplaced) {
  const Session session = decode();
  const Tensor x = on_gpu({1, 8}), odd = on_gpu({16, 8}), even = on_gpu({23, 8});
  const Calls loaded("cuModuleLoadData");
  run(session, odd, x);
  run(session, odd, x);
  const long before = loaded();
  RunOptions options;
  options.outputs = {{"present", on_gpu({24, 8})}, {"y", on_gpu({1, 24})}};
  const auto again = [&] { session.run({{"past", even}, {"x", x}}, {}, options); };
  again();
  again();
  wait_for(loaded, before + 1);
  const Calls changed("cuGraphExecKernelNodeSetParams_v2");
  again();
  EXPECT_GT(changed(), 0);
  const long once = changed();
  again();
  EXPECT_EQ(changed(), once);
}

TEST_F(NewSizes, AGrowingCacheKeepsTheGraphOfTheSecondStep) {
  const Session session = decode();
  const Tensor x = on_gpu({1, 8});
  Tensor cache = on_gpu({16, 8});
  cache = run(session, cache, x);  // the only one that is not a graph
  const Calls made("cuGraphInstantiateWithFlags"), launched("cuGraphLaunch");
  cache = run(session, cache, x);
  const Calls kernels("cuLaunchKernelEx"), changed("cuGraphExecKernelNodeSetParams_v2");
  for (int step = 0; step < 40; ++step) cache = run(session, cache, x);
  EXPECT_EQ(cache.shape(), (Shape{58, 8}));
  EXPECT_EQ(made(), 1);
  EXPECT_EQ(launched(), 41);
  EXPECT_EQ(kernels(), 0);
  EXPECT_GE(changed(), 40);
}

TEST_F(NewSizes, ANewSizeMakesNoStreamsAndNoBuffersOfItsOwn) {
  const Session session = decode();
  const Tensor x = on_gpu({1, 8});
  std::vector<Tensor> pasts;
  for (int64_t n : {64, 8, 9, 10, 11, 12}) pasts.push_back(on_gpu({n, 8}));
  run(session, pasts[0], x);
  run(session, pasts[1], x);
  const Calls streams("cuStreamCreate"), events("cuEventCreate"), pinned("cuMemHostAlloc"),
      buffers("cuMemAlloc_v2");
  for (size_t i = 2; i < pasts.size(); ++i) run(session, pasts[i], x);
  EXPECT_EQ(streams(), 0);
  EXPECT_EQ(events(), 0);
  EXPECT_EQ(pinned(), 0);
  EXPECT_EQ(buffers(), 0);
}

TEST_F(NewSizes, SizesThatComeAgainHaveGraphsOfTheirOwn) {
  const Session session = decode();
  const Tensor x = on_gpu({1, 8}), few = on_gpu({4, 8}), many = on_gpu({40, 8});
  RunOptions options;
  options.outputs = {{"present", on_gpu({5, 8})}, {"y", on_gpu({1, 5})}};
  RunOptions others;
  others.outputs = {{"present", on_gpu({41, 8})}, {"y", on_gpu({1, 41})}};
  const auto both = [&] {
    session.run({{"past", few}, {"x", x}}, {}, options);
    session.run({{"past", many}, {"x", x}}, {}, others);
  };
  for (int round = 0; round < 3; ++round) both();
  const Calls made("cuGraphInstantiateWithFlags"), launched("cuGraphLaunch"),
      changed("cuGraphExecKernelNodeSetParams_v2");
  for (int round = 0; round < 5; ++round) both();
  EXPECT_EQ(made(), 0);
  EXPECT_EQ(launched(), 10);
  EXPECT_EQ(changed(), 0);
}

TEST_F(NewSizes, PlansAreMadeWithoutTheElementsOfInputs) {
  const Session session = decode();
  const Tensor past = on_gpu({16, 8}), x = on_gpu({1, 8});
  RunOptions options;
  options.outputs = {{"present", on_gpu({17, 8})}, {"y", on_gpu({1, 17})}};
  const Calls copies("cuMemcpyDtoHAsync_v2");
  session.run({{"past", past}, {"x", x}}, {}, options);
  EXPECT_EQ(copies(), 0);
}

TEST_F(NewSizes, ASizeOfAnotherFormIsLaunchedOnceAndThenRecorded) {
  const Session session = decode(true);
  const Tensor x = on_gpu({1, 8});
  const Tensor none = on_gpu({0, 8}), some = on_gpu({4, 8});  // nothing to negate: a kernel less
  run(session, some, x);
  run(session, some, x);
  const Calls made("cuGraphInstantiateWithFlags");
  run(session, none, x);
  EXPECT_EQ(made(), 0);
  run(session, none, x);
  EXPECT_EQ(made(), 1);
}

// --- runs of known sizes

class Calling : public NewSizes {
 protected:
  // Nodes over x and y, of sizes [n, 8] both, that give z.
  Session two_inputs(std::vector<onnx::Node> nodes, size_t memory_limit = 0,
                     bool tune = false) const {
    onnx::Graph graph = onnx::graph({}, std::move(nodes), {"z"});
    graph.inputs = {input("x", {{std::nullopt, "n"}, {8, ""}}),
                    input("y", {{std::nullopt, "n"}, {8, ""}})};
    const std::string bytes = onnx::encode(onnx::model(graph));
    SessionOptions options;
    options.device = "cuda";
    options.memory_limit = memory_limit;
    options.tune = tune;
    options.cache_folder = folder_.path();
    return Session::load(onnx::bytes_of(bytes), options);
  }
  Session adds(size_t memory_limit = 0) const {
    return two_inputs({named("add", node("Add", {"x", "y"}, {"z"}))}, memory_limit);
  }
  static NamedValues inputs(const Tensor& value) { return {{"x", value}, {"y", value}}; }
};

TEST_F(Calling, SmallValuesStayInHostMemory) {
  const Session session = adds();
  const Tensor small = Tensor(DType::f32, {4, 8});
  session.run(inputs(small));
  const Calls sent("cuMemcpyHtoDAsync_v2"), fetched("cuMemcpyDtoHAsync_v2");
  for (int i = 0; i < 3; ++i) session.run(inputs(small));
  EXPECT_EQ(sent(), 0);
  EXPECT_EQ(fetched(), 0);
}

TEST_F(Calling, LargeValuesAreCopied) {
  const Session session = adds();
  const Tensor large = Tensor(DType::f32, {4000, 8});
  session.run(inputs(large));
  const Calls sent("cuMemcpyHtoDAsync_v2"), fetched("cuMemcpyDtoHAsync_v2");
  session.run(inputs(large));
  EXPECT_EQ(sent(), 2);
  EXPECT_EQ(fetched(), 1);
}

TEST_F(Calling, ValuesOnTheDeviceTakeNoRoomInFrames) {
  const Tensor large = on_gpu({4000, 8});
  RunOptions on_the_device;
  on_the_device.results_on = kGpu;
  const Session session = adds();
  session.run(inputs(large), {}, on_the_device);
  EXPECT_EQ(session.memory_use().scratch, 0u);
  session.run(inputs(large));
  EXPECT_EQ(session.memory_use().scratch, large.bytes());
  session.run(inputs(moved_to({}, large)));
  EXPECT_EQ(session.memory_use().scratch, 3 * large.bytes());
  session.run(inputs(large), {}, on_the_device);
  EXPECT_EQ(session.memory_use().scratch, 3 * large.bytes());  // it may have been the only one
  session.run(inputs(large), {}, on_the_device);
  EXPECT_EQ(session.memory_use().scratch, 0u);
}

TEST_F(Calling, FramesKeepTheMemoryLimit) {
  const Tensor large = on_gpu({4000, 8});
  const Session session = adds(large.bytes());
  EXPECT_EQ(session.run(inputs(large))[0].tensor().shape(), large.shape());
  try {
    session.run(inputs(moved_to({}, large)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    EXPECT_NE(std::string(error.what()).find("limit"), std::string::npos) << error.what();
  }
  EXPECT_EQ(session.run(inputs(large))[0].tensor().shape(), large.shape());
}

TEST_F(Calling, SmallInputsOfMoreThanOneKernelAreCopiedTogether) {
  // Products read x and y by asynchronous copies.
  const Session session = two_inputs({named("turn", node("Transpose", {"y"}, {"turned"})),
                                      named("product", node("MatMul", {"x", "turned"}, {"p"})),
                                      named("product of it", node("MatMul", {"p", "x"}, {"q"})),
                                      named("sum", node("Add", {"q", "y"}, {"z"}))});
  const Tensor small = Tensor(DType::f32, {4, 8});
  session.run(inputs(small));
  const Calls sent("cuMemcpyHtoDAsync_v2");
  session.run(inputs(small));
  EXPECT_EQ(sent(), 1);
}

// --- kernels that fail

class Faults : public Calling {
 protected:
  void TearDown() override {
    fault(0);
    unsetenv("ONRUSH_CHECK_KERNELS");
  }
  // The device fails at that launch from now on; 0: it is well again.
  static void fault(long launch) {
    reinterpret_cast<void (*)(long)>(dlsym(dlopen(FAKE_DRIVER, RTLD_NOW), "fake_fault"))(launch);
  }
  // The error of the first run of two products, where a launch fails: that of the second one.
  std::string failed_run(long launch = 2, bool tune = false) {
    const Session session = two_inputs({named("turn", node("Transpose", {"y"}, {"turned"})),
                                        named("first", node("MatMul", {"x", "turned"}, {"p"})),
                                        named("second", node("MatMul", {"p", "x"}, {"q"})),
                                        named("sum", node("Add", {"q", "y"}, {"z"}))},
                                       0, tune);
    fault(launch);
    try {
      session.run(inputs(Tensor(DType::f32, {4, 8})));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::device);
      return error.what();
    }
    return "no error";
  }
};

TEST_F(Faults, SayHowToLearnMore) {
  const std::string text = failed_run();
  EXPECT_NE(text.find("ONRUSH_CHECK_KERNELS=1"), std::string::npos) << text;
  EXPECT_EQ(text.find("'second'"), std::string::npos) << text;
}

TEST_F(Faults, NameTheStepAndItsNodes) {
  setenv("ONRUSH_CHECK_KERNELS", "1", 1);
  const std::string text = failed_run();
  EXPECT_NE(text.find("step 2 of 2, contraction dot+add"), std::string::npos) << text;
  EXPECT_NE(text.find("'second'"), std::string::npos) << text;
  EXPECT_EQ(text.find("'first'"), std::string::npos) << text;
  EXPECT_EQ(text.find("ONRUSH_CHECK_KERNELS"), std::string::npos) << text;
}

TEST_F(Faults, WithChecksEveryKernelIsWaitedFor) {
  setenv("ONRUSH_CHECK_KERNELS", "1", 1);
  const Session session = adds();
  const Tensor small = Tensor(DType::f32, {4, 8});
  for (int i = 0; i < 3; ++i) {
    const Calls launched("cuLaunchKernelEx"), waited("cuStreamSynchronize");
    session.run(inputs(small));
    EXPECT_EQ(launched(), 1);  // no graph
    EXPECT_GE(waited(), 1);
  }
}

TEST_F(Faults, OfWhatIsTunedNameTheCandidate) {
  const std::string text = failed_run(3, true);  // two fill the memory that is measured in
  EXPECT_NE(text.find("tuning "), std::string::npos) << text;
  EXPECT_NE(text.find(": tiles of "), std::string::npos) << text;
}

}  // namespace
}  // namespace onrush::cuda

int main(int argc, char** argv) {
  // The backend looks for its libraries once, when it is first asked for.
  setenv("ONRUSH_LIBCUDA", FAKE_DRIVER, 1);
  setenv("ONRUSH_NVRTC", FAKE_DRIVER, 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
