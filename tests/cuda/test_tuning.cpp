// What tuning chooses and remembers, and contractions as products for libraries. Needs no GPU.
#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <random>

#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/libraries.h"
#include "backend/cuda/plan_text.h"
#include "codegen/cuda_tiles.h"
#include "cuda/emulator.h"
#include "cuda/support.h"
#include "fuse/fuse.h"
#include "ir/builder.h"
#include "optimize/pipeline.h"
#include "plan/placement.h"
#include "reference/evaluate.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#endif

namespace onrush::cuda {
namespace {

constexpr CudaTarget kHopper{132, true, true}, kAmpere{108, false, false};
constexpr ContractionTile kTile = {64, 32, 2, 1, 4, 8, 4, false},
                          kOtherTile = {16, 64, 1, 2, 4, 8, 4, false};
constexpr double kNever = std::numeric_limits<double>::infinity();

TunedContraction tuned_to(const TileChoice& choice) {
  return {"dot f16, 1 x 2 x 3 x 4", choice, 12.5, "", {}};
}

// --- the choice

TEST(Tuning, KeepsWhatItWouldHaveChosenAnywayUnlessAnotherIsClearlyFaster) {
  const std::vector<TimedChoice> close = {{{kTile, 1}, 10.0}, {{kOtherTile, 2}, 9.9}},
                                 clear = {{{kTile, 1}, 10.0}, {{kOtherTile, 2}, 9.0}},
                                 only = {{{kTile, 1}, kNever}, {{kOtherTile, 2}, 50}};
  EXPECT_EQ(best_of("", close, "", {}).own, (TileChoice{kTile, 1}));
  EXPECT_EQ(best_of("", clear, "", {}).own, (TileChoice{kOtherTile, 2}));
  EXPECT_EQ(best_of("", clear, "", {}).own_us, 9.0);
  EXPECT_EQ(best_of("", only, "", {}).own, (TileChoice{kOtherTile, 2}));
}

TEST(Tuning, PrefersALibraryThatIsClearlyFaster) {
  const std::vector<TimedChoice> own = {{{kTile, 1}, 10.0}};
  const auto prefers = [&](std::vector<TimedAlgorithm> timed) {
    return prefers_library(best_of("", own, "cuBLASLt 13.1.0", timed));
  };
  EXPECT_FALSE(prefers({}));
  EXPECT_FALSE(prefers({{"1", 11}, {"2", 10}}));
  EXPECT_FALSE(prefers({{"1", 9.9}}));
  EXPECT_TRUE(prefers({{"1", 9.5}}));
  EXPECT_TRUE(prefers({{"1", 12}, {"2", 8}}));
  const std::vector<TimedAlgorithm> two = {{"1", 12}, {"2", 8}};
  EXPECT_EQ(best_of("", own, "cuBLASLt 13.1.0", two).by_library->algorithm, "2");
  // One that is slow to start has to be worth that.
  const std::vector<TimedAlgorithm> little = {{"1", 9.5}}, much = {{"1", 8.5}};
  EXPECT_FALSE(prefers_library(best_of("", own, "cuDNN 9.19.0", little)));
  EXPECT_TRUE(prefers_library(best_of("", own, "cuDNN 9.19.0", much)));
}

TEST(Tuning, MeasuresFirstWhatTheModelOfTheDeviceChooses) {
  CudaKernel kernel;
  kernel.schedule = CudaSchedule::tile;
  kernel.math = ContractionMath::f16;
  kernel.factor_bytes = 2;
  kernel.grouping = Grouping::persistent;
  kernel.work = Extent(1), kernel.m = Extent(197), kernel.n = Extent(768), kernel.k = Extent(3072);
  const SizeTable sizes = ShapeContext().evaluate({});
  kernel.tile =
      choose_tile({1, 197, 768, 3072, 2, ContractionMath::f16, Grouping::persistent}, kHopper);
  const std::vector<TileChoice> choices = best_choices(kernel, sizes, kHopper, 8, 3);
  EXPECT_EQ(choices[0], choice_of(kernel, sizes, kHopper));
  EXPECT_LE(choices.size(), 8u);
  std::vector<ContractionTile> tiles;
  for (const TileChoice& choice : choices)
    if (std::find(tiles.begin(), tiles.end(), choice.tile) == tiles.end())
      tiles.push_back(choice.tile);
  EXPECT_EQ(tiles.size(), 3u);
  // Blocks of devices without clusters do not share tiles.
  for (const TileChoice& choice : best_choices(kernel, sizes, kAmpere, 8, 3))
    EXPECT_EQ(choice.cluster, 1);
  // What was chosen by measurement stays.
  kernel.tile = kOtherTile;
  kernel.cluster = 4;
  EXPECT_EQ(choice_of(kernel, sizes, kHopper), (TileChoice{kOtherTile, 4}));
  EXPECT_EQ(launch_tiles(kernel, sizes, kHopper).cluster, 4);
}

// --- what is kept

TEST(Tuning, TextKeepsEverything) {
  const ContractionTile persistent = tiles_for(ContractionMath::f16).back();
  EXPECT_TRUE(persistent.persistent);
  EXPECT_EQ(tuned_from_text(to_text(tuned_to({persistent, 2})))->own.tile, persistent);
  TunedContraction tuned = tuned_to({kTile, 8});
  for (const bool with_library : {false, true}) {
    if (with_library) {
      tuned.library = "cuBLASLt 13.1.0";
      tuned.by_library = {"41 2=0 14=3", 7.25};
    }
    const auto read = tuned_from_text(to_text(tuned));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->title, tuned.title);
    EXPECT_EQ(read->own, tuned.own);
    EXPECT_EQ(read->own_us, tuned.own_us);
    EXPECT_EQ(read->library, tuned.library);
    ASSERT_EQ(read->by_library.has_value(), with_library);
    if (!with_library) continue;
    EXPECT_EQ(read->by_library->algorithm, tuned.by_library->algorithm);
    EXPECT_EQ(read->by_library->us, tuned.by_library->us);
  }
}

TEST(Tuning, RefusesTextsThatAreNotItsOwn) {
  const std::string good = to_text(tuned_to({kTile, 2}));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    return text.replace(text.find(from), from.size(), to);
  };
  ASSERT_TRUE(tuned_from_text(good));
  EXPECT_FALSE(tuned_from_text(""));
  EXPECT_FALSE(tuned_from_text(good.substr(0, good.size() / 2)));
  EXPECT_FALSE(tuned_from_text(with("tuning 2", "tuning 1")));
  EXPECT_FALSE(tuned_from_text(with("64 32", "64 33")));  // there is no such tile
  EXPECT_FALSE(tuned_from_text(with(" 2 12.5", " 3 12.5")));
  EXPECT_FALSE(tuned_from_text(with(" 2 12.5", " x 12.5")));
  TunedContraction tuned = tuned_to({kTile, 1});
  tuned.library = "cuBLASLt 13.1.0";
  tuned.by_library = {"1", 3};
  const std::string text = to_text(tuned);
  EXPECT_FALSE(tuned_from_text(text.substr(0, text.rfind(' '))));
}

