// Two engines' profiles with a planted reason for their difference.
#include "explain/causes.h"

#include <gtest/gtest.h>
#include <numeric>

#include "../onnx/builders.h"
#include "explain/why.h"

namespace onrush::explain {
namespace {

using onnx::named;
using onnx::node;

// conv -> relu -> soft -> mm
onnx::Graph model() {
  return onnx::graph(
      {"x"},
      {named("conv", node("Conv", {"x", "w"}, {"a"})), named("relu", node("Relu", {"a"}, {"b"})),
       named("soft", node("Softmax", {"b"}, {"c"})),
       named("mm", node("MatMul", {"c", "v"}, {"y"}))},
      {"y"});
}

class Causes : public testing::Test {
 protected:
  Causes() {
    explanation_.options.device = "cpu";
    for (const onnx::Node& n : model().nodes) explanation_.model_nodes[n.name] = {n.op_type, ""};
  }

  // `share`: of the roof that bounds it.
  void step(std::vector<std::string> nodes, double us, bool product, double share = 0.8) {
    ProfiledStep step{product ? "contraction" : "reduction", "step", std::move(nodes)};
    step.flops = 100;
    step.product_flops = product ? 100 : 0;
    StepFigures figures{std::make_shared<const ProfiledStep>(step), 1, us, {}, step.nodes};
    figures.speed.memory_share = share;
    explanation_.steps.push_back(std::move(figures));
    explanation_.timeline.profiled_us += us;
    peer_.own_us += us;
  }
  void event(const std::string& name, const std::string& op, double us,
             const std::string& provider = "CPUExecutionProvider") {
    peer_.profile.events.push_back({name, op, provider, us, 1});
    peer_.profile.run_us += us;
    peer_.peer_us += us;
  }
  void kernel(const std::string& name, const std::string& op, const std::string& kernel,
              double us) {
    event(name, op, us, "CUDAExecutionProvider");
    peer_.profile.events.back().kernel = kernel;
    peer_.profile.events.back().device_us = us;
  }
  // Beside its kernels.
  void peer_gaps(double us) {
    peer_.profile.run_us += us;
    peer_.peer_us += us;
  }

  // They add up, whatever they are.
  std::vector<Cause> causes(const onnx::Graph& ran) {
    peer_.name = "peer";
    peer_.nodes = nodes_by_event(model(), ran, peer_.profile.events);
    const std::vector<Cause> causes = causes_of(explanation_, peer_);
    double sum = 0;
    for (const Cause& cause : causes) sum += cause.difference();
    EXPECT_NEAR(sum, peer_.peer_us - peer_.own_us, 1e-9);
    for (const Cause& cause : causes) EXPECT_FALSE(words(cause, "peer").empty());
    return causes;
  }
  void fused_steps() {
    step({"conv", "relu"}, 100, true);
    step({"soft"}, 50, false);
    step({"mm"}, 100, true);
  }

