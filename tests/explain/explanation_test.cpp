// What is said of steps and nodes.
#include "explain/explanation.h"

#include <cmath>
#include <gtest/gtest.h>

#include "../onnx/builders.h"

namespace onrush::explain {
namespace {

Roofs machine() {
  Roofs roofs;
  roofs.bandwidth = {{1e3, 100e9}, {1e6, 40e9}, {1e9, 10e9}};
  roofs.product_flops = 400e9;
  roofs.vector_flops = 40e9;
  roofs.start_us = 1;
  return roofs;
}

ProfiledStep contraction(int64_t bytes, int64_t flops) {
  ProfiledStep step{"contraction", "dot", {}};
  step.bytes_read = bytes;
  step.flops = step.product_flops = flops;
  return step;
}

TEST(Steps, AreBoundByTheRoofTheyReach) {
  EXPECT_EQ(speed_of(contraction(1'000, 4'000'000), 15, machine()).bound, Bound::arithmetic);
  EXPECT_EQ(speed_of(contraction(1'000'000, 100'000), 40, machine()).bound, Bound::memory);
  EXPECT_EQ(speed_of(contraction(1'000, 100'000), 40, machine()).bound, Bound::neither);
  EXPECT_EQ(speed_of(contraction(1'000, 1'000), 2, machine()).bound, Bound::start);
  EXPECT_EQ(speed_of({"host", "sort", {}}, 2, machine()).bound, Bound::unknown);
  EXPECT_EQ(speed_of(contraction(1'000, 1'000), 2, {}).bound, Bound::unknown);
  const Speed speed = speed_of(contraction(1'000'000, 100'000), 50, machine());
  EXPECT_NEAR(speed.memory_share, 0.5, 1e-9);
  EXPECT_NEAR(speed.flops_per_second, 2e9, 1);
}

TEST(Steps, KnowTheRateOfMemoryBetweenMeasurements) {
  EXPECT_NEAR(machine().bytes_per_second(1), 100e9, 1);
  EXPECT_NEAR(machine().bytes_per_second(1e6), 40e9, 1);
  EXPECT_NEAR(machine().bytes_per_second(1e12), 10e9, 1);
  EXPECT_NEAR(machine().bytes_per_second(std::sqrt(1e3 * 1e6)), 70e9, 1e3);
}

TEST(Nodes, ShareAStepByTheirArithmetic) {
  const ModelNodes nodes = {{"flat", {"Reshape", ""}},
                            {"mm", {"MatMul", ""}},
                            {"relu", {"Relu", ""}},
                            {"add", {"Add", ""}}};
  ProfiledStep step = contraction(1, 90);
  step.flops = 100;
  step.nodes = {"flat", "mm", "relu", "add"};
  const std::vector<double> shares = shares_of(step, step.nodes, nodes);
  EXPECT_EQ(shares[0], 0);
  EXPECT_NEAR(shares[1], 0.9, 1e-12);
  EXPECT_NEAR(shares[2], 0.05, 1e-12);
  EXPECT_NEAR(shares[3], 0.05, 1e-12);
  step.nodes = {"flat"};
  EXPECT_EQ(shares_of(step, step.nodes, nodes), std::vector<double>{1});
}

constexpr const char* kTrace =
    "File \"/models/net.py\", line 7, in forward\n"
    "    return self.layer(x)\n"
    "File \"/models/layer.py\", line 31, in forward\n"
    "    x = self.conv1(x)\n";

TEST(Nodes, TellTheLineTheyWereExportedFrom) {
  onnx::Graph graph = onnx::graph({"x"},
                                  {onnx::named("new", onnx::node("Relu", {"x"}, {"a"})),
                                   onnx::named("old", onnx::node("Relu", {"a"}, {"b"})),
                                   onnx::named("none", onnx::node("Relu", {"b"}, {"y"}))},
                                  {"y"});
  graph.nodes[0].metadata = {{"namespace", "layer"}, {"pkg.torch.onnx.stack_trace", kTrace}};
  graph.nodes[1].doc_string = kTrace;
  graph.nodes[2].doc_string = "a rectifier";
  const std::string bytes = onnx::encode(onnx::model(graph));
  const ModelNodes nodes = nodes_of(Session::load(onnx::bytes_of(bytes)));
  EXPECT_EQ(nodes.at("new").source, "/models/layer.py:31 x = self.conv1(x)");
  EXPECT_EQ(nodes.at("old").source, nodes.at("new").source);
  EXPECT_EQ(nodes.at("none").source, "");
  EXPECT_EQ(nodes.at("none").op, "Relu");
}

}  // namespace
}  // namespace onrush::explain
