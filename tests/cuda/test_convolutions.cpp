// Contractions as convolutions for libraries. Needs no GPU.
#include <algorithm>
#include <random>

#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/libraries.h"
#include "cuda/support.h"
#include "fuse/fuse.h"
#include "ir/builder.h"
#include "optimize/pipeline.h"
#include "plan/placement.h"
#include "reference/evaluate.h"

#if __has_include(<cudnn_graph.h>)
#include <cudnn_graph.h>
#endif

namespace onrush::cuda {
namespace {

constexpr CudaTarget kHopper{132, true, true};

Tensor numbers(Shape shape, unsigned seed) {
  std::mt19937 random(seed);
  Tensor tensor(DType::f32, std::move(shape));
  for (float& value : tensor.as<float>()) value = static_cast<float>(random() % 5) - 2;
  return tensor;
}

const CudaContraction& contraction_of(const CudaPlan& plan) {
  const CudaContraction* found = nullptr;
  for (const CudaStep& step : plan.steps())
    for (const StepKernel& kernel : step.kernels)
      if (const auto* c = std::get_if<CudaContraction>(&kernel.form)) found = c;
  EXPECT_TRUE(found);
  return *found;
}

// The packed copy of constant weights, as its loops make it.
Tensor packed(const CudaContraction& c, const SizeTable& sizes, const Graph& graph) {
  const Loops& loops = c.packing;
  Tensor copy(DType::f32, {c.packed_count});
  std::ranges::fill(copy.as<float>(), 0.0F);
  const auto& load =
      std::get<LoadValue>(loops.body[static_cast<size_t>(loops.stores[0].value)].data);
  const NodeId node = loops.buffers[static_cast<size_t>(load.buffer)].node;
  const Tensor weights = graph[node].as<ConstantAttr>().tensor;
  std::vector<int64_t> at(loops.axes.size());
  const auto value_of = [&](const Affine& affine) {
    int64_t value = sizes(affine.offset);
    for (const auto& [axis, stride] : affine.terms)
      value += at[static_cast<size_t>(axis)] * sizes(stride);
    return value;
  };
  for (bool more = true; more;) {
    const bool inside = std::ranges::all_of(load.bounds, [&](const Bound& bound) {
      const int64_t index = value_of(bound.index);
      return index >= 0 && index < sizes(bound.extent);
    });
    if (inside)
      copy.as<float>()[static_cast<size_t>(value_of(loops.stores[0].address))] =
          weights.as<float>()[static_cast<size_t>(value_of(load.address))];
    more = false;
    for (size_t i = at.size(); i-- > 0 && !more;) {
      more = ++at[i] < sizes(loops.axes[i].extent);
      if (!more) at[i] = 0;
    }
  }
  return copy;
}

// The convolution as its description says, in f64, from the values of the graph's nodes.
class Computed {
 public:
  Computed(const Convolution& c, const std::map<uint32_t, Tensor>& values)
      : c_(c), values_(values) {}

  std::vector<double> all() {
    result_.resize(static_cast<size_t>(values_.at(c_.result.node.index).count()));
    std::vector<int64_t> at(c_.result.extents.size());
    each(c_.result.extents, at, 0, [&] { result_[index(c_.result, at)] = element(at); });
    return result_;
  }

