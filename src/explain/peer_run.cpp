#include "explain/peer_run.h"

#include <algorithm>
#include <fmt/format.h>

#include "engines/peers.h"
#include "measure/process.h"
#include "measure/statistics.h"
#include "onnx/decode.h"
#include "runtime/session_impl.h"

namespace onrush::explain {
namespace {

using engines::Json;

constexpr double kRoundSeconds = 0.1;
constexpr double kTimeout = 600;  // seconds
constexpr int kMostRuns = 1000;   // of a round

double own_round(const Session& session, const NamedValues& inputs) {
  std::vector<Value> results;
  std::vector<double> times;
  const auto run = [&] {
    const measure::Stopwatch watch;
    session.run(inputs, {}, {}, results);
    return 1e6 * watch.seconds();
  };
  run();  // after the peer had the caches
  const measure::Stopwatch round;
  while (times.empty() || (round.seconds() < kRoundSeconds && times.size() < kMostRuns))
    times.push_back(run());
  return measure::median(std::move(times));
}

double peer_round(engines::Worker& worker) {
  const Json answer = worker.call(
      {{"call", "round"}, {"seconds", kRoundSeconds}, {"least", 1}, {"most", kMostRuns}}, kTimeout);
  std::vector<double> times;
  for (const Json& ns : answer.at("ns")) times.push_back(ns.get<double>() / 1000);
  return measure::median(std::move(times));
}

NodeNames all_nodes(const onnx::Graph& model) {
  NodeNames names;
  for (const onnx::Node& node : model.nodes)
    names.insert(node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name);
  return names;
}

// By event; where events and nodes cannot be lined up, all events belong to the whole model.
std::vector<NodeNames> nodes_of_events(const onnx::Graph& model,
                                       const engines::PeerProfile& profile) {
  if (profile.graph.empty()) {
    std::vector<NodeNames> nodes = nodes_by_products(model, profile.events);
    return nodes.empty() ? std::vector<NodeNames>(profile.events.size(), all_nodes(model)) : nodes;
  }
  const onnx::Model ran = onnx::load(profile.graph, {.allow_missing_external_data = true});
  return nodes_by_event(model, ran.graph, profile.events);
}

}  // namespace

PeerRun run_peer(const PeerRequest& request, const Session& session, const NamedValues& inputs) {
  constexpr int kRounds = 16, kProfiledRuns = 20;
  const auto tell = [&](const std::string& text) {
    if (request.progress) request.progress(text);
  };
  const std::string python = engines::find_python(request.name, request.pythons);
  const std::string script = engines::write_worker_scripts(request.folder);
  engines::Worker worker = engines::Worker::start({python, script, request.name},
                                                  request.folder + "/" + request.name + ".log");
  PeerRun result;
  result.name = request.name;
  tell(request.name + ": loading");
  result.version = worker.call({{"call", "version"}}, kTimeout).at("version").get<std::string>();
  worker.call(request.load, kTimeout);
  std::vector<double> own, peers;
  for (int round = 0; round < kRounds; ++round) {
    tell(fmt::format("{}: round {} of {}", request.name, round + 1, kRounds));
    peers.push_back(peer_round(worker));
    own.push_back(own_round(session, inputs));
  }
  result.own_us = measure::median(own);
  result.peer_us = measure::median(peers);
  result.comparison = measure::compare(own, peers);
  tell(request.name + ": profiling");
  result.profile = engines::profile_peer(worker, kProfiledRuns, request.folder, request.on_gpu);
  result.nodes = nodes_of_events(session.impl().model().graph, result.profile);
  return result;
}

}  // namespace onrush::explain
