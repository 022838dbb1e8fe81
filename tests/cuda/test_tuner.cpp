// Tuning and libraries on a GPU.
#include <cmath>
#include <fmt/format.h>
#include <random>

#include "../onnx/builders.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/cuda_executable.h"
#include "backend/cuda/cudnn.h"
#include "backend/cuda/tuner.h"
#include "base/numeric.h"
#include "cuda/gpu.h"
#include "cuda/support.h"
#include <onrush/session.h>

namespace onrush::cuda {
namespace {

using onnx::named;
using onnx::node;

Tensor random_tensor(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.as<float>()) value = static_cast<float>(random() % 9) / 8 - 0.5F;
  return tensor;
}

// --- products by the library

class CublasLtTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    library_ = CublasLt::open(context_);
    if (!library_) GTEST_SKIP() << "skipped: no cuBLASLt";
  }

  // Elements that are small multiples of 1/8, exact in every type.
  Tensor matrix(DType dtype, int64_t count, unsigned seed) const {
    const Tensor from = random_tensor({count}, seed);
    Tensor to(dtype, {count});
    for (int64_t i = 0; i < count; ++i)
      store_f64(dtype, to.data(), i, load_f64(DType::f32, from.data(), i));
    return to;
  }
  Tensor on_device(const Tensor& tensor) const { return cuda::upload(context_, tensor, stream()); }

  void check(const ProductShape& given) const;

  std::shared_ptr<const CublasLt> library_;
};

// Every algorithm that the library offers computes the product, next to elements that stay.
void CublasLtTest::check(const ProductShape& given) const {
  ProductShape shape = given;
  const auto count = [&](const ProductShape::Matrix& m, int64_t lines) {
    return m.offset / static_cast<int64_t>(byte_size(m.dtype, 1)) +
           (shape.batch - 1) * m.batch_stride + lines * m.leading;
  };
  const auto lines = [&](const ProductShape::Matrix& m, int64_t rows) {
    return m.across ? shape.k : rows;
  };
  const DType factor = shape.lhs.dtype, result = shape.result.dtype;
  const Tensor lhs = matrix(factor, count(shape.lhs, lines(shape.lhs, shape.m)), 1),
               rhs = matrix(factor, count(shape.rhs, lines(shape.rhs, shape.n)), 2),
               addend = matrix(result, count(shape.addend, shape.m), 3),
               before = matrix(result, count(shape.result, shape.m), 4),
               bias = matrix(result, shape.n, 5);
  const Tensor l = on_device(lhs), r = on_device(rhs), a = on_device(addend), b = on_device(bias);
  if (shape.bias) shape.bias = device_address(b.data());
  const auto at = [](const Tensor& tensor, const ProductShape::Matrix& m, int64_t batch,
                     int64_t row, int64_t column) {
    if (m.across) std::swap(row, column);
    return load_f64(m.dtype, tensor.data(),
                    m.offset / static_cast<int64_t>(byte_size(m.dtype, 1)) +
                        batch * m.batch_stride + row * m.leading + column);
  };
  const auto products = library_->kernels(shape, 4);
  EXPECT_FALSE(products.empty());
  for (const auto& product : products) {
    const Tensor y = on_device(before);
    const DeviceBuffer workspace(context_, product->workspace_bytes());
    product->launch(device_address(l.data()), device_address(r.data()),
                    shape.adds ? device_address(a.data()) : device_address(y.data()),
                    device_address(y.data()), workspace.pointer(), stream());
    const Tensor got = cuda::download(y, stream());
    double worst = 0;
    for (int64_t i = 0; i < shape.batch; ++i)
      for (int64_t m = 0; m < shape.m; ++m)
        for (int64_t n = 0; n < shape.n; ++n) {
          double sum = 0;
          for (int64_t k = 0; k < shape.k; ++k)
            sum += at(lhs, shape.lhs, i, m, k) * at(rhs, shape.rhs, i, n, k);
          sum *= static_cast<double>(shape.scale);
          if (shape.adds) sum += at(addend, shape.addend, i, m, n);
          if (shape.bias) sum += load_f64(result, bias.data(), n);
          if (shape.relu) sum = std::max(sum, 0.0);
          worst = std::max(worst, std::abs(sum - at(got, shape.result, i, m, n)));
        }
    EXPECT_LE(worst, 0.02);
  }
}

