// The generated kernels, run on the host, compute what the evaluator does.
#include <cmath>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <random>

#include "../optimize/random_graph.h"
#include "cuda/emulator.h"
#include "fuse/fuse.h"
#include "optimize/pipeline.h"
#include "plan/placement.h"

namespace onrush::cuda {
namespace {

constexpr CudaTarget kAmpere{108, false, false};

class Emulated : public testing::Test {
 protected:
  void SetUp() override {
    if (!Emulator::available()) GTEST_SKIP() << "skipped: no C++ compiler, or a sanitizer";
  }
};

// Compares the kernels of random graphs, numbered from `first`, with the evaluator.
void check_random_graphs(unsigned first, unsigned end, Emulator::Kernels kernels) {
  std::vector<std::unique_ptr<CudaPlan>> plans;
  std::vector<std::pair<const CudaPlan*, SizeTable>> runs;
  const auto check = [&](unsigned seed, const Case::Compile& compile) {
    SCOPED_TRACE(seed);
    RandomGraph(seed).check(2 + static_cast<int>(seed % 12), compile);
  };
  // All kernels are one program: what is to be run is found out first.
  for (unsigned seed = first; seed < end; ++seed)
    check(seed, [&](const Graph& graph) {
      plans.push_back(std::make_unique<CudaPlan>(fuse(optimize(graph)), Precision::fp32, kAmpere));
      return [&, plan = plans.back().get(), graph](std::span<const Tensor> inputs,
                                                   const SizeTable& sizes) {
        runs.emplace_back(plan, sizes);
        return evaluate(graph, inputs, sizes);
      };
    });
  const Emulator emulator(runs, kernels);
  auto next = runs.begin();
  for (unsigned seed = first; seed < end && !testing::Test::HasFailure(); ++seed)
    check(seed, [&](const Graph&) {
      return [&](std::span<const Tensor> inputs, const SizeTable&) {
        const auto& [plan, sizes] = *next++;
        return emulator.run(*plan, inputs, sizes);
      };
    });
  EXPECT_EQ(next, runs.end());
}

TEST_F(Emulated, RandomGraphs) { check_random_graphs(0, 120, Emulator::Kernels::best); }

TEST_F(Emulated, RandomGraphsByKernelsForAnySize) {
  check_random_graphs(120, 200, Emulator::Kernels::any_size);
}

// Small integers, whose products and sums are exact in every precision.
Tensor integers(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.as<float>()) value = static_cast<float>(random() % 5) - 2;
  return tensor;
}

std::string name(Precision precision) {
  switch (precision) {
    case Precision::fp32: return "fp32";
    case Precision::fp16: return "fp16";
    case Precision::bf16: return "bf16";
    default: return "tf32";
  }
}

// Graphs whose inputs are integers, in several precisions; run together.
class Products {
 public:
  // `inputs`: their shapes at one size, which the graph's only symbol stands for.
  void add(std::string what, const Graph& graph, const std::vector<int64_t>& sizes,
           const std::vector<Precision>& precisions,
           const std::function<std::vector<Shape>(int64_t)>& inputs) {
    for (const Precision precision : precisions) {
      plans_.push_back(std::make_unique<CudaPlan>(fuse(optimize(graph)), precision, kAmpere));
      for (const int64_t size : sizes)
        cases_.push_back({fmt::format("{} in {}, size {}", what, name(precision), size), graph,
                          plans_.back().get(), graph.shapes->evaluate(std::vector{size}),
                          inputs(size)});
    }
  }

  void expect_all_have(CudaSchedule schedule) const {
    for (const Product& c : cases_)
      EXPECT_TRUE(std::ranges::any_of(c.plan->steps(), [&](const CudaStep& step) {
        return std::ranges::any_of(step.kernels, [&](const StepKernel& kernel) {
          return c.plan->variant(kernel, c.sizes).kernel.schedule == schedule;
        });
      })) << c.what;
  }

  // Expects results that differ by no more than `tolerance`.
  void check(double tolerance) const {
    check(tolerance, cases_, Emulator::Kernels::best);
    std::vector<Product> some;  // kernels take long to compile
    for (size_t i = 0; i < cases_.size(); i += 4) some.push_back(cases_[i]);
    check(tolerance, some, Emulator::Kernels::any_size);
  }

