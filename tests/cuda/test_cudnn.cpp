// What is asked of cuDNN, by stand-ins of it and of the driver.
#include <cstdlib>
#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "../onnx/builders.h"
#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/cudnn.h"
#include "backend/cuda/libraries.h"
#include "backend/cuda/tuning.h"
#include "base/disk_cache.h"
#include "cuda/support.h"
#include <onrush/session.h>

namespace onrush::cuda {
namespace {

using onnx::attribute;
using onnx::named;
using onnx::node;
using Ints = std::vector<int64_t>;

template <class Function>
Function* of_fake(const char* name) {
  return reinterpret_cast<Function*>(dlsym(dlopen(FAKE_CUDNN, RTLD_NOW), name));
}
void set(const char* name, int value) {
  of_fake<void(const char*, int)>("fake_cudnn_set")(name, value);
}
int get(const char* name) { return of_fake<int(const char*)>("fake_cudnn_get")(name); }
std::string executed() { return of_fake<const char*()>("fake_cudnn_executed")(); }

// A 3 x 3 convolution of two images [9, 9, 8] in steps of 2, with all that may follow.
ConvolutionShape full_shape() {
  const auto tensor = [](int64_t offset, Ints extents, Ints strides) {
    return Convolution::Tensor{{}, DType::f16, offset, std::move(extents), std::move(strides)};
  };
  Convolution form = {};
  form.math = ContractionMath::f16;
  form.image = tensor(0, {2, 8, 9, 9}, {648, 1, 72, 8});
  form.filter = tensor(16, {24, 8, 3, 3}, {72, 1, 24, 8});
  form.result = tensor(4, {2, 24, 5, 5}, {600, 1, 120, 24});
  form.addend = tensor(0, {2, 24, 5, 5}, {600, 1, 120, 24});
  form.windows = {{2, 1, 1, 1}, {2, 1, 1, 1}};
  form.scale = 0.5;
  form.relu = true;
  return {form, 0x1008};
}

class CudnnGraphs : public testing::Test {
 protected:
  void SetUp() override {
    context_ = Context::open(0);
    scope_.emplace(*context_);
    live_ = get("live");
    library_ = Cudnn::open(context_);
    ASSERT_TRUE(library_);
  }
  void TearDown() override {
    for (const char* name : {"fail_graph", "fail_mode_a"}) set(name, 0);
    library_.reset();
    EXPECT_EQ(get("live"), live_);  // nothing is left
  }
  static std::vector<std::string> algorithms(
      const std::vector<std::unique_ptr<LibraryKernel>>& kernels) {
    std::vector<std::string> all;
    for (const auto& kernel : kernels) all.push_back(kernel->algorithm());
    return all;
  }

  ContextPtr context_;
  std::optional<ContextScope> scope_;
  int live_ = 0;
  std::shared_ptr<const Cudnn> library_;
};

TEST_F(CudnnGraphs, SayAllOfAConvolution) {
  EXPECT_EQ(library_->version(), "cuDNN 9.19.0");
  const auto kernel = library_->kernel(full_shape(), "5 24=7");
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->library(), "cuDNN 9.19.0");
  EXPECT_EQ(kernel->algorithm(), "5 24=7");
  EXPECT_EQ(kernel->workspace_bytes(), 1000 + kLibraryAlignment);
  const Stream stream(context_);
  kernel->launch(1 << 20, 2 << 20, 3 << 20, 4 << 20, 5 << 20, stream);
  EXPECT_EQ(executed(), fmt::format("engine 5 24=7\n"
                                    "convolution 2,2 1,1 1,1 1,1 1[2,8,9,9 648,1,72,8 as 2 by 16] "
                                    "2[24,8,3,3 72,1,24,8 as 2 by 16] -> "
                                    "v[2,24,5,5 600,1,120,24 as 0 by 16]\n"
                                    "mul value 6[1,1,1,1 1,1,1,1 as 0 by 4] -> "
                                    "v[2,24,5,5 600,1,120,24 as 0 by 16]\n"
                                    "add 3[2,24,5,5 600,1,120,24 as 2 by 16] -> "
                                    "v[2,24,5,5 600,1,120,24 as 0 by 16]\n"
                                    "add 4[1,24,1,1 24,1,24,24 as 2 by 8] -> "
                                    "v[2,24,5,5 600,1,120,24 as 0 by 16]\n"
                                    "relu -> 5[2,24,5,5 600,1,120,24 as 2 by 8]\n"
                                    "1 at {}\n2 at {}\n5 at {}\n3 at {}\n4 at {}\n",
                                    1 << 20, (2 << 20) + 32, (4 << 20) + 8, 3 << 20, 0x1008) +
                            executed().substr(executed().find("6 at ")));
  EXPECT_NE(executed().find(fmt::format("workspace at {}\n", 5 << 20)), std::string::npos);
}

TEST_F(CudnnGraphs, StopAfterTheConvolutionWhereNothingFollows) {
  ConvolutionShape shape = full_shape();
  shape.form.scale = 1;
  shape.form.relu = false;
  shape.form.addend.reset();
  shape.bias = 0;
  const auto kernel = library_->kernel(shape, "1 2=0 14=3");
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->workspace_bytes(), 0u);
  const Stream stream(context_);
  kernel->launch(64, 128, 0, 256, 0, stream);
  EXPECT_TRUE(executed().starts_with(
      "engine 1 2=0 14=3\n"
      "convolution 2,2 1,1 1,1 1,1 1[2,8,9,9 648,1,72,8 as 2 by 16] "
      "2[24,8,3,3 72,1,24,8 as 2 by 16] -> 5[2,24,5,5 600,1,120,24 as 2 by 8]\n1 at 64\n"))
      << executed();
}