  Explanation explanation_;
  PeerRun peer_;
};

TEST_F(Causes, SlowerKernels) {
  fused_steps();
  event("conv", "FusedConv", 300), event("soft", "Softmax", 50), event("mm", "MatMul", 100);
  onnx::Graph ran = model();
  ran.nodes[0].op_type = "FusedConv";
  ran.nodes[0].outputs = {"b"};
  ran.nodes.erase(ran.nodes.begin() + 1);
  const auto found = causes(ran);
  EXPECT_EQ(found[0].kind, Cause::Kind::kernels);
  EXPECT_EQ(found[0].op, "Conv");
  EXPECT_DOUBLE_EQ(found[0].difference(), 200);
  EXPECT_DOUBLE_EQ(found[1].difference(), 0);
}

TEST_F(Causes, MissingFusion) {
  fused_steps();
  event("conv", "Conv", 100), event("relu", "Relu", 80);
  event("soft", "Softmax", 50), event("mm", "MatMul", 100);
  const auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::fusion);
  EXPECT_DOUBLE_EQ(found[0].difference(), 80);
  EXPECT_EQ(found[0].examples, "1 Relu");
}

// And the other way: here the peer has fused what Onrush has not.
TEST_F(Causes, FasterByFusion) {
  step({"conv"}, 100, true);
  step({"relu"}, 70, false);
  event("conv", "FusedConv", 100);
  onnx::Graph ran = model();
  ran.nodes[0].outputs = {"b"};
  ran.nodes.resize(1);
  const auto found = causes(ran);
  EXPECT_EQ(found[0].kind, Cause::Kind::fusion);
  EXPECT_DOUBLE_EQ(found[0].difference(), -70);
}

// A convolution in blocked layout is called after its result, and its tensors have other names.
TEST_F(Causes, OtherLayout) {
  fused_steps();
  onnx::Graph ran = onnx::graph({"x"},
                                {named("turn", node("ReorderInput", {"x"}, {"t0"})),
                                 named("b_nchwc", node("Conv", {"t0", "w"}, {"t1"})),
                                 named("back", node("ReorderOutput", {"t1"}, {"b"})),
                                 named("soft", node("Softmax", {"b"}, {"c"})),
                                 named("mm", node("MatMul", {"c", "v"}, {"y"}))},
                                {"y"});
  event("turn", "ReorderInput", 60), event("b_nchwc", "Conv", 100),
      event("back", "ReorderOutput", 70);
  event("soft", "Softmax", 50), event("mm", "MatMul", 100);
  const auto found = causes(ran);
  EXPECT_EQ(found[0].kind, Cause::Kind::layout);
  EXPECT_DOUBLE_EQ(found[0].difference(), 130);
  EXPECT_DOUBLE_EQ(found[1].difference(), 0);
}

TEST_F(Causes, FallbackToTheCpu) {
  explanation_.options.device = "cuda";
  fused_steps();
  onnx::Graph ran = model();
  ran.nodes.insert(ran.nodes.begin() + 2, named("out", node("MemcpyToHost", {"b"}, {"b_host"})));
  ran.nodes[3] = named("soft", node("Softmax", {"b_host"}, {"c_host"}));
  ran.nodes.insert(ran.nodes.begin() + 4, named("in", node("MemcpyFromHost", {"c_host"}, {"c"})));
  const std::string gpu = "CUDAExecutionProvider";
  event("conv", "Conv", 60, gpu), event("relu", "Relu", 40, gpu),
      event("out", "MemcpyToHost", 90, gpu);
  event("soft", "Softmax", 500), event("in", "MemcpyFromHost", 80, gpu),
      event("mm", "MatMul", 100, gpu);
  const auto found = causes(ran);
  EXPECT_EQ(found[0].kind, Cause::Kind::fallback);
  EXPECT_EQ(found[0].peer_count, 1u);
  EXPECT_EQ(found[0].examples, "1 Softmax");
  EXPECT_EQ(found[1].kind, Cause::Kind::device_copies);
  EXPECT_DOUBLE_EQ(found[1].difference(), 170);
}

// Within an operator: cuDNN convolves in channels last.
TEST_F(Causes, OtherLayoutWithinAnOperator) {
  explanation_.options.device = "cuda";
  fused_steps();
  kernel("conv", "Conv", "nchwToNhwcKernel", 70), kernel("conv", "Conv", "implicit_gemm", 100);
  kernel("conv", "Conv", "nhwcToNchwKernel", 60), kernel("relu", "Relu", "relu", 0);
  kernel("soft", "Softmax", "softmax", 50), kernel("mm", "MatMul", "gemm", 100);
  const auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::layout);
  EXPECT_DOUBLE_EQ(found[0].difference(), 130);
  EXPECT_EQ(found[0].examples, "1 nchwToNhwcKernel, 1 nhwcToNchwKernel");
}

TEST_F(Causes, OtherKernelsOfAGpu) {
  explanation_.options.device = "cuda";
  fused_steps();
  kernel("conv", "Conv", "sgemm", 300), kernel("conv", "Conv", "split_k_reduce", 30);
  kernel("relu", "Relu", "relu", 0);
  kernel("soft", "Softmax", "softmax", 50), kernel("mm", "MatMul", "gemm", 100);
  const auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::kernels);
  EXPECT_NE(words(found[0], "peer").find("1 sgemm, 1 split_k_reduce"), std::string::npos);
}