 private:
  struct Product {
    std::string what;
    Graph graph;
    const CudaPlan* plan;
    SizeTable sizes;
    std::vector<Shape> inputs;
  };

  static void check(double tolerance, const std::vector<Product>& cases,
                    Emulator::Kernels kernels) {
    std::vector<std::pair<const CudaPlan*, SizeTable>> runs;
    for (const Product& c : cases) runs.emplace_back(c.plan, c.sizes);
    const Emulator emulator(runs, kernels);
    for (const Product& c : cases) {
      SCOPED_TRACE(c.what);
      std::vector<Tensor> inputs;
      for (const Shape& shape : c.inputs)
        inputs.push_back(integers(shape, static_cast<unsigned>(inputs.size())));
      const std::vector<Tensor> expected = evaluate(c.graph, inputs, c.sizes),
                                got = emulator.run(*c.plan, inputs, c.sizes);
      for (size_t i = 0; i < got.size(); ++i) {
        const std::span<float> a = got[i].as<float>(), b = expected[i].as<float>();
        ASSERT_EQ(a.size(), b.size());
        for (size_t j = 0; j < a.size(); ++j)
          ASSERT_LE(std::abs(a[j] - b[j]), tolerance) << "element " << j << " of " << a.size();
      }
    }
  }

  std::vector<std::unique_ptr<CudaPlan>> plans_;
  std::vector<Product> cases_;
};

const std::vector<Precision> kAll = {Precision::fp32, Precision::tf32, Precision::fp16,
                                     Precision::bf16};

Dim symbol(Builder& b, int64_t at_hand) {
  return b.shapes().symbol("n", {SymbolSource::Kind::extent, 0, 0}, at_hand);
}

TEST_F(Emulated, MatrixProducts) {
  Products products;
  for (const int64_t k : {1, 7, 72})
    for (const int64_t n : {3, 72}) {
      Builder b;
      const Dim m = symbol(b, 37);
      const NodeId x = b.input("x", {DType::f32, {m, k}}), y = b.input("y", {DType::f32, {k, n}});
      const NodeId product = b.matmul(x, y), weights = b.matmul(x, b.constant(integers({k, n}, 9)));
      b.output("product", b.add(product, weights));
      b.output("transposed", b.dot(y, x, {{}, {}, {0}, {1}, DType::f32}));
      products.add(fmt::format("{} x {}", k, n), b.finish(), {0, 1, 37}, kAll, [=](int64_t size) {
        return std::vector<Shape>{{size, k}, {k, n}};
      });
    }
  products.check(0);
}

// Sums of 8-bit integers are integers in every precision, and padding is what it is told.
TEST_F(Emulated, IntegerProducts) {
  Products products;
  const auto bytes = [](const Shape& shape, unsigned seed) {
    const Tensor floats = integers(shape, seed);
    Tensor result(DType::i8, shape);
    for (size_t i = 0; i < result.as<int8_t>().size(); ++i)
      result.as<int8_t>()[i] = static_cast<int8_t>(31 * floats.as<float>()[i]);
    return result;
  };
  Builder b;
  const Dim m = symbol(b, 5);
  const auto narrow = [&](NodeId x, DType dtype) {
    return b.cast(b.add(b.mul(x, b.like(x, 20)), b.like(x, 100)), dtype);
  };
  const NodeId x = narrow(b.input("x", {DType::f32, {m, 40}}), DType::u8);
  const NodeId image = narrow(b.input("image", {DType::f32, {1, m, 6, 8}}), DType::u8);
  const NodeId padded = b.pad(image, b.scalar(DType::u8, 7), {0, 1, 1, 0}, {0, 1, 1, 0});
  const auto real = [&](NodeId sums) { return b.cast(sums, DType::f32); };
  b.output("product",
           real(b.dot(x, b.constant(bytes({40, 24}, 9)), {{}, {}, {1}, {0}, DType::i32})));
  b.output("conv", real(b.conv(padded, b.constant(bytes({12, 3, 3, 8}, 8)),
                               {{1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}, 1, DType::i32})));
  products.add("bytes", b.finish(), {1, 5}, {Precision::fp32, Precision::bf16}, [](int64_t size) {
    return std::vector<Shape>{{size, 40}, {1, size, 6, 8}};
  });
  products.check(0);
}

TEST_F(Emulated, Concatenations) {
  Products products;
  Builder b;
  const Dim m = symbol(b, 37);
  const NodeId x = b.input("x", {DType::f32, {m, 8}});
  const NodeId first = b.matmul(x, b.constant(integers({8, 16}, 9)));
  const NodeId rows[] = {first, b.matmul(first, b.constant(integers({16, 32}, 8)))};
  const NodeId wide = b.concat(rows, 1);
  const NodeId whole[] = {b.matmul(wide, b.constant(integers({48, 16}, 7))), first};
  b.output("y", b.concat(whole, 0));
  products.add("parts", b.finish(), {1, 37}, {Precision::fp32}, [](int64_t size) {
    return std::vector<Shape>{{size, 8}};
  });
  for (const int64_t half : {3, 16}) {  // rotary embeddings turn the halves of heads
    Builder c;
    const Dim n = symbol(c, 5);
    const NodeId q = c.input("q", {DType::f32, {n, 2, 2 * half}}),
                 angle = c.input("angle", {DType::f32, {n, 1, half}});
    const NodeId turned[] = {c.neg(c.slice_axis(q, 2, half, half)), c.slice_axis(q, 2, 0, half)},
                 twice[] = {angle, angle};
    const NodeId angles = c.concat(twice, 2);
    c.output("y", c.add(c.mul(q, angles), c.mul(c.concat(turned, 2), c.add(angles, q))));
    products.add(fmt::format("halves of {}", half), c.finish(), {1, 5}, {Precision::fp32},
                 [=](int64_t size) {
                   return std::vector<Shape>{{size, 2, 2 * half}, {size, 1, half}};
                 });
  }
  products.check(0);
}

// Of lengths that parts of a warp, a warp and a block share, with and without a remainder.
TEST_F(Emulated, Rows) {
  Products products;
  for (const int64_t length : {8, 24, 96, 100, 192, 384, 1032}) {
    Builder b;
    const Dim m = symbol(b, 37);
    const NodeId x = b.input("x", {DType::f32, {m, 8}});
    const NodeId rows = b.matmul(x, b.constant(integers({8, length}, 9)));
    const NodeId total = b.reduce(ReduceKind::sum, rows, {1});
    const NodeId centred = b.sub(rows, b.broadcast(total, {m, length}));
    b.output("total", total);
    b.output("least", b.reduce(ReduceKind::min, centred, {1}));
    b.output("centred", centred);
    products.add(fmt::format("of {}", length), b.finish(), {1, 37},
                 {Precision::fp32, Precision::fp16}, [](int64_t size) {
                   return std::vector<Shape>{{size, 8}};
                 });
  }
  products.check(0);
}

// Of results that are kept in 16 bits: their functions differ by no more than such numbers do.
TEST_F(Emulated, FastFunctions) {
  Products products;
  constexpr int64_t kWidth = 24;
  Tensor identity(DType::f32, {kWidth, kWidth});
  for (int64_t i = 0; i < kWidth * kWidth; ++i)
    identity.as<float>()[static_cast<size_t>(i)] = i % (kWidth + 1) == 0 ? 1.0F : 0.0F;
  for (const Op op : {Op::erf, Op::tanh, Op::sigmoid, Op::exp}) {
    Builder b;
    const Dim m = symbol(b, 37);
    const NodeId x = b.input("x", {DType::f32, {m, 8}});
    const NodeId h = b.matmul(x, b.constant(integers({8, kWidth}, 9)));
    const NodeId y = b.unary(op, b.mul(h, b.scalar(DType::f32, op == Op::exp ? 0.02 : 0.15)));
    b.output("y", b.matmul(y, b.constant(identity)));
    products.add(fmt::format("{}", name(op)), b.finish(), {37}, {Precision::fp16},
                 [](int64_t size) {
                   return std::vector<Shape>{{size, 8}};
                 });
  }
  products.check(0x1p-10);
}

TEST_F(Emulated, Columns) {
  Products products;
  for (const int64_t width : {1, 6, 24}) {
    Builder b;
    const Dim m = symbol(b, 300);
    const NodeId x = b.input("x", {DType::f32, {m, 8}});
    const NodeId rows = b.matmul(x, b.constant(integers({8, width}, 9)));
    const NodeId total = b.reduce(ReduceKind::sum, rows, {0});
    const NodeId centred = b.sub(rows, b.broadcast(total, {m, width}));
    b.output("total", total);
    b.output("largest", b.reduce(ReduceKind::max, centred, {0}));
    b.output("centred", centred);
    products.add(fmt::format("of {}", width), b.finish(), {1, 131, 300},
                 {Precision::fp32, Precision::fp16}, [](int64_t size) {
                   return std::vector<Shape>{{size, 8}};
                 });
  }
  products.check(0);
}

TEST_F(Emulated, Convolutions) {
  Products products;
  struct Convolution {
    int64_t channels, outputs, groups, kernel, stride, dilation, input_dilation;
  };
  for (const Convolution& c :
       {Convolution{3, 8, 1, 3, 2, 1, 1}, Convolution{16, 24, 1, 3, 1, 2, 1},
        Convolution{32, 16, 1, 1, 1, 1, 1}, Convolution{8, 8, 8, 3, 1, 1, 1},
        Convolution{12, 6, 3, 2, 1, 1, 1}, Convolution{8, 8, 1, 3, 1, 1, 2}}) {
    Builder b;
    const Dim size = symbol(b, 9);
    const NodeId x = b.input("x", {DType::f32, {2, size, 6, c.channels}});
    const NodeId w =
        b.constant(integers({c.outputs, c.kernel, c.kernel, c.channels / c.groups}, 9));
    b.output("y", b.conv(x, w,
                         {{c.stride, c.stride},
                          {c.dilation, c.dilation},
                          {c.input_dilation, c.input_dilation},
                          {2, 1},
                          {1, 2},
                          c.groups,
                          DType::f32}));
    products.add(fmt::format("{} channels in {} groups", c.channels, c.groups), b.finish(), {3, 9},
                 kAll, [=](int64_t n) {
                   return std::vector<Shape>{{2, n, 6, c.channels}};
                 });
  }
  products.check(0);
}

// In the order of ONNX, as models get them.
TEST_F(Emulated, ConvolutionsOfImages) {
  Products products;
  struct Convolution {
    int64_t channels, outputs, height, width, stride;
    bool channels_last;
  };
  for (const Convolution& c :
       {Convolution{3, 16, 7, 7, 2, true}, Convolution{3, 20, 4, 4, 4, false},
        Convolution{1, 70, 3, 3, 1, true}, Convolution{4, 24, 2, 11, 3, true}}) {
    Builder b;
    const Dim size = symbol(b, 21);
    const NodeId x = b.input("x", {DType::f32, {1, c.channels, size, 23}});
    const NodeId w = b.constant(integers({c.outputs, c.height, c.width, c.channels}, 9));
    const NodeId y = b.conv(b.transpose(b.unary(Op::abs, x), {0, 2, 3, 1}), w,
                            {{c.stride, c.stride}, {1, 1}, {1, 1}, {2, 3}, {1, 2}, 1, DType::f32});
    b.output("y", c.channels_last ? y : b.transpose(y, {0, 3, 1, 2}));
    products.add(fmt::format("{} channels, {} x {}", c.channels, c.height, c.width), b.finish(),
                 {4, 21}, {Precision::tf32, Precision::fp16, Precision::bf16}, [=](int64_t n) {
                   return std::vector<Shape>{{1, c.channels, n, 23}};
                 });
  }
  products.expect_all_have(CudaSchedule::window);
  products.check(0);
}

// What the windows of a patch cover must have room in shared memory.
TEST(CudaKernels, ConvolutionsOfImagesFitSharedMemory) {
  for (const int64_t taps : {3, 8, 16})
    for (const int64_t stride : {1, 8, 16}) {
      Builder b;
      const NodeId x = b.input("x", {DType::f32, {8, 3, 512, 512}});
      const NodeId w = b.constant(integers({64, taps, taps, 3}, 9));
      b.output("y", b.conv(b.transpose(x, {0, 2, 3, 1}), w,
                           {{stride, stride}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, DType::f32}));
      const CudaPlan plan(fuse(optimize(b.finish())), Precision::tf32, kAmpere);
      const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
      for (const CudaStep& step : plan.steps())
        for (const StepKernel& kernel : step.kernels)
          EXPECT_LE(launch_of(plan.variant(kernel, sizes).kernel, sizes, kAmpere).shared_bytes,
                    kSharedBytes)
              << taps << " taps in steps of " << stride;
    }
}

struct Depthwise {
  int64_t channels, height, width, taps_y, taps_x, stride, before, after;
};

Graph depthwise(const Depthwise& c) {
  Builder b;
  const Dim images = symbol(b, 2);
  const NodeId x = b.input("x", {DType::f32, {images, c.height, c.width, c.channels}});
  const NodeId w = b.constant(integers({c.channels, c.taps_y, c.taps_x, 1}, 9));
  const NodeId bias = b.constant(integers({c.channels}, 10));
  const NodeId y = b.conv(b.mul(x, b.scalar(DType::f32, 2)), w,
                          {{c.stride, c.stride},
                           {1, 1},
                           {1, 1},
                           {c.before, c.before},
                           {c.after, c.after},
                           c.channels,
                           DType::f32});
  b.output("y", b.add(y, bias));
  return b.finish();
}

TEST_F(Emulated, DepthwiseConvolutions) {
  Products products;
  for (const Depthwise& c :
       {Depthwise{16, 6, 9, 7, 7, 1, 3, 3}, Depthwise{24, 5, 11, 5, 5, 2, 2, 1},
        Depthwise{8, 9, 3, 3, 2, 1, 0, 1}, Depthwise{12, 4, 5, 3, 3, 1, 1, 1}})
    products.add(fmt::format("{} channels of {} x {}", c.channels, c.height, c.width), depthwise(c),
                 {1, 3}, {Precision::fp16, Precision::bf16}, [=](int64_t n) {
                   return std::vector<Shape>{{n, c.height, c.width, c.channels}};
                 });
  products.check(0);
}

// What is beside a window has no part in its sum.
TEST_F(Emulated, DepthwiseInfinities) {
  const Depthwise conv{8, 4, 12, 3, 3, 1, 1, 1};
  const Graph graph = depthwise(conv);
  const CudaPlan plan(fuse(optimize(graph)), Precision::fp16, kAmpere);
  const SizeTable sizes = graph.shapes->evaluate(std::vector<int64_t>{1});
  Tensor x = integers({1, 4, 12, 8}, 1);
  x.as<float>()[(2 * 12 + 5) * 8 + 3] = INFINITY;
  const Emulator emulator({{&plan, sizes}});
  const Tensor expected = evaluate(graph, {{x}}, sizes)[0],
               got = emulator.run(plan, {{x}}, sizes)[0];
  const std::span<float> a = got.as<float>(), b = expected.as<float>();
  for (size_t i = 0; i < a.size(); ++i)
    ASSERT_TRUE(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) << "element " << i;
}

TEST_F(Emulated, Attention) {
  Products products;
  for (const int64_t depth : {16, 40}) {
    Builder b;
    const Dim length = symbol(b, 20);
    const auto input = [&](const char* name) {
      return b.input(name, {DType::f32, {3, length, depth}});
    };
    const NodeId q = input("q"), k = input("k"), v = input("v");
    const NodeId scores =
        b.mul(b.dot(q, k, {{0}, {0}, {2}, {2}, DType::f32}), b.scalar(DType::f32, 0.125));
    const NodeId e = b.exp(b.sub(scores, b.reduce(ReduceKind::max, scores, {2})));
    const NodeId weights = b.div(e, b.reduce(ReduceKind::sum, e, {2}));
    b.output("y", b.dot(weights, v, {{0}, {0}, {2}, {1}, DType::f32}));
    products.add(fmt::format("depth {}", depth), b.finish(), {1, 20, 77},
                 {Precision::fp16, Precision::bf16}, [=](int64_t n) {
                   return std::vector<Shape>{{3, n, depth}, {3, n, depth}, {3, n, depth}};
                 });
  }
  products.expect_all_have(CudaSchedule::attention);
  products.check(0.02);
}

}  // namespace
}  // namespace onrush::cuda