TEST_F(CudnnGraphs, OfferWhatIsAccurateAndSmallEnough) {
  using Texts = std::vector<std::string>;
  ConvolutionShape shape = full_shape();
  EXPECT_EQ(algorithms(library_->kernels(shape, 6)), (Texts{"1 2=0 14=3", "5 24=7"}));
  EXPECT_EQ(algorithms(library_->kernels(shape, 1)), (Texts{"1 2=0 14=3"}));
  // No tensor cores where products are to be exact.
  shape.form.math = ContractionMath::scalar;
  EXPECT_EQ(algorithms(library_->kernels(shape, 6)), (Texts{"5 24=7"}));
  shape.form.math = ContractionMath::tf32;
  set("fail_mode_a", 1);
  EXPECT_EQ(algorithms(library_->kernels(shape, 6)), (Texts{"9", "5 24=7"}));
}

TEST_F(CudnnGraphs, AreMadeOnce) {
  set("plans", 0);
  const ConvolutionShape shape = full_shape();
  const auto first = library_->kernel(shape, "5 24=7"), second = library_->kernel(shape, "5 24=7");
  EXPECT_EQ(get("plans"), 1);
  ConvolutionShape other = shape;
  other.form.relu = false;
  const auto third = library_->kernel(other, "5 24=7");
  EXPECT_EQ(get("plans"), 2);
}

TEST_F(CudnnGraphs, AreNoneWhereTheLibraryRefuses) {
  ConvolutionShape shape = full_shape();
  for (const char* algorithm : {"6", "4", "99", "", "x", "1 2", "1 2=", "1 2:3", "5 24=7 x"})
    EXPECT_FALSE(library_->kernel(shape, algorithm)) << algorithm;
  set("fail_graph", 1);
  EXPECT_FALSE(library_->kernel(shape, "1"));
  EXPECT_TRUE(library_->kernels(shape, 6).empty());
  set("fail_graph", 0);
  shape.form.windows[0].after = 9;
  EXPECT_TRUE(library_->kernels(shape, 6).empty());
}

TEST(CudnnLibraries, AreRefusedWhereTooOldOrIncomplete) {
  const auto reason = [](const char* file) {
    const CudnnLibrary library = open_cudnn(
        [&](const std::string& name) { return name == "ONRUSH_CUDNN" ? file : std::string(); });
    EXPECT_FALSE(library.search.library);
    EXPECT_FALSE(library.api.cudnnCreate);
    return library.search.tried.at(0).outcome;
  };
  EXPECT_EQ(reason(FAKE_CUDNN_OLD), "too old: it is 8.9.7, and 9.0 the oldest that will do");
  EXPECT_EQ(reason(FAKE_CUDNN_INCOMPLETE), "too old: it lacks cudnnBackendExecute");
}

// --- sessions