class TuningTableTest : public testing::Test {
 protected:
  TuningTable table(const std::string& device = "H200", bool measures = false) {
    return {cache_, device, measures};
  }
  std::filesystem::path entry() const {
    for (const auto& file : std::filesystem::directory_iterator(folder_.path()))
      if (file.path().extension() == ".tuning") return file.path();
    return {};
  }
  TemporaryFolder folder_;
  DiskCache cache_{{.folder = folder_.path().string()}};
  TuningKey key_{{1, 2}, {1, 197, 768, 3072}};
};

TEST_F(TuningTableTest, RemembersBetweenProcesses) {
  EXPECT_FALSE(table().is_used());
  EXPECT_TRUE(table("H200", true).is_used());
  table("H200", true).store(key_, tuned_to({kTile, 2}));
  EXPECT_TRUE(table().is_used());
  ASSERT_TRUE(table().find(key_));
  EXPECT_EQ(table().find(key_)->own, (TileChoice{kTile, 2}));
  EXPECT_FALSE(table("A100").find(key_));
  EXPECT_FALSE(table().find({{1, 2}, {1, 197, 768, 3073}}));
  EXPECT_FALSE(table().find({{1, 3}, {1, 197, 768, 3072}}));
  ASSERT_EQ(tuning_lines(cache_).size(), 1u);
  EXPECT_EQ(tuning_lines(cache_)[0],
            "dot f16, 1 x 2 x 3 x 4: tiles of 64 x 32 in clusters of 2 12.50 us");
}

