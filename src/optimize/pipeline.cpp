#include "optimize/pipeline.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>

#include "base/check.h"
#include "optimize/contractions.h"
#include "optimize/facts.h"
#include "optimize/fold_weights.h"
#include "optimize/layout.h"
#include "optimize/merge_contractions.h"
#include "optimize/quantized.h"
#include "optimize/simplify.h"

namespace onrush {
namespace {

constexpr Pass kPasses[] = {
    {"quantized", quantized},       {"simplify", simplify},
    {"contractions", contractions}, {"layout", layout},
    {"simplify", simplify},         {"contractions", contractions},
    {"fold_weights", fold_weights}, {"merge_contractions", merge_contractions},
    {"simplify", simplify},
};

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void check_names(const OptimizeOptions& options) {
  for (const std::string& name : options.disabled)
    if (std::ranges::none_of(kPasses, [&](const Pass& pass) { return pass.name == name; }))
      fail(ErrorCode::invalid_argument, "no pass of the optimizer is called '{}'", name);
}

Graph run_pass(int step, Graph graph, const OptimizeOptions& options) {
  using Clock = std::chrono::steady_clock;
  const Pass& pass = kPasses[step];
  const Graph before = options.observer ? graph : Graph();
  const auto start = Clock::now();
  Graph result = pass.run(std::move(graph), options);
  const std::chrono::duration<double, std::milli> elapsed = Clock::now() - start;
  if (options.verify) verify(result, Stage::optimized);
  if (options.observer) options.observer({pass.name, step, elapsed.count(), before, result});
  return result;
}

// The graph with the bodies of its loops optimized. Loops that share a body go on sharing it.
Graph optimize_bodies(const Graph& graph, const OptimizeOptions& options) {
  std::map<const Graph*, std::shared_ptr<const Graph>> bodies;
  Builder b(graph, pass_folder());
  std::vector<NodeId> made;
  for (const Node& node : graph.nodes) {
    Node copy = node;
    if (auto* loop = std::get_if<LoopAttr>(&copy.attr)) {
      auto& body = bodies[loop->body.get()];
      if (!body) body = std::make_shared<const Graph>(optimize(*loop->body, options));
      loop->body = body;
    }
    for (NodeId& operand : copy.inputs) operand = made[operand.index];
    b.set_origins(copy.origins);
    made.push_back(b.rebuild(copy, copy.inputs));
  }
  for (const GraphOutput& output : graph.outputs) b.output(output.name, made[output.node.index]);
  return b.finish();
}

std::map<std::string, int> count_lines(const Graph& graph) {
  std::map<std::string, int> lines;
  for (const Node& node : graph.nodes) {
    const std::string attr = to_string(node.attr);
    ++lines[fmt::format("{}{} : {}", name(node.op), attr.empty() ? "" : " {" + attr + "}",
                        to_string(node.type))];
  }
  return lines;
}

}  // namespace

std::span<const Pass> passes() { return kPasses; }

Graph optimize(Graph graph, const OptimizeOptions& options) {
  check_names(options);
  const bool has_loops =
      std::ranges::any_of(graph.nodes, [](const Node& node) { return node.op == Op::loop; });
  if (has_loops) graph = optimize_bodies(graph, options);
  const int last = std::min(options.stop_after, static_cast<int>(std::size(kPasses)));
  for (int step = 0; step < last; ++step)
    if (!contains(options.disabled, kPasses[step].name))
      graph = run_pass(step, std::move(graph), options);
  return graph;
}

std::string describe_changes(const Graph& before, const Graph& after) {
  std::map<std::string, int> change = count_lines(after);
  for (const auto& [line, count] : count_lines(before)) change[line] -= count;
  std::string text;
  for (const auto& [line, count] : change)
    if (count != 0) text += fmt::format("{} {} {}\n", count < 0 ? '-' : '+', std::abs(count), line);
  return text;
}

}  // namespace onrush