// The host hears of it late.
TEST_F(Causes, Synchronisation) {
  explanation_.options.device = "cuda";
  fused_steps();
  explanation_.timeline.around = {{"wait", 10, 1}};
  explanation_.timeline.profiled_us += 10;
  peer_.own_us += 10;
  kernel("conv", "Conv", "conv", 100), kernel("relu", "Relu", "relu", 0);
  kernel("soft", "Softmax", "softmax", 50), kernel("mm", "MatMul", "gemm", 100);
  event("", "synchronize", 40, "");
  const auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::waiting);
  EXPECT_DOUBLE_EQ(found[0].difference(), 30);
}

// Being watched keeps the host longer, but a GPU's kernels take what they take.
TEST_F(Causes, KernelsOfAGpuAreNotScaled) {
  explanation_.options.device = "cuda";
  fused_steps();
  kernel("conv", "Conv", "conv", 200), kernel("relu", "Relu", "relu", 0);
  kernel("soft", "Softmax", "softmax", 50), kernel("mm", "MatMul", "gemm", 100);
  peer_gaps(650);
  peer_.peer_us = 450;
  const auto found = causes(model());
  for (const Cause& cause : found) {
    const bool dearer = cause.kind == Cause::Kind::starting || cause.op == "Conv";
    EXPECT_NEAR(cause.difference(), dearer ? 100 : 0, 1e-9) << words(cause, "peer");
  }
}

TEST_F(Causes, Launches) {
  step({"conv", "relu"}, 3, true, 0.01);
  step({"soft"}, 2, false, 0.01);
  step({"mm"}, 3, true, 0.01);
  event("conv", "Conv", 9), event("relu", "Relu", 8), event("soft", "Softmax", 7);
  event("mm", "MatMul", 9);
  peer_gaps(40);
  const auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::starting);
  EXPECT_DOUBLE_EQ(found[0].difference(), 73 - 8);
}

TEST_F(Causes, Transfers) {
  fused_steps();
  explanation_.timeline.around = {{"copy", 10, 2}};
  explanation_.timeline.profiled_us += 10;
  peer_.own_us += 10;
  event("conv", "Conv", 100), event("relu", "Relu", 0), event("soft", "Softmax", 50);
  event("mm", "MatMul", 100), event("", "Memcpy HtoD", 400, "");
  const auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::transfers);
  EXPECT_DOUBLE_EQ(found[0].difference(), 390);
}

TEST_F(Causes, NodesThatNeedNoKernel) {
  step({"mm"}, 100, true);
  event("soft", "Softmax", 70), event("mm", "MatMul", 100);
  auto found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::no_kernel);
  // Unless another kernel does it on the way.
  ProfiledStep reading = *explanation_.steps[0].step;
  reading.inlined = {"soft"};
  explanation_.steps[0].step = std::make_shared<const ProfiledStep>(reading);
  found = causes(model());
  EXPECT_EQ(found[0].kind, Cause::Kind::fusion);
}

// Profiles slow runs down; causes are scaled to runs that nothing watches.
TEST_F(Causes, AddUpToTheClockDespiteProfilers) {
  fused_steps();
  event("conv", "Conv", 300), event("relu", "Relu", 20), event("soft", "Softmax", 50);
  event("mm", "MatMul", 100);
  peer_.peer_us = 400;
  const auto found = causes(model());  // checks the sum
  EXPECT_EQ(found[0].kind, Cause::Kind::kernels);
  EXPECT_EQ(found[0].op, "Conv");
}

TEST(Remarks, SayWhatACleanComparisonWants) {
  Explanation explanation;
  explanation.options.device = "cuda";
  explanation.options.precision = Precision::fp16;
  PeerRun peer;
  peer.name = "pytorch";
  peer.profile.unwaited_us = 120;
  const std::vector<std::string> said = remarks(explanation, peer);
  ASSERT_EQ(said.size(), 2u);
  EXPECT_NE(said[0].find("--precision tf32 compares like with like"), std::string::npos);
  EXPECT_NE(said[1].find("120 us"), std::string::npos);
  peer.name = "pytorch:half";
  peer.profile.unwaited_us = 0;
  EXPECT_TRUE(remarks(explanation, peer).empty());
}

