// Tuning and libraries on a GPU.
#include <cmath>
#include <fmt/format.h>
#include <random>

#include "../onnx/builders.h"
#include "backend/cuda/cublaslt.h"
#include "backend/cuda/cuda_executable.h"
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
  const auto products = library_->products(shape, 4);
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
    return [&, rounds, launches](const Stream& stream, bool) {
      for (int i = 0; i < launches; ++i)
        launch_with(spin, {{8}, {64}, {}, 0, false}, stream, memory.pointer(), rounds);
    };
  };
  const Candidate fails = [](const Stream&, bool) { throw Error(ErrorCode::device, "no"); };
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

}  // namespace
}  // namespace onrush::cuda
