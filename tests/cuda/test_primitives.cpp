// Scatters, sorts, scans and random numbers: their kernels compile, and compute
// what the evaluator does, on the host and on the GPU.
#include <cmath>
#include <fmt/format.h>
#include <set>

#include "backend/cuda/compiler.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_plan.h"
#include "cuda/emulator.h"
#include "cuda/gpu.h"
#include "cuda/primitive_cases.h"
#include "fuse/fuse.h"

namespace onrush::cuda {
namespace {

constexpr CudaTarget kAmpere{108, false, false};

SizeTable sizes_of(const Graph& graph, int64_t size) {
  return graph.shapes->evaluate(std::vector<int64_t>{size});
}

TEST(Primitives, ComputeWhatTheEvaluatorDoesOnTheHost) {
  if (!Emulator::available()) GTEST_SKIP() << "skipped: no C++ compiler";
  const std::vector<PrimitiveCase> cases = PrimitiveCases::all(false);
  std::vector<std::unique_ptr<CudaPlan>> plans;
  std::vector<std::pair<const CudaPlan*, SizeTable>> runs;
  for (const PrimitiveCase& c : cases) {
    plans.push_back(std::make_unique<CudaPlan>(fuse(c.graph), Precision::fp32, kAmpere));
    for (const int64_t size : c.sizes)
      runs.emplace_back(plans.back().get(), sizes_of(plans.back()->graph(), size));
  }
  const Emulator emulator(runs);
  auto run = runs.begin();
  for (const PrimitiveCase& c : cases)
    for (const int64_t size : c.sizes) {
      SCOPED_TRACE(fmt::format("{} of size {}", c.name, size));
      const std::vector<Tensor> inputs = c.inputs(size);
      const std::vector<Tensor> expected = evaluate(c.graph, inputs, sizes_of(c.graph, size));
      const std::vector<Tensor> got = emulator.run(*run->first, inputs, run->second);
      ++run;
      for (size_t k = 0; k < got.size(); ++k) expect_same(got[k], expected[k]);
      if (testing::Test::HasFatalFailure()) return;
    }
}

TEST(Primitives, Compile) {
  if (!nvrtc_library().search.library) GTEST_SKIP() << "skipped: no NVRTC";
  std::vector<Header> headers;
  for (const DeviceHeader& header : cuda_device_headers())
    headers.push_back({std::string(header.name), std::string(header.text)});
  const Compiler compiler(nvrtc_api(), headers);
  std::set<std::string> distinct;
  for (const PrimitiveCase& c : PrimitiveCases::all(false)) {
    const CudaPlan plan(fuse(c.graph), Precision::fp32, kAmpere);
    for (const size_t text : plan.texts_at_hand()) distinct.insert(plan.text(text));
  }
  const std::vector<std::string> texts(distinct.begin(), distinct.end());
  for (const bool wide : {false, true}) {
    constexpr size_t kKernels = 32;  // of one program
    std::vector<Source> sources;
    for (size_t first = 0; first < texts.size(); first += kKernels) {
      const std::span<const std::string> part(texts.data() + first,
                                              std::min(kKernels, texts.size() - first));
      sources.push_back({"kernels.cu", cuda_program(part, wide), {}});
    }
    EXPECT_NO_THROW(compiler.compile_all(sources, wide ? "sm_90a" : "sm_80"));
  }
}

class PrimitivesOnGpu : public GpuTest {};

// Parts of the cases, to be run side by side: most of the time goes into compiling.
constexpr size_t kParts = 12;
class PrimitiveCasesOnGpu : public GpuTest, public testing::WithParamInterface<size_t> {};
INSTANTIATE_TEST_SUITE_P(Part, PrimitiveCasesOnGpu, testing::Range(size_t{0}, kParts));

TEST_P(PrimitiveCasesOnGpu, ComputeWhatTheEvaluatorDoes) {
  const auto backend = make_cuda_backend({.optimize = false, .precision = Precision::fp32});
  const std::vector<PrimitiveCase> cases = PrimitiveCases::all(true);
  for (size_t i = GetParam(); i < cases.size(); i += kParts) {
    const PrimitiveCase& c = cases[i];
    const auto executable = backend->compile(c.graph);
    for (const auto& step : executable->profiled_steps()) ASSERT_NE(step->kind, "host") << c.name;
    for (const int64_t size : c.sizes) {
      SCOPED_TRACE(fmt::format("{} of size {}", c.name, size));
      const std::vector<Tensor> inputs = c.inputs(size);
      const SizeTable sizes = sizes_of(c.graph, size);
      const std::vector<Tensor> expected = evaluate(c.graph, inputs, sizes);
      const auto binding = executable->bind(sizes);
      for (int run = 0; run < 3; ++run) {  // launched, recorded, replayed
        RunState state;
        std::vector<Tensor> outputs(expected.size());
        binding->run(state, inputs, outputs);
        for (size_t k = 0; k < outputs.size(); ++k) expect_same(outputs[k], expected[k]);
      }
    }
  }
}

TEST_F(PrimitivesOnGpu, DrawOtherNumbersInEachRun) {
  Builder b;
  const Dim n = b.shapes().symbol("n", {SymbolSource::Kind::extent, 0, 0}, 5);
  b.input("x", {DType::f32, {n}});
  b.output("y", b.random_bits({n}, {0, 0, false}));
  const auto backend = make_cuda_backend({.precision = Precision::fp32});
  const Graph graph = b.finish();
  const auto binding = backend->compile(graph)->bind(sizes_of(graph, 16));
  std::set<std::vector<uint32_t>> draws;
  for (int run = 0; run < 5; ++run) {
    RunState state;
    std::vector<Tensor> outputs(1);
    binding->run(state, std::vector<Tensor>{elements(DType::f32, {16}, Elements::few, 1)}, outputs);
    draws.insert({outputs[0].as<uint32_t>().begin(), outputs[0].as<uint32_t>().end()});
  }
  EXPECT_EQ(draws.size(), 5u);
}

TEST_F(PrimitivesOnGpu, ReportAnIndexOutOfRange) {
  Builder b;
  const Dim n = b.shapes().symbol("n", {SymbolSource::Kind::extent, 1, 0}, 5);
  const NodeId data = b.input("data", {DType::f32, {4}}), x = b.input("x", {DType::f32, {n}}),
               index = b.input("index", {DType::i64, {n}});
  b.output("y", b.scatter(data, x, {&index, 1}, {~0}, ScatterKind::add));
  const auto backend = make_cuda_backend({.precision = Precision::fp32});
  const Graph graph = b.finish();
  const auto binding = backend->compile(graph)->bind(sizes_of(graph, 2));
  const auto run = [&](std::vector<int64_t> at) {
    RunState state;
    std::vector<Tensor> outputs(1);
    binding->run(state,
                 std::vector<Tensor>{elements(DType::f32, {4}, Elements::few, 1),
                                     elements(DType::f32, {2}, Elements::few, 2),
                                     Tensor::of<int64_t>(DType::i64, {2}, at)},
                 outputs);
  };
  EXPECT_NO_THROW(run({0, 3}));
  EXPECT_THROW(run({0, 4}), Error);
  EXPECT_THROW(run({-1, 0}), Error);
  EXPECT_NO_THROW(run({3, 3}));
}

}  // namespace
}  // namespace onrush::cuda
