// Kernels of whole networks, printed and compiled for each architecture. Needs no GPU.
#include <algorithm>
#include <ctime>
#include <fmt/format.h>
#include <map>
#include <optional>
#include <set>

#include "backend/cuda/compiler.h"
#include "backend/cuda/cuda_plan.h"
#include "codegen/cuda_tiles.h"
#include "cuda/support.h"
#include "fuse/fuse.h"
#include "ir/builder.h"
#include "lower/lower.h"
#include "onnx/decode.h"
#include "onnx/inline_functions.h"
#include "optimize/pipeline.h"
#include "plan/placement.h"

namespace onrush::cuda {
namespace {

constexpr CudaTarget kHopper{132, true, true}, kAmpere{108, false, false};

struct Network {
  std::string name;
  std::map<std::string, Shape> inputs;
};
Network image(const std::string& name) { return {name, {{"input", {1, 3, 224, 224}}}}; }
Network text(int64_t length) {
  return {"bert_base",
          {{"input_ids", {1, length}},
           {"attention_mask", {1, length}},
           {"token_type_ids", {1, length}}}};
}

// Numbers of any kind, but not all the same: those would be no weights to read.
Tensor some_weights(DType dtype, const Shape& shape) {
  Tensor weights(dtype, shape);
  if (dtype == DType::f32)
    for (int64_t i = 0; i < weights.count(); ++i)
      weights.as<float>()[static_cast<size_t>(i)] = static_cast<float>(i % 7 + 1) / 8;
  return weights;
}

// filled: whether absent weights have values.
Schedule schedule_of(const Network& network, bool filled = false) {
  onnx::LoadOptions options;
  options.allow_missing_external_data = true;
  onnx::Model model = onnx::load(fmt::format("{}/{}.onnx", MODELS, network.name), options);
  onnx::inline_functions(model);
  onrush::Environment weights;
  for (const auto& initializer : model.graph.initializers) {
    const Tensor& t = initializer.tensor;
    const bool absent = !t.data() && t.count();
    weights.set_constant(initializer.name, !absent  ? t
                                           : filled ? some_weights(t.dtype(), t.shape())
                                                    : Tensor(t.dtype(), t.shape()));
  }
  onrush::Environment environment(&weights);
  for (const auto& input : model.graph.inputs)
    if (const auto shape = network.inputs.find(input.name); shape != network.inputs.end())
      environment.set(input.name, Tensor(input.type.element, shape->second));
  std::vector<NodePtr> nodes;
  for (const onnx::Node& node : model.graph.nodes) nodes.push_back(NodePtr(NodePtr(), &node));
  std::vector<std::string> outputs;
  for (const auto& output : model.graph.outputs) outputs.push_back(output.name);
  return fuse(optimize(lower({&model, nodes, outputs}, environment).graph));
}

// The first kernels of each schedule that a plan has, by schedule and whether warpgroups multiply.
std::vector<std::string> one_of_each_family(const CudaPlan& plan) {
  std::vector<std::string> texts;
  std::set<std::pair<CudaSchedule, bool>> seen;
  const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
  for (const CudaStep& step : plan.steps())
    for (const StepKernel& kernel : step.kernels) {
      const KernelVariant& variant = plan.variant(kernel, sizes);
      if (seen.insert({variant.kernel.schedule, variant.kernel.tile.group}).second)
        texts.push_back(plan.text(variant.text));
    }
  return texts;
}

std::vector<Header> headers() {
  std::vector<Header> result;
  for (const DeviceHeader& header : cuda_device_headers())
    result.push_back({std::string(header.name), std::string(header.text)});
  return result;
}

size_t kernels_of_run(const CudaPlan& plan) {
  size_t count = 0;
  for (const CudaStep& step : plan.steps()) count += step.kernels.size();
  return count;
}

size_t attentions(const CudaPlan& plan) {
  size_t count = 0;
  for (const CudaStep& step : plan.steps())
    for (const StepKernel& kernel : step.kernels)
      count += std::holds_alternative<CudaAttention>(kernel.form);
  return count;
}

TEST(CudaPlan, ComputesAttentionAsOneKernel) {
  for (const Network& network :
       {text(128), image("vit_b_16"), Network{"gpt2", {{"input_ids", {1, 128}}}}}) {
    const CudaPlan narrow(schedule_of(network), Precision::fp16, kHopper);
    EXPECT_EQ(attentions(narrow), 12u) << network.name;
    // Factors of 32 bits do not fit its registers.
    const CudaPlan wide(schedule_of(network), Precision::tf32, kHopper);
    EXPECT_EQ(attentions(wide), 0u) << network.name;
    EXPECT_EQ(kernels_of_run(wide), kernels_of_run(narrow) + 24) << network.name;
    // It is known by the nodes of all that it stands for.
    for (const CudaStep& step : narrow.steps())
      if (std::holds_alternative<Attention>(step.step.kernel)) {
        EXPECT_EQ(step.step.profiled->kind, "attention");
        EXPECT_GE(step.step.profiled->nodes.size(), 3u);
      }
  }
}

TEST(CudaPlan, ComputesOnceABindingWhatDependsOnSizesAlone) {
  const CudaPlan plan(schedule_of({"gpt2", {{"input_ids", {1, 128}}}}), Precision::fp16, kHopper);
  EXPECT_FALSE(plan.bind_steps().empty());  // the causal mask
  for (const CudaStep& step : plan.steps())
    EXPECT_FALSE(step.kernels.empty()) << "a step of the run is left to the host";
}

TEST(CudaPlan, KeepsItsKernelsForOtherLengths) {
  const CudaPlan plan(schedule_of(text(128)), Precision::fp16, kHopper);
  std::vector<int64_t> symbols;
  for (const Symbol& symbol : plan.graph().shapes->symbols())
    symbols.push_back(symbol.value == 128 ? 136 : symbol.value);
  const SizeTable longer = plan.graph().shapes->evaluate(symbols);
  const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
  for (const CudaStep& step : plan.steps())
    for (const StepKernel& kernel : step.kernels)
      EXPECT_EQ(&plan.variant(kernel, sizes), &plan.variant(kernel, longer));
}

// A binding at any length finds kernels that are there already.
TEST(CudaPlan, HasKernelsForAnyLength) {
  const CudaPlan plan(schedule_of(text(128)), Precision::fp16, kHopper);
  const size_t at_hand = plan.texts_at_hand().size();
  const std::vector<size_t> any = plan.texts_for_any_size();
  EXPECT_FALSE(any.empty());
  EXPECT_LE(any.size(), at_hand);
  for (int64_t length = 1; length <= 512; length += length < 40 ? 1 : 59) {
    std::vector<int64_t> symbols;
    for (const Symbol& symbol : plan.graph().shapes->symbols())
      symbols.push_back(symbol.value == 128 ? length : symbol.value);
    const SizeTable sizes = plan.graph().shapes->evaluate(symbols);
    for (const auto* steps : {&plan.bind_steps(), &plan.steps()})
      for (const CudaStep& step : *steps)
        for (const StepKernel& kernel : step.kernels) {
          const std::vector<const KernelVariant*> found = plan.stand_ins(kernel, sizes);
          ASSERT_FALSE(found.empty()) << length;
          EXPECT_TRUE(std::ranges::binary_search(any, found.back()->text)) << length;
        }
  }
}

TEST(CudaPlan, NeedsNoOtherKernelsWhereSizesAreConstant) {
  Builder b;
  const NodeId x = b.input("x", {DType::f32, {4, 5}});
  b.output("y", b.reduce(ReduceKind::sum, x, {1}));
  EXPECT_TRUE(
      CudaPlan(fuse(optimize(b.finish())), Precision::fp32, kHopper).texts_for_any_size().empty());
}

TEST(CudaPlan, StoresNarrowWhatOnlyKernelsSee) {
  const CudaPlan plan(schedule_of(image("resnet50")), Precision::fp16, kHopper);
  for (const CudaStep& step : plan.steps())
    for (NodeId node : step.step.group->outputs) {
      const auto& outputs = plan.graph().outputs;
      const bool given = std::any_of(outputs.begin(), outputs.end(),
                                     [&](const GraphOutput& o) { return o.node == node; });
      EXPECT_EQ(plan.storage(node), given ? DType::f32 : DType::f16);
    }
}

// Every distinct kernel for the H200 and the A100, and one of each family for the others.
TEST(CudaPlan, CompilesForEveryArchitecture) {
  if (!nvrtc_library().search.library) GTEST_SKIP() << "skipped: no NVRTC";
  const Compiler compiler(nvrtc_api(), headers());
  std::map<std::string, std::set<std::string>> texts;  // by architecture
  for (const Precision precision :
       {Precision::fp16, Precision::bf16, Precision::tf32, Precision::fp32})
    for (const Network& network : {image("mobilenet_v3_large"), image("vit_b_16"), text(128)}) {
      if (precision == Precision::bf16 && network.name != "bert_base") continue;
      const CudaPlan hopper(schedule_of(network), precision, kHopper);
      const CudaPlan ampere(schedule_of(network), precision, kAmpere);
      for (size_t index : hopper.texts_at_hand()) texts["sm_90a"].insert(hopper.text(index));
      for (size_t index : hopper.texts_for_any_size()) texts["sm_90a"].insert(hopper.text(index));
      for (size_t index : ampere.texts_at_hand()) texts["sm_80"].insert(ampere.text(index));
      if (precision != Precision::fp16) continue;
      for (const std::string& one : one_of_each_family(ampere))
        for (const char* architecture : {"sm_86", "sm_89", "sm_100", "sm_120"})
          texts[architecture].insert(one);
    }
  for (const auto& [architecture, distinct] : texts) {
    const int number = std::atoi(architecture.c_str() + 3);
    const std::vector<int>& known = compiler.architectures();
    if (std::find(known.begin(), known.end(), number) == known.end()) continue;
    constexpr size_t kKernels = 8;  // of one program
    const std::vector<std::string> all(distinct.begin(), distinct.end());
    std::vector<Source> sources;
    for (size_t first = 0; first < all.size(); first += kKernels) {
      const size_t count = std::min(kKernels, all.size() - first);
      const std::span<const std::string> part(all.data() + first, count);
      sources.push_back({"kernels.cu", cuda_program(part, false), {}});
      if (first == 0) sources.push_back({"wide.cu", cuda_program(part, true), {}});
    }
    EXPECT_NO_THROW(compiler.compile_all(sources, architecture)) << architecture;
  }
}

double thread_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Compiled in parallel, a network is ready in less than a second.
TEST(CudaPlan, IsFewProgramsThatCompileFast) {
  constexpr size_t kMostPrograms = 16;
  constexpr double kMostSeconds = 2;  // 0.5 on a processor that nobody else uses, and no sanitizer
  std::optional<Compiler> compiler;
  if (nvrtc_library().search.library) compiler.emplace(nvrtc_api(), headers());
  for (const Network& network :
       {image("resnet50"), image("mobilenet_v3_large"), image("efficientnet_b0"), image("vit_b_16"),
        image("convnext_tiny"), text(128), Network{"gpt2", {{"input_ids", {1, 128}}}}}) {
    SCOPED_TRACE(network.name);
    const CudaPlan plan(schedule_of(network), Precision::fp16, kHopper);
    const std::vector<size_t> texts = plan.texts_at_hand();
    const auto programs = plan.programs(texts);
    EXPECT_LE(programs.size(), kMostPrograms);
    std::vector<size_t> all;
    for (const std::vector<size_t>& program : programs)
      all.insert(all.end(), program.begin(), program.end());
    std::sort(all.begin(), all.end());
    EXPECT_EQ(all, texts);
    EXPECT_EQ(plan.programs(std::vector<size_t>(texts.rbegin(), texts.rend())), programs);
    if (!compiler) continue;
    for (const std::vector<size_t>& program : programs) {
      std::vector<std::string> own;
      for (size_t index : program) own.push_back(plan.text(index));
      const auto compile = [&] {
        const double start = thread_seconds();
        compiler->compile({"plan.cu", cuda_program(own, false), {}}, "sm_90a");
        return thread_seconds() - start;
      };
      // The first may start the compiler, or share its processor with others.
      double seconds = compile();
      for (int again = 0; again < 2 && seconds > kMostSeconds; ++again) seconds = compile();
      EXPECT_LE(seconds, kMostSeconds) << program.size() << " kernels, the first is\n" << own[0];
    }
  }
  if (!compiler) GTEST_SKIP() << "skipped: no NVRTC";
}

// All but the first, which reads the model's input, with what follows them.
TEST(CudaPlans, LibrariesMayComputeTheConvolutionsOfANetwork) {
  for (const Precision precision : {Precision::fp16, Precision::tf32}) {
    const CudaPlan plan(schedule_of(image("resnet50"), true), precision, kHopper);
    const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
    int contractions = 0, products = 0, convolutions = 0, with_addend = 0, with_relu = 0;
    for (const CudaStep& step : plan.steps())
      for (const StepKernel& kernel : step.kernels) {
        const auto* contraction = std::get_if<CudaContraction>(&kernel.form);
        if (!contraction) continue;
        ++contractions;
        const auto form = plan.library_form(kernel, sizes);
        if (!form) continue;
        EXPECT_TRUE(operands_of(*form).bias);
        products += std::holds_alternative<MatrixProduct>(*form);
        with_addend += operands_of(*form).addend.has_value();
        const auto as_any = as_convolution(*contraction, sizes);
        ASSERT_TRUE(as_any);
        with_relu += as_any->relu;
        const auto* convolution = std::get_if<Convolution>(&*form);
        if (!convolution) continue;
        ++convolutions;
        EXPECT_EQ(convolution->image.strides[1], 1);
        EXPECT_EQ(convolution->filter.strides[1], 1);
        EXPECT_EQ(convolution->result.strides[1], 1);
      }
    EXPECT_EQ(contractions, 54);
    EXPECT_EQ(convolutions, 16 + 3);  // of 3 x 3, and those in steps of 2
    EXPECT_EQ(products, 32 + 1);
    EXPECT_EQ(with_addend, 16);
    EXPECT_EQ(with_relu, 48);
  }
}

TEST(Tiles, FollowTheSize) {
  const auto tile = [](int64_t m, int64_t n, int64_t k) {
    return choose_tile({1, m, n, k, 2, ContractionMath::f16, Grouping::blocks}, kHopper);
  };
  const ContractionTile large = tile(4096, 4096, 4096), small = tile(1, 1000, 2048);
  EXPECT_TRUE(large.group);
  EXPECT_GE(large.m * large.n, 128 * 128);
  EXPECT_EQ(small.m, 16);
  // Without warpgroups none of their tiles is chosen.
  const ContractionSize none{1, 4096, 4096, 4096, 2, ContractionMath::f16, Grouping::none};
  EXPECT_FALSE(choose_tile(none, kAmpere).group);
  // Blocks that stay pay where there are many tiles for each.
  ContractionSize size{1, 4096, 4096, 4096, 2, ContractionMath::f16, Grouping::persistent};
  EXPECT_TRUE(choose_tile(size, kHopper).persistent);
  size.m = 128;
  EXPECT_FALSE(choose_tile(size, kHopper).persistent);
  // 16 x 4 tiles are one for each pair; of 16 x 6 some pairs have two.
  size = {1, 4096, 768, 3072, 2, ContractionMath::f16, Grouping::persistent};
  EXPECT_EQ(choose_tile(size, kHopper).n, 192);
}

}  // namespace
}  // namespace onrush::cuda