// A sum became part of the convolution before it, which keeps its name, and the next one reads a
// tensor of a new name.
TEST(LineUp, FollowsSumsIntoConvolutions) {
  const onnx::Graph residual = onnx::graph({"x"},
                                           {named("first", node("Conv", {"x", "w"}, {"a"})),
                                            named("second", node("Conv", {"a", "w"}, {"b"})),
                                            named("sum", node("Add", {"a", "b"}, {"c"})),
                                            named("third", node("Conv", {"c", "w"}, {"y"}))},
                                           {"y"});
  const onnx::Graph ran = onnx::graph({"x"},
                                      {named("a_nchwc", node("Conv", {"x", "w"}, {"t0"})),
                                       named("b_nchwc", node("Conv", {"x", "w", "", "t0"}, {"t1"})),
                                       named("y_nchwc", node("Conv", {"t1", "w"}, {"t2"})),
                                       named("back", node("ReorderOutput", {"t2"}, {"y"}))},
                                      {"y"});
  const std::vector<engines::PeerEvent> events = {{"a_nchwc", "Conv", "", 1, 1},
                                                  {"b_nchwc", "Conv", "", 1, 1},
                                                  {"y_nchwc", "Conv", "", 1, 1},
                                                  {"back", "ReorderOutput", "", 1, 1}};
  const auto nodes = nodes_by_event(residual, ran, events);
  EXPECT_EQ(nodes[0], NodeNames{"first"});
  EXPECT_EQ(nodes[1], (NodeNames{"second", "sum"}));
  EXPECT_EQ(nodes[2], NodeNames{"third"});
  EXPECT_EQ(nodes[3], NodeNames{});
}

// PyTorch names no nodes: both sides are cut at products.
TEST(LineUp, CutsAtProducts) {
  const std::vector<engines::PeerEvent> events = {{"", "aten::relu", "", 1, 1},
                                                  {"", "aten::conv2d", "", 1, 1},
                                                  {"", "aten::relu_", "", 1, 1},
                                                  {"", "aten::linear", "", 1, 1}};
  const auto nodes = nodes_by_products(model(), events);
  ASSERT_EQ(nodes.size(), 4u);
  EXPECT_EQ(nodes[0], NodeNames{});
  EXPECT_EQ(nodes[1], (NodeNames{"conv", "relu", "soft"}));
  EXPECT_EQ(nodes[2], nodes[1]);
  EXPECT_EQ(nodes[3], NodeNames{"mm"});
  EXPECT_TRUE(nodes_by_products(model(), {events[0], events[1]}).empty());
}

// A GPU's kernels of one operator are one product together; copies and waiting are of no node.
TEST(LineUp, CutsAtOperatorsOfSeveralKernels) {
  const auto kernel = [](const char* op, int position) {
    engines::PeerEvent event{"", op, "", 1, 1};
    event.position = position;
    return event;
  };
  const auto nodes = nodes_by_products(
      model(), {kernel("Memcpy HtoD", -1), kernel("aten::conv2d", 0), kernel("aten::conv2d", 0),
                kernel("aten::relu_", 1), kernel("aten::linear", 2), kernel("aten::linear", 2),
                kernel("synchronize", -1)});
  ASSERT_EQ(nodes.size(), 7u);
  EXPECT_EQ(nodes[0], NodeNames{});
  EXPECT_EQ(nodes[1], (NodeNames{"conv", "relu", "soft"}));
  EXPECT_EQ(nodes[2], nodes[1]);
  EXPECT_EQ(nodes[3], nodes[1]);
  EXPECT_EQ(nodes[4], NodeNames{"mm"});
  EXPECT_EQ(nodes[5], nodes[4]);
  EXPECT_EQ(nodes[6], NodeNames{});
}

}  // namespace
}  // namespace onrush::explain