TEST_F(TuningTableTest, MeasuresAgainWhatIsDamaged) {
  table("H200", true).store(key_, tuned_to({kTile, 2}));
  std::filesystem::resize_file(entry(), std::filesystem::file_size(entry()) - 3);
  EXPECT_FALSE(table().find(key_));
  EXPECT_TRUE(tuning_lines(cache_).empty());
  table("H200", true).store(key_, tuned_to({kOtherTile, 1}));
  ASSERT_TRUE(table().find(key_));
  EXPECT_EQ(table().find(key_)->own.tile, kOtherTile);
}

// --- plans

Tensor numbers(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.as<float>()) value = static_cast<float>(random() % 5) - 2;
  return tensor;
}

// The only contraction of a plan.
const StepKernel& contraction_of(const CudaPlan& plan) {
  const StepKernel* found = nullptr;
  for (const CudaStep& step : plan.steps())
    for (const StepKernel& kernel : step.kernels)
      if (std::holds_alternative<CudaContraction>(kernel.form)) found = &kernel;
  EXPECT_TRUE(found);
  return *found;
}

// y = x w + x', where x' and y are not the caller's, at m rows.
Graph linear(bool relu = false) {
  Builder b;
  const Dim m = b.shapes().symbol("m", {SymbolSource::Kind::extent, 0, 0}, 48);
  const NodeId x = b.input("x", {DType::f32, {m, 64}});
  const auto last = [&](NodeId from) { return b.reduce(ReduceKind::max, from, {1}); };
  NodeId y = b.matmul(x, b.constant(numbers({64, 40}, 1)));
  if (relu) y = b.max(y, b.scalar(DType::f32, 0));
  b.output("y", last(y));
  return b.finish();
}

TEST_F(TuningTableTest, PlansTakeTheTilesThatWereMeasured) {
  const TuningTable known = table("H200", true);
  const CudaPlan plan(fuse(optimize(linear())), Precision::fp16, kHopper, &known);
  const StepKernel& kernel = contraction_of(plan);
  const SizeTable sizes = sizes_at_hand(*plan.graph().shapes),
                  longer = plan.graph().shapes->evaluate(std::vector<int64_t>{56});
  const CudaKernel before = plan.variant(kernel, sizes).kernel;
  EXPECT_EQ(before.cluster, 0);
  const TileChoice measured = {before.tile == kTile ? kOtherTile : kTile, 2};
  known.store(*plan.tuning_key(kernel, sizes), tuned_to(measured));
  const CudaKernel& after = plan.variant(kernel, sizes).kernel;
  EXPECT_EQ((TileChoice{after.tile, after.cluster}), measured);
  EXPECT_EQ(launch_of(after, sizes, kHopper).cluster, 2);
  EXPECT_EQ(&plan.variant(kernel, sizes).kernel, &after);
  // Not at other sizes, nor for what is computed from it otherwise.
  EXPECT_EQ(plan.variant(kernel, longer).kernel.tile, before.tile);
  const CudaPlan other(fuse(optimize(linear(true))), Precision::fp16, kHopper, &known),
      wide(fuse(optimize(linear())), Precision::bf16, kHopper, &known);
  EXPECT_FALSE(other.tuned(contraction_of(other), sizes_at_hand(*other.graph().shapes)));
  EXPECT_FALSE(wide.tuned(contraction_of(wide), sizes_at_hand(*wide.graph().shapes)));
  const CudaPlan again(fuse(optimize(linear())), Precision::fp16, kHopper, &known);
  EXPECT_TRUE(again.tuned(contraction_of(again), sizes_at_hand(*again.graph().shapes)));
  EXPECT_NE(to_string(again).find("tuned: 12.50 us"), std::string::npos);
}

