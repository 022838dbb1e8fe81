#include "support.h"

namespace onrush::cli {
namespace {

using onnx::node;

TEST(Plan, shows_every_stage) {
  const Folder folder;
  const std::string model = folder.write("a.onnx", increment());
  expect_output(
      {"plan", model, "--stage", "model"},
      {"input x: tensor(float) [batch,3]", "weight one : float [3]", "y = Add(x, one)  # inc"});
  expect_output({"plan", model, "--stage", "graph"},
                {"segment 1", "input x : f32[s0,3]", "= add ", "output y = ", "# inc"});
  expect_output({"plan", model, "--stage", "optimized"}, {"= add "});
  expect_output({"plan", model, "--stage", "schedule"}, {"group 0 pointwise", "add : f32[s0,3]"});
  const std::string plan = onrush({"plan", model, "--stage", "plan"}).out;
  expect_text(plan, "size s0 is batch, extent 0 of input x, here 1");
  expect_text(plan, "step 0 -> ");
  expect_text(plan, "store ");
  EXPECT_EQ(onrush({"plan", model}).out, plan);  // the default
}

TEST(Plan, kernels_are_shown_without_a_gpu) {
  const Folder folder;
  const std::string model = folder.write("a.onnx", increment());
  const Result shown = onrush({"plan", model, "--stage", "kernels", "--precision", "fp16"});
  if (shown.err.find("no CUDA backend") != std::string::npos) GTEST_SKIP() << "built without CUDA";
  for (const char* part : {"in each run: add -> ", "pointwise, 1 blocks of 64 threads", "# inc",
                           "extern \"C\" __global__ void"})
    expect_text(shown.out, part);
}

TEST(Plan, a_contraction_shows_its_parts) {
  const Folder folder;
  expect_output({"plan", folder.write("a.onnx", matmul(8)), "--opt", "0"},
                {"contraction ", "lhs b0=%", "rhs for ", "epilogue for "});
}

TEST(Plan, sizes_come_from_the_command_line) {
  const Folder folder;
  const std::string model = folder.write("a.onnx", increment());
  expect_output({"plan", model, "--shape", "x=5x3"}, {"here 5"});
  expect_output({"plan", model, "--dim", "batch=6"}, {"here 6"});
  expect_failure(1, {"plan", model, "--shape", "x=5x4"}, {"must have shape [batch,3], not [5,4]"});
}

TEST(Plan, subgraphs_are_indented) {
  const Folder folder;
  const onnx::Graph branch = onnx::graph({}, {node("Neg", {"x"}, {"b"})}, {"b"});
  onnx::Graph graph = onnx::graph(
      {"x"},
      {node("If", {"c"}, {"y"},
            {onnx::subgraph("then_branch", branch), onnx::subgraph("else_branch", branch)})},
      {"y"});
  graph.initializers = {{"c", onnx::tensor<uint8_t>(DType::boolean, {}, {1})}};
  expect_output({"plan", folder.write("a.onnx", onnx::model(graph)), "--stage", "model"},
                {"y = If(c)\n  then_branch() -> (b):\n    b = Neg(x)\n  else_branch"});
}

// The size of what NonZero finds is known only when it has run.
TEST(Plan, later_segments_need_a_run) {
  const Folder folder;
  onnx::Graph graph = onnx::graph(
      {},
      {node("NonZero", {"x"}, {"i"}),
       onnx::named("cast", node("Cast", {"i"}, {"f"}, {onnx::attribute("to", int64_t{1})})),
       node("Mul", {"f", "f"}, {"y"})},
      {});
  graph.inputs = {value("x", DType::f32, {size(4)})};
  graph.outputs = {value("y", DType::f32, {size(1), named("n")})};
  const std::string model = folder.write("a.onnx", onnx::model(graph));
  expect_output({"plan", model}, {"segment 1", "2 nodes wait for values that only a run gives",
                                  "node 'cast' (Cast)", "--run"});
  expect_output({"plan", model, "--run"}, {"segment 1", "segment 2", "mul"});
}

}  // namespace
}  // namespace onrush::cli
