// Causes of what was recorded on a GPU (an NVIDIA H200, onnxruntime-gpu 1.31.1, PyTorch 2.11):
// models with a planted reason, those of python/tests/test_explain.py. Folder recorded/ has of each
//   NAME.json      "own": what `onrush explain --json` said; "peer": what the peer's worker
//   answered NAME.onnx      the model; NAME.ran.onnx what onnxruntime made of it
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include "explain/causes.h"
#include "explain/why.h"
#include "onnx/decode.h"

namespace onrush::explain {
namespace {

using measure::Json;

Timeline timeline_of(const Json& own) {
  Timeline timeline;
  timeline.profiled_us = own.at("profiled_us").get<double>();
  timeline.wall_us = own.at("wall_us").get<double>();
  timeline.events.resize(own.at("events").get<size_t>());
  for (const Json& part : own.at("parts"))
    for (const char* kind : {"send", "launch", "wait", "copy"})
      if (part.at("name") == kind)
        timeline.around.push_back({kind, part.at("us").get<double>(), 1});
  return timeline;
}

StepFigures figures_of(const Json& json) {
  ProfiledStep step{json.at("kind").get<std::string>(), json.at("name").get<std::string>(), {}};
  json.at("nodes").get_to(step.nodes);
  json.at("inlined").get_to(step.inlined);
  step.product_flops = json.at("product_flops").get<int64_t>();
  StepFigures figures{std::make_shared<const ProfiledStep>(step),
                      json.at("calls").get<size_t>(),
                      json.at("us").get<double>(),
                      {},
                      step.nodes};
  figures.speed.memory_share = json.at("memory_share").get<double>();
  figures.speed.arithmetic_share = json.at("arithmetic_share").get<double>();
  return figures;
}

struct Recorded {
  Explanation explanation;
  PeerRun peer;

  explicit Recorded(const std::string& name) {
    const std::string path = RECORDED + ("/" + name);
    std::ifstream file(path + ".json");
    const Json json = Json::parse(file);
    const Json& own = json.at("own");
    explanation.options.device = "cuda";
    explanation.timeline = timeline_of(own);
    for (const Json& step : own.at("steps")) explanation.steps.push_back(figures_of(step));
    const onnx::Graph model = onnx::load(path + ".onnx").graph;
    for (const onnx::Node& node : model.nodes) explanation.model_nodes[node.name] = {node.op_type};
    peer.name = json.at("name").get<std::string>();
    peer.own_us = own.at("wall_us").get<double>();
    peer.peer_us = json.at("peer_us").get<double>();
    peer.profile = engines::peer_profile(json.at("peer"));
    const std::string ran = path + ".ran.onnx";
    peer.nodes = std::filesystem::exists(ran)
                     ? nodes_by_event(model, onnx::load(ran).graph, peer.profile.events)
                     : nodes_by_products(model, peer.profile.events);
  }

  // The largest first; they add up to the difference.
  std::vector<Cause> causes() const {
    std::vector<Cause> found = causes_of(explanation, peer);
    double sum = 0;
    for (const Cause& cause : found) sum += cause.difference();
    EXPECT_NEAR(sum, peer.peer_us - peer.own_us, 1e-6 * peer.peer_us);
    return found;
  }
};

TEST(RecordedCauses, FallbackToTheCpu) {
  const std::vector<Cause> causes = Recorded("fallback").causes();
  EXPECT_EQ(causes[0].kind, Cause::Kind::fallback);
  EXPECT_EQ(causes[0].examples, "4 Atan");
  EXPECT_EQ(causes[1].kind, Cause::Kind::device_copies);
  EXPECT_EQ(causes[1].examples, "1 MemcpyFromHost, 1 MemcpyToHost");
}

TEST(RecordedCauses, Launches) {
  const std::vector<Cause> causes = Recorded("launches").causes();
  EXPECT_EQ(causes[0].kind, Cause::Kind::starting);
  EXPECT_EQ(causes[0].own_count, 200u);
  EXPECT_GE(causes[0].peer_count, 200u);
  EXPECT_GT(causes[0].difference(), 0.8 * (Recorded("launches").peer.peer_us));
}

TEST(RecordedCauses, Transfers) {
  EXPECT_EQ(Recorded("transfers").causes()[0].kind, Cause::Kind::transfers);
}

TEST(RecordedCauses, Layout) {
  const Recorded recorded("layout");
  ASSERT_EQ(recorded.peer.nodes.size(), recorded.peer.profile.events.size());
  const std::vector<Cause> causes = recorded.causes();
  EXPECT_EQ(causes[0].kind, Cause::Kind::layout);
  EXPECT_EQ(causes[0].examples, "80 aten::contiguous");
}

}  // namespace
}  // namespace onrush::explain