// Of an image of three channels: it has a kernel that is not cut into tiles.
TEST_F(TuningTableTest, KernelsWithoutTilesAreNotMeasured) {
  Builder b;
  const NodeId x = b.input("x", {DType::f32, {1, 3, 21, 23}}),
               w = b.constant(numbers({16, 7, 7, 3}, 1));
  b.output("y", b.conv(b.transpose(x, {0, 2, 3, 1}), w,
                       {{2, 2}, {1, 1}, {1, 1}, {3, 3}, {3, 3}, 1, DType::f32}));
  const TuningTable known = table("H200", true);
  const CudaPlan plan(fuse(optimize(b.finish())), Precision::fp16, kHopper, &known);
  const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
  const StepKernel& kernel = contraction_of(plan);
  EXPECT_EQ(plan.variant(kernel, sizes).kernel.schedule, CudaSchedule::window);
  EXPECT_FALSE(plan.tuning_key(kernel, sizes));
}

TEST_F(TuningTableTest, EveryTileComputesTheSame) {
  if (!Emulator::available()) GTEST_SKIP() << "skipped: no C++ compiler, or a sanitizer";
  const Graph graph = linear();
  std::vector<std::unique_ptr<TuningTable>> tables;
  std::vector<std::unique_ptr<CudaPlan>> plans;
  std::vector<std::pair<const CudaPlan*, SizeTable>> runs;
  for (const ContractionTile& tile : {kTile, kOtherTile}) {
    const std::string device = fmt::format("device {}", tables.size());
    tables.push_back(std::make_unique<TuningTable>(cache_, device, true));
    plans.push_back(std::make_unique<CudaPlan>(fuse(optimize(graph)), Precision::fp16, kAmpere,
                                               tables.back().get()));
    const CudaPlan& plan = *plans.back();
    const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
    tables.back()->store(*plan.tuning_key(contraction_of(plan), sizes), tuned_to({tile, 1}));
    EXPECT_EQ(plan.variant(contraction_of(plan), sizes).kernel.tile, tile);
    runs.emplace_back(&plan, sizes);
  }
  const Emulator emulator(runs);
  const std::vector<Tensor> inputs = {numbers({48, 64}, 3)};
  for (const auto& [plan, sizes] : runs) {
    const Tensor got = emulator.run(*plan, inputs, sizes)[0],
                 expected = evaluate(graph, inputs, sizes)[0];
    EXPECT_TRUE(std::ranges::equal(got.as<float>(), expected.as<float>()));
  }
}

// --- products for libraries

// The product as its description says, in f64, from the values of the graph's nodes.
std::vector<double> computed(const MatrixProduct& product, const SizeTable& sizes,
                             const std::map<uint32_t, Tensor>& values) {
  const auto at = [&](const MatrixProduct::Matrix& matrix, int64_t batch, int64_t row,
                      int64_t column) {
    if (matrix.across) std::swap(row, column);
    const int64_t index = sizes(matrix.offset) + batch * sizes(matrix.batch_stride) +
                          row * sizes(matrix.leading) + column;
    return static_cast<double>(
        values.at(matrix.node.index).as<float>()[static_cast<size_t>(index)]);
  };
  const int64_t ms = product.m.at(sizes), ns = product.n.at(sizes), ks = product.k.at(sizes);
  std::vector<double> result(static_cast<size_t>(values.at(product.result.node.index).count()));
  for (int64_t b = 0; b < product.batch.at(sizes); ++b)
    for (int64_t m = 0; m < ms; ++m)
      for (int64_t n = 0; n < ns; ++n) {
        double sum = 0;
        for (int64_t k = 0; k < ks; ++k) sum += at(product.lhs, b, m, k) * at(product.rhs, b, n, k);
        sum *= product.scale;
        if (product.addend) sum += at(*product.addend, b, m, n);
        if (product.bias)
          sum += static_cast<double>(
              values.at(product.bias->node.index)
                  .as<float>()[static_cast<size_t>(sizes(product.bias->offset) + n)]);
        if (product.relu) sum = std::max(sum, 0.0);
        result[static_cast<size_t>(sizes(product.result.offset) +
                                   b * sizes(product.result.batch_stride) +
                                   m * sizes(product.result.leading) + n)] = sum;
      }
  return result;
}