TEST_F(CublasLtTest, ComputesEveryForm) {
  for (const ContractionMath math : {ContractionMath::f16, ContractionMath::bf16,
                                     ContractionMath::tf32, ContractionMath::scalar})
    for (int form = 0; form < 16; ++form) {
      SCOPED_TRACE(fmt::format("math {}, form {}", static_cast<int>(math), form));
      const DType factor = math == ContractionMath::f16    ? DType::f16
                           : math == ContractionMath::bf16 ? DType::bf16
                                                           : DType::f32;
      const int64_t m = form & 8 ? 1 : 48, n = 40, k = 64, batch = form & 4 ? 3 : 1;
      const bool left = form & 1, right = form & 2;
      const auto operand = [&](int64_t rows, bool across) {
        const int64_t leading = across ? (rows + 7) / 8 * 8 : k + 8;
        return ProductShape::Matrix{factor, across ? 16 : 0, leading, leading * (across ? k : rows),
                                    across};
      };
      const ProductShape::Matrix result = {factor, 0, n + 8, (n + 8) * m, false};
      check({.math = math,
             .batch = batch,
             .m = m,
             .n = n,
             .k = k,
             .lhs = operand(m, left),
             .rhs = operand(n, right),
             .result = result,
             .addend = result,
             .adds = form % 3 != 0,
             .bias = CUdeviceptr{form % 2 ? 1U : 0U},
             .scale = form % 5 ? 1.0F : 0.5F,
             .relu = form % 4 == 3});
    }
}

// --- convolutions by the library

struct ConvolutionCase {
  int64_t images, channels, height, width, channels_out, taps_y, taps_x, step, dilation;
  int64_t before, after, groups;
};
void PrintTo(const ConvolutionCase& c, std::ostream* out) {
  *out << fmt::format("{}x{}x{}x{} by {}x{}x{}, steps {}, dilation {}, pads {} {}, groups {}",
                      c.images, c.height, c.width, c.channels, c.channels_out, c.taps_y, c.taps_x,
                      c.step, c.dilation, c.before, c.after, c.groups);
}

class CudnnTest : public GpuTest,
                  public testing::WithParamInterface<std::tuple<ContractionMath, ConvolutionCase>> {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    library_ = Cudnn::open(context_);
    if (!library_) GTEST_SKIP() << "skipped: no cuDNN";
  }
  static Tensor values(DType dtype, const Convolution::Tensor& like, unsigned seed) {
    int64_t count = 1;
    for (const int64_t extent : like.extents) count *= extent;
    const Tensor from = random_tensor({count}, seed);
    Tensor to(dtype, {count});
    for (int64_t i = 0; i < count; ++i)
      store_f64(dtype, to.data(), i, load_f64(DType::f32, from.data(), i));
    return to;
  }
  static double at(const Convolution::Tensor& tensor, const Tensor& values, int64_t a, int64_t b,
                   int64_t c, int64_t d) {
    return load_f64(tensor.dtype, values.data(),
                    a * tensor.strides[0] + b * tensor.strides[1] + c * tensor.strides[2] +
                        d * tensor.strides[3]);
  }
  // Channels last, without gaps.
  static Convolution::Tensor tensor(DType dtype, int64_t a, int64_t b, int64_t c, int64_t d) {
    return {{}, dtype, 0, {a, b, c, d}, {b * c * d, 1, b * d, b}};
  }
  void check(const Convolution& form, bool biased) const;

  std::shared_ptr<const Cudnn> library_;
};