class CudnnSessions : public testing::Test {
 protected:
  // Three convolutions, of which the first reads what the caller gives.
  static std::string network() {
    const auto conv = [](const char* x, const char* w, const char* b, const char* y) {
      return node("Conv", {x, w, b}, {y}, {attribute("pads", Ints{1, 1, 1, 1})});
    };
    onnx::Graph graph =
        onnx::graph({},
                    {named("one", conv("x", "w", "b", "c")), node("Relu", {"c"}, {"d"}),
                     named("two", conv("d", "w", "b", "e")), node("Relu", {"e"}, {"f"}),
                     named("three", conv("f", "w", "b", "g")), node("Add", {"g", "d"}, {"h"}),
                     node("Relu", {"h"}, {"i"}), node("GlobalAveragePool", {"i"}, {"y"})},
                    {"y"});
    onnx::ValueInfo info = onnx::value_info("x");
    info.type.shape = std::vector<onnx::Dimension>{{2, ""}, {64, ""}, {14, ""}, {14, ""}};
    graph.inputs = {std::move(info)};
    const auto numbers = [](Shape shape) {
      Tensor tensor(DType::f32, std::move(shape));
      float number = 0;
      for (float& value : tensor.as<float>()) value = number++;
      return tensor;
    };
    graph.initializers.push_back({.name = "w", .tensor = numbers({64, 64, 3, 3})});
    graph.initializers.push_back({.name = "b", .tensor = numbers({64})});
    return onnx::encode(onnx::model(graph));
  }
  Session load(bool tune) {
    SessionOptions options;
    options.device = "cuda";
    options.precision = Precision::fp16;
    options.cache_folder = folder_.path().string();
    options.tune = tune;
    options.progress = [this](std::string_view text) { tuned_ += text.starts_with("tuning "); };
    const std::string bytes = network();
    return Session::load(onnx::bytes_of(bytes), options);
  }
  static std::vector<std::string> run(const Session& session) {
    const Tensor x(DType::f32, {2, 64, 14, 14});
    for (int i = 0; i < 3; ++i) session.run({{"x", x}});
    RunProfile profile;
    RunOptions options;
    options.profile = &profile;
    session.run({{"x", x}}, {}, options);
    std::vector<std::string> ways;
    for (const ProfileEvent& event : profile.events)
      if (event.step->kind == "contraction") ways.push_back(event.step->way);
    return ways;
  }
  TemporaryFolder folder_;
  int tuned_ = 0;
};

TEST_F(CudnnSessions, MeasureItAndUseItWhereItWasFaster) {
  run(load(true));
  EXPECT_GT(tuned_, 0);
  tuned_ = 0;
  run(load(true));  // all is known
  EXPECT_EQ(tuned_, 0);
  const DiskCache cache({.folder = folder_.path().string()});
  int with_library = 0;
  for (const CacheEntry& entry : cache.list()) {
    if (entry.kind != "tuning") continue;
    const auto content = *cache.load(entry.key, "tuning");
    auto tuned = tuned_from_text({reinterpret_cast<const char*>(content.data()), content.size()});
    ASSERT_TRUE(tuned);
    if (!tuned->by_library) continue;
    EXPECT_EQ(tuned->library, "cuDNN 9.19.0");
    ++with_library;
    tuned->own_us = 1e6;
    const std::string text = to_text(*tuned);
    ASSERT_TRUE(cache.store(entry.key, "tuning", std::as_bytes(std::span(text))));
  }
  EXPECT_EQ(with_library, 2);
  const std::vector<std::string> ways = run(load(false));
  ASSERT_EQ(ways.size(), 3u);
  EXPECT_NE(ways[0], "cuDNN 9.19.0");
  EXPECT_EQ(ways[1], "cuDNN 9.19.0");
  EXPECT_EQ(ways[2], "cuDNN 9.19.0");
  EXPECT_NE(executed().find("\nadd 3["), std::string::npos) << executed();
  EXPECT_NE(executed().find("\nrelu -> 5["), std::string::npos) << executed();
}

}  // namespace
}  // namespace onrush::cuda

int main(int argc, char** argv) {
  // The backend looks for its libraries once, when it is first asked for.
  setenv("ONRUSH_LIBCUDA", FAKE_DRIVER, 1);
  setenv("ONRUSH_NVRTC", FAKE_DRIVER, 1);
  setenv("ONRUSH_CUDNN", FAKE_CUDNN, 1);
  setenv("ONRUSH_CUBLASLT", "/nowhere", 1);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