// What a library would compute in place of the only contraction of a graph without weights on the
// right; nothing where it cannot. Expects that it is what the graph says.
bool is_product(const Graph& graph) {
  const CudaPlan plan(fuse(optimize(graph)), Precision::tf32, kHopper);
  const auto product = as_matrix_product(std::get<CudaContraction>(contraction_of(plan).form));
  if (!product) return false;
  const SizeTable sizes = sizes_at_hand(*graph.shapes);
  std::vector<Tensor> inputs;
  std::map<uint32_t, Tensor> values;
  const Graph& optimized = plan.graph();
  for (const GraphInput& input : optimized.inputs)
    inputs.push_back(
        numbers(concrete_shape(input.type.shape, sizes), static_cast<unsigned>(inputs.size())));
  const Tensor expected = evaluate(graph, inputs, sizes)[0];
  for (uint32_t i = 0; i < optimized.nodes.size(); ++i) {
    if (const auto* input = std::get_if<InputAttr>(&optimized.nodes[i].attr))
      values[i] = inputs[static_cast<size_t>(input->index)];
    if (const auto* constant = std::get_if<ConstantAttr>(&optimized.nodes[i].attr))
      values[i] = constant->tensor;
  }
  values[product->result.node.index] = expected;
  const std::vector<double> got = computed(*product, sizes, values);
  EXPECT_TRUE(std::ranges::equal(got, expected.as<float>()));
  return true;
}

TEST(MatrixProducts, SayWhatContractionsCompute) {
  const auto check = [](auto&& build) {
    Builder b;
    build(b);
    return is_product(b.finish());
  };
  const auto input = [](Builder& b, const char* name, Dims shape) {
    return b.input(name, {DType::f32, std::move(shape)});
  };
  for (const bool batched : {false, true})
    for (const bool left_across : {false, true})
      for (const bool right_across : {false, true})
        EXPECT_TRUE(check([&](Builder& b) {
          const auto shape = [&](int64_t rows, int64_t columns, bool across) {
            Dims dims = {across ? columns : rows, across ? rows : columns};
            if (batched) dims.insert(dims.begin(), Dim(3));
            return dims;
          };
          const NodeId x = input(b, "x", shape(24, 40, left_across)),
                       y = input(b, "y", shape(16, 40, right_across));
          const int first = batched ? 1 : 0;
          const std::vector<int> batch = batched ? std::vector{0} : std::vector<int>{};
          b.output(
              "z",
              b.dot(x, y,
                    {batch, batch, {first + !left_across}, {first + !right_across}, DType::f32}));
        }));
  // Scaled; with bias, addend and activation in either order.
  EXPECT_TRUE(check([&](Builder& b) {
    const NodeId product = b.matmul(input(b, "x", {24, 40}), input(b, "y", {40, 16}));
    b.output("z", b.mul(product, b.scalar(DType::f32, 0.5)));
  }));
  for (const bool relu : {false, true})
    EXPECT_TRUE(check([&](Builder& b) {
      const NodeId product = b.matmul(input(b, "x", {24, 40}), input(b, "y", {40, 16}));
      const NodeId bias = b.constant(numbers({1, 16}, 5));
      NodeId sum = b.add(input(b, "r", {24, 16}), b.add(b.broadcast(bias, {24, 16}), product));
      if (relu) sum = b.max(b.scalar(DType::f32, 0), sum);
      b.output("z", sum);
    }));
  // Other functions, a product twice, a window.
  EXPECT_FALSE(check([&](Builder& b) {
    b.output("z", b.exp(b.matmul(input(b, "x", {24, 40}), input(b, "y", {40, 16}))));
  }));
  EXPECT_FALSE(check([&](Builder& b) {
    const NodeId product = b.matmul(input(b, "x", {24, 40}), input(b, "y", {40, 16}));
    b.output("z", b.mul(product, product));
  }));
  EXPECT_FALSE(check([&](Builder& b) {
    const NodeId product = b.matmul(input(b, "x", {24, 40}), input(b, "y", {40, 16}));
    b.output("z", b.max(product, b.scalar(DType::f32, -1)));
  }));
  EXPECT_FALSE(check([&](Builder& b) {
    b.output("z", b.conv(input(b, "x", {1, 9, 9, 8}), input(b, "w", {16, 3, 3, 8}),
                         {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 1, DType::f32}));
  }));
}