// Every algorithm that the library offers, made again from its text, computes the convolution and
// can be recorded.
void CudnnTest::check(const Convolution& form, bool biased) const {
  const DType factor = form.image.dtype;
  const Tensor x = values(factor, form.image, 1), w = values(factor, form.filter, 2),
               r = values(factor, form.result, 3), b = values(factor, form.result, 4);
  const Tensor gx = cuda::upload(context_, x, stream()), gw = cuda::upload(context_, w, stream()),
               gr = cuda::upload(context_, r, stream()), gb = cuda::upload(context_, b, stream()),
               gy = cuda::upload(context_, r, stream());
  const ConvolutionShape shape{form, biased ? device_address(gb.data()) : 0};
  const int64_t groups = form.image.extents[1] / form.filter.extents[1],
                channels = form.filter.extents[1], channels_out = form.filter.extents[0] / groups;
  std::vector<double> expected;
  for (int64_t i = 0; i < form.result.extents[0]; ++i)
    for (int64_t py = 0; py < form.result.extents[2]; ++py)
      for (int64_t px = 0; px < form.result.extents[3]; ++px)
        for (int64_t n = 0; n < form.result.extents[1]; ++n) {
          double sum = 0;
          for (int64_t ty = 0; ty < form.filter.extents[2]; ++ty)
            for (int64_t tx = 0; tx < form.filter.extents[3]; ++tx) {
              const auto& [u, v] = std::pair(form.windows[0], form.windows[1]);
              const int64_t y = py * u.step + ty * u.dilation - u.before,
                            z = px * v.step + tx * v.dilation - v.before;
              if (y < 0 || y >= form.image.extents[2] || z < 0 || z >= form.image.extents[3])
                continue;
              for (int64_t c = 0; c < channels; ++c)
                sum += at(form.image, x, i, n / channels_out * channels + c, y, z) *
                       at(form.filter, w, n, c, ty, tx);
            }
          sum *= form.scale;
          if (form.addend) sum += at(form.result, r, i, n, py, px);
          if (biased) sum += load_f64(factor, b.data(), n);
          expected.push_back(form.relu ? std::max(sum, 0.0) : sum);
        }
  const auto kernels = library_->kernels(shape, 6);
  RecordProperty("kernels", static_cast<int>(kernels.size()));
  // It is known to have some for common forms.
  const Convolution::Window& window = form.windows[0];
  const bool common = factor != DType::f32 && form.scale == 1 && groups == 1 &&
                      window.before == window.after && window.dilation == 1;
  EXPECT_TRUE(!common || !kernels.empty());
  const double rounding = factor == DType::bf16 ? 0x1p-8 : 0x1p-10;
  for (const auto& offered : kernels) {
    SCOPED_TRACE(offered->algorithm());
    const auto kernel = library_->kernel(shape, offered->algorithm());
    ASSERT_TRUE(kernel);
    const DeviceBuffer workspace(context_, kernel->workspace_bytes());
    const auto launch = [&](const Stream& on) {
      kernel->launch(device_address(gx.data()), device_address(gw.data()),
                     device_address(gr.data()), device_address(gy.data()), workspace.pointer(), on);
    };
    fill(device_address(gy.data()), std::byte{0xff}, gy.bytes(), stream());
    launch(stream());
    const Tensor got = cuda::download(gy, stream());
    double worst = 0;
    for (size_t i = 0; i < expected.size(); ++i)
      worst = std::max(
          worst, std::abs(expected[i] - load_f64(factor, got.data(), static_cast<int64_t>(i))) /
                     (1 + std::abs(expected[i])));
    EXPECT_LE(worst, 2 * rounding);
    const Stream captured(context_);
    Capture capture(captured);
    launch(captured);
    EXPECT_GE(capture.end().node_count(), 1u);
  }
}

