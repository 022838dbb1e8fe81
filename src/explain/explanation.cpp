#include "explain/explanation.h"

#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "explain/alternatives.h"
#include "explain/first_nan.h"
#include "measure/process.h"
#include "runtime/session_impl.h"

namespace onrush::explain {
namespace {

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

// The innermost frame of a Python stack trace, `File "model.py", line 12, in forward` and the line
// itself, as "model.py:12 x = self.conv1(x)". Empty for other texts.
std::string innermost_frame(const std::string& trace) {
  constexpr std::string_view kFile = "File \"", kLine = "\", line ";
  const size_t file = trace.rfind(kFile);
  if (file == std::string::npos) return "";
  const size_t path = file + kFile.size(), line = trace.find(kLine, path);
  if (line == std::string::npos) return "";
  const size_t number = line + kLine.size();
  const size_t end = std::min(trace.find('\n', number), trace.size());
  const size_t digits = trace.find_first_not_of("0123456789", number);
  const size_t next = std::min(trace.find('\n', std::min(end + 1, trace.size())), trace.size());
  const std::string code = end < trace.size() ? trimmed(trace.substr(end + 1, next - end - 1)) : "";
  return trimmed(fmt::format("{}:{} {}", trace.substr(path, line - path),
                             trace.substr(number, digits - number), code));
}

// torch.export writes the trace into the node's metadata, older exporters into its doc_string.
std::string source_of(const onnx::Node& node) {
  for (const auto& [key, value] : node.metadata)
    if (key == "pkg.torch.onnx.stack_trace") return innermost_frame(value);
  return innermost_frame(node.doc_string);
}

void add_nodes(const onnx::Graph& graph, ModelNodes& nodes) {
  for (const onnx::Node& node : graph.nodes) {
    const std::string op = node.domain.empty() ? node.op_type : node.domain + "." + node.op_type;
    const std::string& name =
        node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name;
    nodes.insert({name, {op, source_of(node)}});
    for (const onnx::Attribute& attribute : node.attributes) {
      if (const auto* body = std::get_if<std::shared_ptr<const onnx::Graph>>(&attribute.value))
        add_nodes(**body, nodes);
      if (const auto* bodies =
              std::get_if<std::vector<std::shared_ptr<const onnx::Graph>>>(&attribute.value))
        for (const auto& body : *bodies) add_nodes(*body, nodes);
    }
  }
}

enum class Work { none, elementwise, products };

Work work_of(const std::string& op) {
  static const std::set<std::string> movement = {
      "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity",  "Pad",      "Reshape",
      "Slice",  "SpaceToDepth", "Split",  "Squeeze", "Tile",   "Transpose", "Unsqueeze"};
  static const std::set<std::string> products = {
      "Attention", "Conv", "ConvInteger", "ConvTranspose", "DeformConv",  "Einsum",        "GRU",
      "Gemm",      "LSTM", "MatMul",      "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN"};
  if (movement.contains(op)) return Work::none;
  return products.contains(op) ? Work::products : Work::elementwise;
}

std::vector<StepFigures> steps_of(const Timeline& timeline, const Roofs& roofs,
                                  const ModelNodes& nodes) {
  std::vector<StepFigures> steps;
  std::map<const ProfiledStep*, size_t> position;
  for (const TimelineEvent& event : timeline.events) {
    const auto [found, fresh] = position.try_emplace(event.step.get(), steps.size());
    if (fresh) steps.push_back({event.step});
    StepFigures& figures = steps[found->second];
    ++figures.calls;
    figures.time_us += event.part_us;
  }
  std::map<std::string, int> users;  // steps that know the node
  for (const StepFigures& figures : steps)
    for (const auto* names : {&figures.step->nodes, &figures.step->inlined})
      for (const std::string& node : *names) ++users[node];
  for (StepFigures& figures : steps) {
    figures.nodes = figures.step->nodes;
    for (const std::string& node : figures.step->inlined)
      if (users[node] == 1) figures.nodes.push_back(node);
    figures.shares = shares_of(*figures.step, figures.nodes, nodes);
    const auto kernels = static_cast<size_t>(figures.step->kernels);
    figures.calls = (figures.calls + kernels - 1) / kernels;
    figures.speed =
        speed_of(*figures.step, figures.time_us / static_cast<double>(figures.calls), roofs);
  }
  return steps;
}

std::vector<NodeFigures> by_node(const std::vector<StepFigures>& steps) {
  std::map<std::string, double> times;
  for (const StepFigures& figures : steps) {
    for (size_t i = 0; i < figures.nodes.size(); ++i)
      times[figures.nodes[i]] += figures.shares[i] * figures.time_us;
  }
  std::vector<NodeFigures> nodes;
  for (const auto& [name, time] : times) nodes.push_back({name, time});
  std::ranges::stable_sort(nodes, std::greater(), &NodeFigures::time_us);
  return nodes;
}

}  // namespace

std::vector<double> shares_of(const ProfiledStep& step, const std::vector<std::string>& nodes,
                              const ModelNodes& known) {
  std::vector<Work> work;
  for (const std::string& node : nodes) {
    const auto found = known.find(node);
    work.push_back(found == known.end() ? Work::elementwise : work_of(found->second.op));
  }
  const auto count = [&](Work kind) { return static_cast<double>(std::ranges::count(work, kind)); };
  const double multiplying = count(Work::products), others = count(Work::elementwise);
  if (multiplying + others == 0)
    return std::vector<double>(work.size(), 1 / static_cast<double>(work.size()));
  double products = step.flops > 0
                        ? static_cast<double>(step.product_flops) / static_cast<double>(step.flops)
                        : multiplying / (multiplying + others);
  if (multiplying == 0) products = 0;
  if (others == 0) products = 1;
  std::vector<double> shares;
  for (const Work kind : work)
    shares.push_back(kind == Work::products      ? products / multiplying
                     : kind == Work::elementwise ? (1 - products) / others
                                                 : 0);
  return shares;
}

ModelNodes nodes_of(const Session& session) {
  ModelNodes nodes;
  add_nodes(session.impl().model().graph, nodes);
  return nodes;
}

Explanation explain(const ExplainOptions& options, const Session& session,
                    const NamedValues& inputs) {
  Explanation result;
  result.model = options.model;
  result.options = options.session;
  result.device = device_name(options.session);
  if (options.record.progress) options.record.progress("compiling and first run");
  std::vector<Value> results;
  const auto run = [&](RunProfile* profile) {
    RunOptions run_options;
    run_options.profile = profile;
    session.run(inputs, {}, run_options, results);
  };
  const measure::Stopwatch first;
  run(nullptr);
  result.first_ms = first.milliseconds();
  result.timeline = record(run, options.record);
  result.roofs = roofs(options.session, options.record.progress);
  result.model_nodes = nodes_of(session);
  result.steps = steps_of(result.timeline, result.roofs, result.model_nodes);
  result.nodes = by_node(result.steps);
  result.nan = first_nan(session, inputs);
  if (options.alternatives) result.alternatives = compare_alternatives(options, session, inputs);
  return result;
}

}  // namespace onrush::explain