TEST(MatrixProducts, ReadPackedWeightsAndNothingOfTheCallers) {
  const Graph inner = linear();
  const CudaPlan plan(fuse(optimize(inner)), Precision::fp16, kHopper);
  const auto product = as_matrix_product(std::get<CudaContraction>(contraction_of(plan).form));
  // The left operand is an input of f32: a kernel has to round it.
  EXPECT_FALSE(product);
  const CudaPlan single(fuse(optimize(inner)), Precision::tf32, kHopper);
  const StepKernel& kernel = contraction_of(single);
  const auto packed = as_matrix_product(std::get<CudaContraction>(kernel.form));
  ASSERT_TRUE(packed);
  EXPECT_FALSE(packed->rhs.node.valid());
  EXPECT_EQ(packed->rhs.leading.value(), 64);
  EXPECT_FALSE(packed->rhs.across);
  EXPECT_EQ(packed->m.at(sizes_at_hand(*single.graph().shapes)), 48);
  // Its left operand is where the caller has it.
  EXPECT_FALSE(single.library_form(kernel, sizes_at_hand(*single.graph().shapes)));
}

// --- the library's interface

#if __has_include(<cublasLt.h>)
static_assert(sizeof(CublasLtAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(CublasLtResult) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(CublasLtResult, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(CublasLtResult, status) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(int{cublaslt::f32} == CUBLAS_COMPUTE_32F);
static_assert(int{cublaslt::f32_by_tf32} == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(int{cublaslt::r_32f} == CUDA_R_32F);
static_assert(int{cublaslt::r_16f} == CUDA_R_16F);
static_assert(int{cublaslt::r_16bf} == CUDA_R_16BF);
static_assert(int{cublaslt::no} == CUBLAS_OP_N);
static_assert(int{cublaslt::yes} == CUBLAS_OP_T);
static_assert(int{cublaslt::plain} == CUBLASLT_EPILOGUE_DEFAULT);
static_assert(int{cublaslt::relu} == CUBLASLT_EPILOGUE_RELU);
static_assert(int{cublaslt::bias} == CUBLASLT_EPILOGUE_BIAS);
static_assert(int{cublaslt::relu_bias} == CUBLASLT_EPILOGUE_RELU_BIAS);
static_assert(int{cublaslt::none} == CUBLASLT_REDUCTION_SCHEME_NONE);
static_assert(int{cublaslt::transpose_a} == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(int{cublaslt::transpose_b} == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(int{cublaslt::epilogue} == CUBLASLT_MATMUL_DESC_EPILOGUE);
static_assert(int{cublaslt::bias_pointer} == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(int{cublaslt::batch_count} == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT);
static_assert(int{cublaslt::batch_stride} == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(int{cublaslt::most_workspace_bytes} == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int{cublaslt::reduction_schemes} == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
static_assert(int{cublaslt::alignment_a} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(int{cublaslt::alignment_b} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(int{cublaslt::alignment_c} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(int{cublaslt::alignment_d} == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
#endif

TEST(CublasLtLibrary, HasEveryFunctionThatIsCalled) {
  const CublasLtLibrary& library = cublaslt_library();
  if (!library.search.library) {
    // One that is there and refused is a mistake of ours.
    for (const Attempt& attempt : library.search.tried)
      EXPECT_EQ(attempt.outcome.find("lacks"), std::string::npos) << attempt.outcome;
    GTEST_SKIP() << "skipped: no cuBLASLt";
  }
  EXPECT_TRUE(library.api.cublasLtMatmul);
  EXPECT_GE(library.api.cublasLtGetVersion(), 120000u);
}

}  // namespace
}  // namespace onrush::cuda