TEST_P(CudnnTest, ComputesEveryForm) {
  const auto& [math, c] = GetParam();
  const DType factor = math == ContractionMath::f16    ? DType::f16
                       : math == ContractionMath::bf16 ? DType::bf16
                                                       : DType::f32;
  const auto extent = [&](int64_t size, int64_t taps) {
    return (size + c.before + c.after - (taps - 1) * c.dilation - 1) / c.step + 1;
  };
  Convolution form = {};
  form.math = math;
  form.image = tensor(factor, c.images, c.channels, c.height, c.width);
  form.filter = tensor(factor, c.channels_out, c.channels / c.groups, c.taps_y, c.taps_x);
  form.result = tensor(factor, c.images, c.channels_out, extent(c.height, c.taps_y),
                       extent(c.width, c.taps_x));
  form.windows.assign(2, {c.step, c.dilation, c.before, c.after});
  for (int what = 0; what < 8; ++what) {
    SCOPED_TRACE(fmt::format("what follows: {}", what));
    form.relu = what & 1;
    form.addend = what & 2 ? std::optional(form.result) : std::nullopt;
    form.scale = what == 7 ? 0.5 : 1;
    check(form, what & 4);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, CudnnTest,
    testing::Combine(testing::Values(ContractionMath::f16, ContractionMath::bf16,
                                     ContractionMath::tf32, ContractionMath::scalar),
                     testing::Values(ConvolutionCase{2, 64, 14, 14, 64, 3, 3, 1, 1, 1, 1, 1},
                                     ConvolutionCase{1, 64, 15, 13, 128, 3, 3, 2, 1, 1, 1, 1},
                                     ConvolutionCase{2, 64, 14, 14, 128, 1, 1, 2, 1, 0, 0, 1},
                                     ConvolutionCase{1, 32, 17, 16, 48, 5, 3, 1, 2, 2, 3, 1},
                                     ConvolutionCase{2, 64, 9, 9, 64, 3, 3, 1, 1, 1, 0, 1},
                                     ConvolutionCase{2, 64, 9, 9, 64, 3, 3, 1, 1, 1, 1, 4})));

// --- timing

class TunerTest : public GpuTest {};

TEST_F(TunerTest, TellsFastFromSlowAndImpossible) {
  const DeviceBuffer memory(context_, 64 << 20);
  const Module module = compile(
      "extern \"C\" __global__ void spin(unsigned* out, int rounds) {"
      "  unsigned v = threadIdx.x;"
      "  for (int i = 0; i < rounds; ++i) v = v * 1664525u + 1013904223u;"
      "  if (v == 1) *out = v;"
      "}");
  const Function spin = module.function("spin");
  const auto candidate = [&](int rounds, int launches) -> Candidate {
    return {"spin", [&, rounds, launches](const Stream& stream, bool) {
              for (int i = 0; i < launches; ++i)
                launch_with(spin, {{8}, {64}, {}, 0, false}, stream, memory.pointer(), rounds);
            }};
  };
  const Candidate fails = {"none",
                           [](const Stream&, bool) { throw Error(ErrorCode::device, "no"); }};
  const std::vector<double> us = time_in_turns(
      context_, {candidate(20000, 1), fails, candidate(2000, 1), candidate(10, 2)}, 1);
  EXPECT_GT(us[0], 3 * us[2]);
  EXPECT_GT(us[2], 0);
  EXPECT_TRUE(std::isinf(us[1]));
  EXPECT_TRUE(std::isinf(us[3]));  // two kernels
}

// --- sessions

class TunedSessionTest : public GpuTest {
 protected:
  // Linear layers with all that can follow one: bias, activation, residual. Neither the first nor
  // the last is a product of what the caller holds.
  static std::string network() {
    onnx::Graph graph = onnx::graph(
        {},
        {node("Softmax", {"x"}, {"a"}), named("one", node("MatMul", {"a", "w1"}, {"b"})),
         node("Add", {"b", "bias1"}, {"c"}), node("Relu", {"c"}, {"d"}),
         named("two", node("MatMul", {"d", "w2"}, {"e"})), node("Add", {"e", "a"}, {"f"}),
         node("Softmax", {"f"}, {"y"})},
        {"y"});
    onnx::ValueInfo info = onnx::value_info("x");
    info.type.shape = std::vector<onnx::Dimension>{{std::nullopt, "n"}, {256, ""}};
    graph.inputs = {std::move(info)};
    graph.initializers.push_back({.name = "w1", .tensor = random_tensor({256, 512}, 1)});
    graph.initializers.push_back({.name = "bias1", .tensor = random_tensor({512}, 2)});
    graph.initializers.push_back({.name = "w2", .tensor = random_tensor({512, 256}, 3)});
    return onnx::encode(onnx::model(graph));
  }
  Session load(Precision precision, bool tune) {
    SessionOptions options;
    options.device = "cuda";
    options.precision = precision;
    options.cache_folder = folder_.path().string();
    options.tune = tune;
    options.progress = [this](std::string_view text) {
      (text.starts_with("tuning") ? told_ : compiled_).emplace_back(text);
    };
    const std::string bytes = network();
    return Session::load(onnx::bytes_of(bytes), options);
  }
  static std::vector<float> run(const Session& session, const Tensor& x) {
    std::vector<float> result;
    for (int i = 0; i < 3; ++i) {  // launched, recorded, replayed
      const Tensor y = session.run({{"x", x}})[0].tensor();
      const std::vector<float> values(y.as<float>().begin(), y.as<float>().end());
      if (i > 0) {
        EXPECT_EQ(values, result);
      }
      result = values;
    }
    return result;
  }
  static std::vector<std::string> ways(const Session& session, const Tensor& x) {
    RunProfile profile;
    RunOptions options;
    options.profile = &profile;
    session.run({{"x", x}}, {}, options);
    std::vector<std::string> ways;
    for (const ProfileEvent& event : profile.events)
      if (event.step->kind == "contraction") ways.push_back(event.step->way);
    return ways;
  }
  static void expect_close(const std::vector<float>& a, const std::vector<float>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-3 * std::abs(b[i]) + 1e-4);
  }

  TemporaryFolder folder_;
  std::vector<std::string> told_, compiled_;
};