 private:
  template <class Use>
  static void each(const std::vector<int64_t>& extents, std::vector<int64_t>& at, size_t axis,
                   const Use& use) {
    if (axis == extents.size()) return use();
    for (at[axis] = 0; at[axis] < extents[axis]; ++at[axis]) each(extents, at, axis + 1, use);
  }
  static size_t index(const Convolution::Tensor& tensor, const std::vector<int64_t>& at) {
    int64_t index = tensor.offset;
    for (size_t i = 0; i < at.size(); ++i) index += at[i] * tensor.strides[i];
    return static_cast<size_t>(index);
  }
  double value(const Convolution::Tensor& tensor, const std::vector<int64_t>& at) const {
    const uint32_t node = tensor.node.valid() ? tensor.node.index : UINT32_MAX;
    return static_cast<double>(values_.at(node).as<float>()[index(tensor, at)]);
  }
  double element(const std::vector<int64_t>& at) const {
    const int64_t groups = c_.image.extents[1] / c_.filter.extents[1];
    const int64_t group = at[1] / (c_.filter.extents[0] / groups);
    double sum = 0;
    std::vector<int64_t> taps(c_.filter.extents.size());
    std::vector<int64_t> window = c_.filter.extents;
    window[0] = 1;
    each(window, taps, 0, [&] {
      std::vector<int64_t> from = {at[0], group * c_.filter.extents[1] + taps[1]};
      bool inside = true;
      for (size_t i = 0; i < c_.windows.size(); ++i) {
        const auto& [step, dilation, before, after] = c_.windows[i];
        from.push_back(at[i + 2] * step + taps[i + 2] * dilation - before);
        inside = inside && from.back() >= 0 && from.back() < c_.image.extents[i + 2];
        EXPECT_LT(from.back(), c_.image.extents[i + 2] + after);
      }
      std::vector<int64_t> tap = taps;
      tap[0] = at[1];
      if (inside) sum += value(c_.image, from) * value(c_.filter, tap);
    });
    sum *= c_.scale;
    if (c_.addend) sum += value(*c_.addend, at);
    if (c_.bias)
      sum += static_cast<double>(values_.at(c_.bias->node.index)
                                     .as<float>()[static_cast<size_t>(c_.bias->offset + at[1])]);
    return c_.relu ? std::max(sum, 0.0) : sum;
  }