TEST_F(TunedSessionTest, ComputesTheSameAndRemembers) {
  const Tensor x = random_tensor({384, 256}, 7), other = random_tensor({32, 256}, 8);
  for (const Precision precision : {Precision::fp16, Precision::bf16, Precision::tf32}) {
    SCOPED_TRACE(static_cast<int>(precision));
    const Session plain = load(precision, false);
    const std::vector<float> expected = run(plain, x), expected_other = run(plain, other);
    EXPECT_TRUE(told_.empty());
    EXPECT_FALSE(compiled_.empty());
    const Session tuned = load(precision, true);
    expect_close(run(tuned, x), expected);
    EXPECT_FALSE(told_.empty());
    const size_t told = told_.size();
    run(tuned, x);
    EXPECT_EQ(told_.size(), told);
    expect_close(run(tuned, other), expected_other);  // another size is measured by itself
    EXPECT_GT(told_.size(), told);
    told_.clear();
    const Session later = load(precision, false);
    expect_close(run(later, x), expected);
    EXPECT_TRUE(told_.empty());
    EXPECT_EQ(ways(later, x), ways(tuned, x));
    for (const std::string& way : ways(later, x)) EXPECT_FALSE(way.empty());
  }
}

// As if own kernels had been slow: the library computes all that it can.
TEST_F(TunedSessionTest, UsesTheLibraryThatWasFaster) {
  if (!CublasLt::open(context_)) GTEST_SKIP() << "skipped: no cuBLASLt";
  const Tensor x = random_tensor({384, 256}, 7);
  for (const Precision precision :
       {Precision::fp16, Precision::bf16, Precision::tf32, Precision::fp32}) {
    SCOPED_TRACE(static_cast<int>(precision));
    const std::vector<float> expected = run(load(precision, false), x);
    run(load(precision, true), x);
    const DiskCache cache({.folder = folder_.path().string()});
    int with_library = 0;
    for (const CacheEntry& entry : cache.list()) {
      if (entry.kind != "tuning") continue;
      const auto content = *cache.load(entry.key, "tuning");
      auto tuned = tuned_from_text({reinterpret_cast<const char*>(content.data()), content.size()});
      ASSERT_TRUE(tuned);
      with_library += tuned->by_library.has_value();
      tuned->own_us = 1e6;
      const std::string text = to_text(*tuned);
      ASSERT_TRUE(cache.store(entry.key, "tuning", std::as_bytes(std::span(text))));
    }
    EXPECT_GE(with_library, 2);
    const Session session = load(precision, false);
    expect_close(run(session, x), expected);
    const std::vector<std::string> by = ways(session, x);
    ASSERT_EQ(by.size(), 2u);
    for (const std::string& way : by) EXPECT_TRUE(way.starts_with("cuBLASLt ")) << way;
  }
}

// As if own kernels had been slow: cuDNN computes all that it can.
TEST_F(TunedSessionTest, UsesCudnnWhereItWasFaster) {
  if (!Cudnn::open(context_)) GTEST_SKIP() << "skipped: no cuDNN";
  using Ints = std::vector<int64_t>;
  const auto conv = [](const char* x, const char* w, const char* y, int64_t step) {
    return node(
        "Conv", {x, w, "b"}, {y},
        {onnx::attribute("pads", Ints{1, 1, 1, 1}), onnx::attribute("strides", Ints{step, step})});
  };
  onnx::Graph graph =
      onnx::graph({},
                  {node("Sigmoid", {"x"}, {"a"}), named("one", conv("a", "w1", "c", 2)),
                   node("Relu", {"c"}, {"d"}), named("two", conv("d", "w2", "e", 1)),
                   node("Add", {"e", "d"}, {"f"}), node("Relu", {"f"}, {"g"}),
                   node("GlobalAveragePool", {"g"}, {"y"})},
                  {"y"});
  onnx::ValueInfo info = onnx::value_info("x");
  info.type.shape = std::vector<onnx::Dimension>{{std::nullopt, "n"}, {64, ""}, {28, ""}, {28, ""}};
  graph.inputs = {std::move(info)};
  graph.initializers.push_back({.name = "w1", .tensor = random_tensor({128, 64, 3, 3}, 1)});
  graph.initializers.push_back({.name = "w2", .tensor = random_tensor({128, 128, 3, 3}, 2)});
  graph.initializers.push_back({.name = "b", .tensor = random_tensor({128}, 3)});
  for (const char* w : {"w1", "w2"})
    for (auto& initializer : graph.initializers)
      if (initializer.name == w)
        for (float& value : initializer.tensor.as<float>()) value /= 16;
  const std::string bytes = onnx::encode(onnx::model(graph));
  const auto cache_of = [&](Precision precision) {
    return (folder_.path() / std::to_string(static_cast<int>(precision))).string();
  };
  const auto load_network = [&](Precision precision, bool tune) {
    SessionOptions options;
    options.device = "cuda";
    options.precision = precision;
    options.cache_folder = cache_of(precision);
    options.tune = tune;
    return Session::load(onnx::bytes_of(bytes), options);
  };
  const Tensor x = random_tensor({4, 64, 28, 28}, 7);
  for (const Precision precision :
       {Precision::fp16, Precision::bf16, Precision::tf32, Precision::fp32}) {
    SCOPED_TRACE(static_cast<int>(precision));
    const std::vector<float> expected = run(load_network(precision, false), x);
    run(load_network(precision, true), x);
    const DiskCache cache({.folder = cache_of(precision)});
    int with_library = 0;
    for (const CacheEntry& entry : cache.list()) {
      if (entry.kind != "tuning") continue;
      const auto content = *cache.load(entry.key, "tuning");
      auto tuned = tuned_from_text({reinterpret_cast<const char*>(content.data()), content.size()});
      ASSERT_TRUE(tuned);
      with_library += tuned->by_library.has_value();
      tuned->own_us = 1e6;
      const std::string text = to_text(*tuned);
      ASSERT_TRUE(cache.store(entry.key, "tuning", std::as_bytes(std::span(text))));
    }
    // In fp32 and tf32 it may have no single kernel that computes what follows, too.
    const bool is_half = precision == Precision::fp16 || precision == Precision::bf16;
    EXPECT_GE(with_library, is_half ? 1 : 0);
    const Session session = load_network(precision, false);
    const std::vector<float> got = run(session, x);
    ASSERT_EQ(got.size(), expected.size());
    const float tolerance = precision == Precision::bf16 ? 0.03F : 0.004F;
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], tolerance * (1 + std::abs(expected[i])));
    int by_cudnn = 0;
    for (const std::string& way : ways(session, x)) by_cudnn += way.starts_with("cuDNN ");
    EXPECT_GE(by_cudnn, with_library ? 1 : 0);
  }
}

}  // namespace
}  // namespace onrush::cuda