  const Convolution& c_;
  const std::map<uint32_t, Tensor>& values_;
  std::vector<double> result_;
};

// What a library would compute in place of the only contraction of a graph; nothing where it
// cannot. Expects that it is what the graph says.
std::optional<Convolution> convolution_of(const Graph& graph) {
  const CudaPlan plan(fuse(optimize(graph)), Precision::tf32, kHopper);
  const SizeTable sizes = sizes_at_hand(*plan.graph().shapes);
  const CudaContraction& contraction = contraction_of(plan);
  const auto convolution = as_convolution(contraction, sizes);
  if (!convolution) return std::nullopt;
  std::vector<Tensor> inputs;
  std::map<uint32_t, Tensor> values;
  const Graph& optimized = plan.graph();
  for (const GraphInput& input : optimized.inputs)
    inputs.push_back(
        numbers(concrete_shape(input.type.shape, sizes), static_cast<unsigned>(inputs.size())));
  const Tensor expected = evaluate(graph, inputs, sizes_at_hand(*graph.shapes))[0];
  for (uint32_t i = 0; i < optimized.nodes.size(); ++i) {
    if (const auto* input = std::get_if<InputAttr>(&optimized.nodes[i].attr))
      values[i] = inputs[static_cast<size_t>(input->index)];
    if (const auto* constant = std::get_if<ConstantAttr>(&optimized.nodes[i].attr))
      values[i] = constant->tensor;
  }
  if (contraction.packed) values[UINT32_MAX] = packed(contraction, sizes, optimized);
  values[convolution->result.node.index] = expected;
  const std::vector<double> got = Computed(*convolution, values).all();
  EXPECT_TRUE(std::ranges::equal(got, expected.as<float>()));
  for (size_t i = 0; i < convolution->windows.size(); ++i) {
    const auto& [step, dilation, before, after] = convolution->windows[i];
    const int64_t room = convolution->image.extents[i + 2] + before + after -
                         (convolution->filter.extents[i + 2] - 1) * dilation - 1;
    EXPECT_EQ(room / step + 1, convolution->result.extents[i + 2]);
  }
  return convolution;
}

struct Case {
  Shape image, filter;  // both with their channels last
  std::vector<int64_t> stride, dilation, low, high;
  int64_t groups = 1;
};
ConvAttr attr_of(const Case& c) {
  Dims low(c.low.begin(), c.low.end()), high(c.high.begin(), c.high.end());
  return {c.stride, c.dilation, std::vector<int64_t>(c.stride.size(), 1), low, high,
          c.groups, DType::f32};
}
Dims dims(const Shape& shape) { return {shape.begin(), shape.end()}; }

// weights: whether the filter is a constant, which plans pack.
std::optional<Convolution> check(const Case& c, bool weights) {
  Builder b;
  const NodeId x = b.input("x", {DType::f32, dims(c.image)});
  const NodeId w =
      weights ? b.constant(numbers(c.filter, 7)) : b.input("w", {DType::f32, dims(c.filter)});
  b.output("y", b.conv(x, w, attr_of(c)));
  return convolution_of(b.finish());
}

TEST(Convolutions, SayWhatContractionsCompute) {
  const Case cases[] = {
      {{2, 9, 8, 8}, {16, 3, 3, 8}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
      {{1, 9, 8, 8}, {16, 3, 3, 8}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
      {{2, 9, 8, 8}, {16, 3, 3, 8}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
      {{1, 9, 8, 8}, {16, 3, 3, 8}, {2, 1}, {1, 1}, {0, 0}, {0, 0}},
      {{2, 10, 9, 8}, {16, 1, 1, 8}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
      {{1, 10, 9, 8}, {16, 1, 1, 8}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
      {{2, 11, 9, 8}, {16, 3, 2, 8}, {1, 2}, {2, 3}, {2, 0}, {1, 3}},
      {{2, 11, 9, 8}, {16, 5, 1, 8}, {1, 1}, {1, 1}, {2, 0}, {2, 0}},
      {{2, 11, 9, 8}, {16, 1, 5, 8}, {1, 1}, {1, 1}, {0, 2}, {0, 2}},
      {{2, 7, 9, 24}, {20, 3, 3, 6}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 4},
      {{1, 7, 9, 64}, {64, 3, 3, 32}, {2, 2}, {1, 1}, {0, 1}, {1, 0}, 2},
      {{2, 8, 8, 5}, {16, 4, 4, 5}, {4, 4}, {1, 1}, {0, 0}, {0, 0}},
      {{2, 5, 5, 8}, {16, 5, 5, 8}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
      {{2, 5, 5, 8}, {16, 5, 5, 8}, {3, 3}, {1, 1}, {1, 0}, {1, 0}},
      {{3, 30, 8}, {16, 5, 8}, {2}, {1}, {2}, {2}},
      {{2, 5, 6, 7, 8}, {12, 3, 3, 3, 8}, {1, 2, 1}, {1, 1, 1}, {1, 1, 0}, {1, 1, 1}},
      {{2, 9, 8, 1}, {16, 3, 3, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
  };
  int index = 0;
  for (const Case& each : cases) {
    SCOPED_TRACE(index++);
    for (const bool weights : {false, true}) EXPECT_TRUE(check(each, weights));
  }
}

TEST(Convolutions, AreDescribedAsMemoryHasThem) {
  const auto c = check({{2, 9, 8, 8}, {16, 3, 3, 8}, {2, 1}, {1, 2}, {1, 2}, {0, 2}}, true);
  ASSERT_TRUE(c);
  using Ints = std::vector<int64_t>;
  EXPECT_EQ(c->image.extents, (Ints{2, 8, 9, 8}));
  EXPECT_EQ(c->image.strides, (Ints{576, 1, 64, 8}));
  EXPECT_EQ(c->image.offset, 0);
  EXPECT_FALSE(c->filter.node.valid());
  EXPECT_EQ(c->filter.extents, (Ints{16, 8, 3, 3}));
  EXPECT_EQ(c->filter.strides, (Ints{72, 1, 24, 8}));
  EXPECT_EQ(c->result.extents, (Ints{2, 16, 4, 8}));
  EXPECT_EQ(c->result.strides, (Ints{512, 1, 128, 16}));
  EXPECT_EQ(c->windows[0].step, 2);
  EXPECT_EQ(c->windows[0].dilation, 1);
  EXPECT_EQ(c->windows[0].before, 1);
  EXPECT_EQ(c->windows[0].after, 0);
  EXPECT_EQ(c->windows[1].step, 1);
  EXPECT_EQ(c->windows[1].dilation, 2);
  EXPECT_EQ(c->windows[1].before, 2);
  EXPECT_EQ(c->windows[1].after, 2);
  // One tap in each direction: steps of 2 of the whole image.
  const auto one = check({{2, 10, 10, 8}, {16, 1, 1, 8}, {2, 2}, {1, 1}, {0, 0}, {0, 0}}, true);
  ASSERT_TRUE(one);
  EXPECT_EQ(one->image.extents, (Ints{2, 8, 10, 10}));
  EXPECT_EQ(one->image.strides, (Ints{800, 1, 80, 8}));
  EXPECT_EQ(one->windows[0].step, 2);
  EXPECT_EQ(one->windows[1].step, 2);
}

TEST(Convolutions, ReadImagesInTheOrderOfOnnx) {
  Builder b;
  const NodeId x = b.input("x", {DType::f32, {2, 3, 12, 12}});
  const Case c{{}, {16, 3, 3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}};
  b.output("y", b.conv(b.transpose(x, {0, 2, 3, 1}), b.constant(numbers(c.filter, 7)), attr_of(c)));
  const auto convolution = convolution_of(b.finish());
  ASSERT_TRUE(convolution);
  EXPECT_EQ(convolution->image.strides, (std::vector<int64_t>{432, 144, 12, 1}));
}

TEST(Convolutions, TakeWhatFollowsAsASum) {
  const Case c{{2, 7, 9, 8}, {16, 3, 3, 8}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
  const auto with = [&](const auto& follow) {
    Builder b;
    const NodeId x = b.input("x", {DType::f32, dims(c.image)});
    const NodeId y = b.conv(x, b.constant(numbers(c.filter, 7)), attr_of(c));
    b.output("y", follow(b, y));
    return convolution_of(b.finish());
  };
  const Dims out = {2, 7, 9, 16};
  const auto bias = [&](Builder& b) {
    return b.broadcast(b.constant(numbers({1, 1, 1, 16}, 5)), out);
  };
  for (const bool relu : {false, true}) {
    const auto all = with([&](Builder& b, NodeId y) {
      const NodeId sum = b.add(b.input("r", {DType::f32, out}), b.add(y, bias(b)));
      return relu ? b.max(sum, b.scalar(DType::f32, 0)) : sum;
    });
    ASSERT_TRUE(all);
    EXPECT_TRUE(all->addend);
    EXPECT_TRUE(all->bias);
    EXPECT_EQ(all->relu, relu);
  }
  EXPECT_TRUE(with([&](Builder& b, NodeId y) { return b.mul(y, b.scalar(DType::f32, 0.5)); }));
  // Other functions, a result twice, an addend that is computed.
  EXPECT_FALSE(with([&](Builder& b, NodeId y) { return b.exp(y); }));
  EXPECT_FALSE(with([&](Builder& b, NodeId y) { return b.mul(y, y); }));
  EXPECT_FALSE(with([&](Builder& b, NodeId y) { return b.max(y, bias(b)); }));
  EXPECT_FALSE(with([&](Builder& b, NodeId y) {
    return b.add(y, b.exp(b.input("r", {DType::f32, out})));
  }));
}

TEST(Convolutions, AreNoneWhereChannelsGoByThemselvesOrTheImageIsRounded) {
  EXPECT_FALSE(check({{2, 7, 9, 32}, {32, 3, 3, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 32}, true));
  Builder b;
  const Case c{{2, 7, 9, 8}, {16, 3, 3, 8}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
  const NodeId x = b.input("x", {DType::f32, dims(c.image)});
  b.output("y", b.conv(x, b.constant(numbers(c.filter, 7)), attr_of(c)));
  const Graph graph = b.finish();
  for (const Precision precision : {Precision::fp32, Precision::fp16}) {
    const CudaPlan plan(fuse(optimize(graph)), precision, kHopper);
    EXPECT_EQ(as_convolution(contraction_of(plan), sizes_at_hand(*plan.graph().shapes)).has_value(),
              precision == Precision::fp32);
  }
}

// --- the library's interface

#if __has_include(<cudnn_graph.h>)
static_assert(int{cudnn::r_32f} == CUDNN_DATA_FLOAT);
static_assert(int{cudnn::r_16f} == CUDNN_DATA_HALF);
static_assert(int{cudnn::r_16bf} == CUDNN_DATA_BFLOAT16);
static_assert(int{cudnn::cross_correlation} == CUDNN_CROSS_CORRELATION);
static_assert(int{cudnn::add} == CUDNN_POINTWISE_ADD);
static_assert(int{cudnn::mul} == CUDNN_POINTWISE_MUL);
static_assert(int{cudnn::relu} == CUDNN_POINTWISE_RELU_FWD);
static_assert(int{cudnn::mode_a} == CUDNN_HEUR_MODE_A);
static_assert(int{cudnn::mode_b} == CUDNN_HEUR_MODE_B);
static_assert(int{cudnn::tensor_core} == CUDNN_NUMERICAL_NOTE_TENSOR_CORE);
static_assert(int{cudnn::down_convert_inputs} == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS);
static_assert(int{cudnn::reduced_precision_reduction} ==
              CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
static_assert(int{cudnn::fft} == CUDNN_NUMERICAL_NOTE_FFT);
static_assert(int{cudnn::nondeterministic} == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
static_assert(int{cudnn::winograd} == CUDNN_NUMERICAL_NOTE_WINOGRAD);
static_assert(int{cudnn::pointwise} == CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
static_assert(int{cudnn::convolution} == CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
static_assert(int{cudnn::engine} == CUDNN_BACKEND_ENGINE_DESCRIPTOR);
static_assert(int{cudnn::engine_config} == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
static_assert(int{cudnn::heuristics} == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
static_assert(int{cudnn::execution_plan} == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
static_assert(int{cudnn::knob_choice} == CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
static_assert(int{cudnn::convolution_operation} ==
              CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
static_assert(int{cudnn::pointwise_operation} == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
static_assert(int{cudnn::operation_graph} == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
static_assert(int{cudnn::variant_pack} == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
static_assert(int{cudnn::tensor} == CUDNN_BACKEND_TENSOR_DESCRIPTOR);
static_assert(int{cudnn::type_handle} == CUDNN_TYPE_HANDLE);
static_assert(int{cudnn::type_data_type} == CUDNN_TYPE_DATA_TYPE);
static_assert(int{cudnn::type_boolean} == CUDNN_TYPE_BOOLEAN);
static_assert(int{cudnn::type_int64} == CUDNN_TYPE_INT64);
static_assert(int{cudnn::type_float} == CUDNN_TYPE_FLOAT);
static_assert(int{cudnn::type_pointer} == CUDNN_TYPE_VOID_PTR);
static_assert(int{cudnn::type_convolution_mode} == CUDNN_TYPE_CONVOLUTION_MODE);
static_assert(int{cudnn::type_heuristic_mode} == CUDNN_TYPE_HEUR_MODE);
static_assert(int{cudnn::type_knob} == CUDNN_TYPE_KNOB_TYPE);
static_assert(int{cudnn::type_numerical_note} == CUDNN_TYPE_NUMERICAL_NOTE);
static_assert(int{cudnn::type_pointwise_mode} == CUDNN_TYPE_POINTWISE_MODE);
static_assert(int{cudnn::type_descriptor} == CUDNN_TYPE_BACKEND_DESCRIPTOR);
static_assert(int{cudnn::pointwise_mode} == CUDNN_ATTR_POINTWISE_MODE);
static_assert(int{cudnn::pointwise_precision} == CUDNN_ATTR_POINTWISE_MATH_PREC);
static_assert(int{cudnn::convolution_precision} == CUDNN_ATTR_CONVOLUTION_COMP_TYPE);
static_assert(int{cudnn::convolution_mode} == CUDNN_ATTR_CONVOLUTION_CONV_MODE);
static_assert(int{cudnn::convolution_dilations} == CUDNN_ATTR_CONVOLUTION_DILATIONS);
static_assert(int{cudnn::convolution_strides} == CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
static_assert(int{cudnn::convolution_after} == CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
static_assert(int{cudnn::convolution_before} == CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
static_assert(int{cudnn::convolution_rank} == CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS);
static_assert(int{cudnn::heuristics_mode} == CUDNN_ATTR_ENGINEHEUR_MODE);
static_assert(int{cudnn::heuristics_graph} == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
static_assert(int{cudnn::heuristics_results} == CUDNN_ATTR_ENGINEHEUR_RESULTS);
static_assert(int{cudnn::config_engine} == CUDNN_ATTR_ENGINECFG_ENGINE);
static_assert(int{cudnn::config_knobs} == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES);
static_assert(int{cudnn::plan_handle} == CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
static_assert(int{cudnn::plan_config} == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
static_assert(int{cudnn::plan_workspace} == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
static_assert(int{cudnn::knob_type} == CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE);
static_assert(int{cudnn::knob_value} == CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
static_assert(int{cudnn::convolution_alpha} == CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA);
static_assert(int{cudnn::convolution_beta} == CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
static_assert(int{cudnn::convolution_descriptor} ==
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC);
static_assert(int{cudnn::convolution_w} == CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W);
static_assert(int{cudnn::convolution_x} == CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X);
static_assert(int{cudnn::convolution_y} == CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y);
static_assert(int{cudnn::pointwise_descriptor} == CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
static_assert(int{cudnn::pointwise_x} == CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
static_assert(int{cudnn::pointwise_b} == CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
static_assert(int{cudnn::pointwise_y} == CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
static_assert(int{cudnn::graph_handle} == CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
static_assert(int{cudnn::graph_operations} == CUDNN_ATTR_OPERATIONGRAPH_OPS);
static_assert(int{cudnn::tensor_alignment} == CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT);
static_assert(int{cudnn::tensor_type} == CUDNN_ATTR_TENSOR_DATA_TYPE);
static_assert(int{cudnn::tensor_extents} == CUDNN_ATTR_TENSOR_DIMENSIONS);
static_assert(int{cudnn::tensor_strides} == CUDNN_ATTR_TENSOR_STRIDES);
static_assert(int{cudnn::tensor_id} == CUDNN_ATTR_TENSOR_UNIQUE_ID);
static_assert(int{cudnn::tensor_is_virtual} == CUDNN_ATTR_TENSOR_IS_VIRTUAL);
static_assert(int{cudnn::tensor_is_value} == CUDNN_ATTR_TENSOR_IS_BY_VALUE);
static_assert(int{cudnn::pack_ids} == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
static_assert(int{cudnn::pack_pointers} == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
static_assert(int{cudnn::pack_workspace} == CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
static_assert(int{cudnn::engine_graph} == CUDNN_ATTR_ENGINE_OPERATION_GRAPH);
static_assert(int{cudnn::engine_index} == CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
static_assert(int{cudnn::engine_notes} == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
#endif

TEST(CudnnLibrary, HasEveryFunctionThatIsCalled) {
  const CudnnLibrary& library = cudnn_library();
  if (!library.search.library) {
    // One that is there and refused is a mistake of ours.
    for (const Attempt& attempt : library.search.tried)
      EXPECT_EQ(attempt.outcome.find("lacks"), std::string::npos) << attempt.outcome;
    GTEST_SKIP() << "skipped: no cuDNN";
  }
  EXPECT_TRUE(library.api.cudnnBackendExecute);
  EXPECT_GE(library.api.cudnnGetVersion(), 90000u);
}

}  // namespace
}  // namespace onrush::cuda
