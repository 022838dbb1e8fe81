#include "explain/summary.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <set>

#include "explain/why.h"
#include "runtime/precision.h"

namespace onrush::explain {
namespace {

using measure::Cell;
using measure::Json;
using measure::number;
using measure::Table;

Cell milliseconds(double us) { return number(us / 1000); }
Cell percent(double share) { return {share, fmt::format("{:.1f}", 100 * share)}; }

std::string op_of(const Explanation& explanation, const std::string& node) {
  const auto found = explanation.model_nodes.find(node);
  return found == explanation.model_nodes.end() ? "" : found->second.op;
}

// "Conv+Relu" of the nodes' operators, each kind once, in the order of the nodes.
std::string operators_of(const Explanation& explanation, const StepFigures& step) {
  std::vector<std::string> ops;
  for (const std::string& node : step.nodes)
    if (const std::string op = op_of(explanation, node);
        !op.empty() && std::ranges::find(ops, op) == ops.end())
      ops.push_back(op);
  constexpr size_t kMost = 5;
  if (ops.size() <= kMost) return fmt::format("{}", fmt::join(ops, "+"));
  return fmt::format("{}+{} more", fmt::join(ops.begin(), ops.begin() + kMost, "+"),
                     ops.size() - kMost);
}

std::string nodes_text(const StepFigures& figures) {
  constexpr size_t kLongest = 40;
  if (figures.nodes.empty()) return "";
  // The node that most of the arithmetic is for.
  size_t main = 0;
  for (size_t i = 1; i < figures.nodes.size(); ++i)
    if (figures.shares[i] > figures.shares[main]) main = i;
  std::string text = figures.nodes[main];
  if (text.size() > kLongest) text = "..." + text.substr(text.size() - kLongest);
  if (figures.nodes.size() > 1) text += fmt::format(" and {} more", figures.nodes.size() - 1);
  return text;
}

Table parts_table(const Explanation& explanation) {
  Table table{"parts",
              "",
              {{"part", "where the time goes"}, {"ms", "ms"}, {"share", "%"}, {"what", ""}},
              {}};
  for (const Part& part : parts_of(explanation))
    table.rows.push_back({part.name, milliseconds(part.time_us),
                          percent(part.time_us / explanation.timeline.wall_us), part.what});
  return table;
}

Cell share_of_roof(double rate, double share, bool any) {
  if (!any) return {};
  return {share, fmt::format("{} ({:.0f} %)", measure::significant(rate / 1e9, 3), 100 * share)};
}

Table steps_table(const Explanation& explanation, size_t rows) {
  Table table{"steps",
              "steps, slowest first (in brackets: of what this machine can reach)",
              {{"time", "ms"},
               {"share", "%"},
               {"bandwidth", "GB/s"},
               {"arithmetic", "GFLOP/s"},
               {"bound", "bound by"},
               {"kernel", "kernel"},
               {"operators", "operators"},
               {"nodes", "nodes"}},
              {}};
  double left = 0;
  const auto order = slowest_first(explanation.steps);
  for (size_t i = 0; i < order.size(); ++i) {
    const StepFigures& figures = explanation.steps[order[i]];
    if (i >= rows) {
      left += figures.time_us;
      continue;
    }
    const ProfiledStep& step = *figures.step;
    const Speed& speed = figures.speed;
    const std::string calls = figures.calls > 1 ? fmt::format(" x{}", figures.calls) : "";
    table.rows.push_back(
        {milliseconds(figures.time_us), percent(figures.time_us / explanation.timeline.wall_us),
         share_of_roof(speed.bytes_per_second, speed.memory_share, speed.bytes_per_second > 0),
         share_of_roof(speed.flops_per_second, speed.arithmetic_share, speed.flops_per_second > 0),
         std::string(name(speed.bound)), step.kind + calls, operators_of(explanation, figures),
         nodes_text(figures)});
  }
  if (order.size() > rows)
    table.rows.push_back({milliseconds(left),
                          percent(left / explanation.timeline.wall_us),
                          {},
                          {},
                          {},
                          fmt::format("{} more", order.size() - rows)});
  return table;
}

struct Sum {
  double time_us = 0;
  size_t count = 0;
};

// Slowest first.
std::vector<std::pair<std::string, Sum>> sorted(const std::map<std::string, Sum>& sums) {
  std::vector<std::pair<std::string, Sum>> list(sums.begin(), sums.end());
  std::ranges::stable_sort(list, std::greater(), [](const auto& e) { return e.second.time_us; });
  return list;
}

Table operators_table(const Explanation& explanation, size_t rows) {
  Table table{"operators",
              "ONNX operators (a fused step's time is shared out by arithmetic)",
              {{"time", "ms"}, {"share", "%"}, {"nodes", "nodes"}, {"operator", "operator"}},
              {}};
  std::map<std::string, Sum> sums;
  for (const NodeFigures& node : explanation.nodes) {
    Sum& sum = sums[op_of(explanation, node.name)];
    sum.time_us += node.time_us;
    ++sum.count;
  }
  for (const auto& [op, sum] : sorted(sums)) {
    if (table.rows.size() == rows) break;
    table.rows.push_back({milliseconds(sum.time_us),
                          percent(sum.time_us / explanation.timeline.wall_us),
                          measure::count(sum.count), op.empty() ? "(not in the file)" : op});
  }
  return table;
}

Table nodes_table(const Explanation& explanation, size_t rows) {
  Table table{"nodes",
              "ONNX nodes, slowest first",
              {{"time", "ms"},
               {"share", "%"},
               {"operator", "operator"},
               {"node", "node"},
               {"source", "exported from"}},
              {}};
  bool any_source = false;
  for (const NodeFigures& node : explanation.nodes) {
    if (table.rows.size() == rows) break;
    const auto found = explanation.model_nodes.find(node.name);
    const std::string source = found == explanation.model_nodes.end() ? "" : found->second.source;
    any_source = any_source || !source.empty();
    table.rows.push_back({milliseconds(node.time_us),
                          percent(node.time_us / explanation.timeline.wall_us),
                          op_of(explanation, node.name), node.name, source});
  }
  if (any_source) return table;
  table.columns.pop_back();
  for (auto& row : table.rows) row.pop_back();
  return table;
}

Table fusion_table(const Explanation& explanation) {
  std::map<std::string, Sum> reasons;
  for (const StepFigures& figures : explanation.steps) {
    if (figures.step->apart.empty()) continue;
    Sum& sum = reasons[figures.step->apart];
    sum.time_us += figures.time_us;
    ++sum.count;
  }
  Table table{"apart",
              "why these steps are kernels of their own",
              {{"time", "ms"}, {"share", "%"}, {"steps", "steps"}, {"reason", "reason"}},
              {}};
  for (const auto& [reason, sum] : sorted(reasons))
    table.rows.push_back({milliseconds(sum.time_us),
                          percent(sum.time_us / explanation.timeline.wall_us),
                          measure::count(sum.count), reason});
  return table;
}

Table alternatives_table(const Explanation& explanation) {
  Table table{"options",
              "what other options would do (measured by turns with this run)",
              {{"option", "option"},
               {"time", "ms"},
               {"verdict", "verdict"},
               {"difference", "largest difference"}},
              {}};
  for (const Alternative& other : explanation.alternatives) {
    if (!other.error.empty()) {
      table.rows.push_back({other.name, {}, other.error});
      continue;
    }
    table.rows.push_back({other.name, milliseconds(other.time_us),
                          verdict_text(other.comparison, other.name, "this run"),
                          Cell{other.difference, fmt::format("{:.0e}", other.difference)}});
  }
  return table;
}

std::string roofs_text(const Roofs& roofs) {
  std::vector<std::string> levels;
  for (const Roofs::Bandwidth& b : roofs.bandwidth)
    levels.push_back(fmt::format("{} at {} MiB", measure::significant(b.bytes_per_second / 1e9, 3),
                                 measure::significant(b.bytes / (1 << 20), 2)));
  if (levels.empty()) return "";
  return fmt::format(
      "The machine reaches {} GFLOP/s in products, {} GFLOP/s elementwise; GB/s by what a kernel "
      "touches: {}; a kernel of one element takes {} us.",
      measure::significant(roofs.product_flops / 1e9, 3),
      measure::significant(roofs.vector_flops / 1e9, 3), fmt::join(levels, ", "),
      measure::significant(roofs.start_us, 2));
}

std::string fusion_text(const Explanation& explanation) {
  std::set<std::string> computed, inlined;
  size_t kernels = 0, fused = 0;
  for (const StepFigures& figures : explanation.steps) {
    computed.insert(figures.nodes.begin(), figures.nodes.end());
    inlined.insert(figures.step->inlined.begin(), figures.step->inlined.end());
    kernels += is_kernel(*figures.step);
    fused += is_kernel(*figures.step) && figures.nodes.size() > 1;
  }
  const auto in_file = [&](const std::string& node) {
    return explanation.model_nodes.contains(node);
  };
  const auto all = static_cast<ptrdiff_t>(explanation.model_nodes.size());
  const auto here = std::ranges::count_if(computed, in_file);
  const auto inside = std::ranges::count_if(
      inlined, [&](const std::string& n) { return in_file(n) && !computed.contains(n); });
  return fmt::format(
      "{} ONNX nodes: {} are computed in {} steps ({} kernels, {} of which do several nodes' "
      "work), "
      "{} inside whatever reads them; {} cost nothing in a run: they are known before it.",
      all, here, explanation.steps.size(), kernels, fused, inside, all - here - inside);
}

const char* what_is(std::string_view kind) {
  if (kind == "launch") return "the host hands kernels to the driver, and the device has none";
  if (kind == "wait") return "the host waits for the device, which is idle or not yet heard of";
  if (kind == "send") return "the host hands copies to the driver, and the device does nothing";
  return "inputs to the device, outputs from it";
}

}  // namespace

std::string precision_name(const SessionOptions& options) {
  if (options.precision == Precision::standard)
    return options.device.starts_with("cuda") ? "tf32" : "fp32";
  return std::string(name_of(options.precision));
}

std::vector<size_t> slowest_first(const std::vector<StepFigures>& steps) {
  std::vector<size_t> order(steps.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return steps[i].time_us; });
  return order;
}

std::vector<Part> parts_of(const Explanation& explanation) {
  const Timeline& timeline = explanation.timeline;
  std::map<std::string, Sum> categories;
  for (const TimelineEvent& event : timeline.events) {
    Sum& sum = categories[std::string(category(*event.step))];
    sum.time_us += event.part_us;
    ++sum.count;
  }
  std::vector<Part> parts;
  for (const auto& [name, sum] : sorted(categories))
    parts.push_back({name, sum.time_us, fmt::format("{} a run", sum.count)});
  for (const Timeline::Around& around : timeline.around)
    parts.push_back({around.kind, around.time_us, what_is(around.kind)});
  parts.push_back({"between", timeline.between_us, "from one step to the next"});
  parts.push_back({"before", timeline.before_us, "checking inputs, finding the plan"});
  parts.push_back({"after", timeline.after_us, "passing on outputs"});
  parts.push_back({"call", timeline.caller_us, "into the session and back"});
  const double rest = explanation.unattributed_us();
  parts.push_back({"unattributed", rest,
                   rest < 0 ? "less than nothing: being watched slowed the run down" : ""});
  return parts;
}

measure::Report summary(const Explanation& explanation, size_t rows) {
  const Timeline& timeline = explanation.timeline;
  measure::Report report;
  report.facts = {
      {"model", explanation.model},
      {"device", explanation.options.device + " (" + explanation.device + ")"},
      {"precision", precision_name(explanation.options)},
      {"a run",
       {timeline.wall_us,
        fmt::format("{} ms ({} to {} in 80 % of {} runs)", milliseconds(timeline.wall_us).shown,
                    milliseconds(timeline.fast_us).shown, milliseconds(timeline.slow_us).shown,
                    timeline.runs + timeline.others)}}};
  if (!explanation.nan.empty()) report.facts.emplace_back("warning", explanation.nan);
  if (explanation.peer)
    report.tables = {causes_table(explanation, *explanation.peer),
                     regions_table(explanation, *explanation.peer, rows)};
  for (Table& table : std::vector<Table>{parts_table(explanation), steps_table(explanation, rows),
                                         operators_table(explanation, rows),
                                         nodes_table(explanation, rows), fusion_table(explanation)})
    report.tables.push_back(std::move(table));
  if (!explanation.alternatives.empty()) report.tables.push_back(alternatives_table(explanation));
  if (!explanation.peer_failure.empty())
    report.remarks.push_back("No comparison: " + explanation.peer_failure);
  if (explanation.peer)
    for (std::string& remark : remarks(explanation, *explanation.peer))
      report.remarks.push_back(std::move(remark));
  report.remarks.push_back(fusion_text(explanation));
  if (const std::string text = roofs_text(explanation.roofs); !text.empty())
    report.remarks.push_back(text);
  if (timeline.device_clock == "events")
    report.remarks.push_back(
        "CUPTI is not to be had, so kernels are timed by events between them, which keep them from "
        "overlapping and are less exact.");
  constexpr double kMuch = 0.03;
  if (std::abs(explanation.unattributed_us()) > kMuch * timeline.wall_us)
    report.remarks.push_back(
        "Profiled runs and those that nothing watched differ by more than 3 %: the machine has "
        "other "
        "work to do, or the model is so small that looking at the clock shows. More --runs help.");
  if (timeline.others)
    report.remarks.push_back(
        fmt::format("{} of the profiled runs took other steps than the last one and are left out.",
                    timeline.others));
  return report;
}

Json to_json(const Explanation& explanation) {
  const Timeline& timeline = explanation.timeline;
  Json result = {{"model", explanation.model},
                 {"device", explanation.options.device},
                 {"device_name", explanation.device},
                 {"threads", explanation.options.threads},
                 {"precision", precision_name(explanation.options)},
                 {"load_ms", explanation.load_ms},
                 {"first_run_ms", explanation.first_ms},
                 {"runs", timeline.runs},
                 {"wall_us", timeline.wall_us},
                 {"p10_us", timeline.fast_us},
                 {"p90_us", timeline.slow_us},
                 {"profiled_us", timeline.profiled_us}};
  Json& parts = result["parts"] = Json::array();
  for (const Part& part : parts_of(explanation))
    parts.push_back({{"name", part.name}, {"us", part.time_us}});
  Json& bandwidth = result["roofs"]["bandwidth"] = Json::array();
  for (const Roofs::Bandwidth& b : explanation.roofs.bandwidth)
    bandwidth.push_back({{"bytes", b.bytes}, {"bytes_per_second", b.bytes_per_second}});
  result["roofs"]["product_flops"] = explanation.roofs.product_flops;
  result["roofs"]["vector_flops"] = explanation.roofs.vector_flops;
  result["roofs"]["start_us"] = explanation.roofs.start_us;
  std::map<const ProfiledStep*, size_t> position;
  Json& steps = result["steps"] = Json::array();
  for (const StepFigures& figures : explanation.steps) {
    const ProfiledStep& step = *figures.step;
    position.emplace(&step, steps.size());
    steps.push_back({{"kind", step.kind},
                     {"name", step.name},
                     {"category", category(step)},
                     {"operators", operators_of(explanation, figures)},
                     {"nodes", figures.nodes},
                     {"shares", figures.shares},
                     {"inlined", step.inlined},
                     {"apart", step.apart},
                     {"way", step.way},
                     {"calls", figures.calls},
                     {"us", figures.time_us},
                     {"bytes_read", step.bytes_read},
                     {"bytes_written", step.bytes_written},
                     {"flops", step.flops},
                     {"product_flops", step.product_flops},
                     {"scratch_bytes", step.scratch_bytes},
                     {"memory_share", figures.speed.memory_share},
                     {"arithmetic_share", figures.speed.arithmetic_share},
                     {"bound", name(figures.speed.bound)}});
  }
  Json& events = result["events"] = Json::array();
  for (const TimelineEvent& event : timeline.events)
    events.push_back({{"step", position.at(event.step.get())},
                      {"start_us", event.start_us},
                      {"us", event.time_us}});
  Json& pieces = result["pieces"] = Json::array();
  for (const TimelineEvent& piece : timeline.pieces)
    pieces.push_back(
        {{"kind", piece.step->kind}, {"start_us", piece.start_us}, {"us", piece.time_us}});
  result["device_clock"] = timeline.device_clock;
  Json& nodes = result["nodes"] = Json::array();
  for (const NodeFigures& node : explanation.nodes) {
    const auto found = explanation.model_nodes.find(node.name);
    const ModelNode known = found == explanation.model_nodes.end() ? ModelNode{} : found->second;
    nodes.push_back(
        {{"name", node.name}, {"op", known.op}, {"us", node.time_us}, {"source", known.source}});
  }
  if (!explanation.nan.empty()) result["nan"] = explanation.nan;
  if (explanation.peer) result["why"] = to_json(explanation, *explanation.peer);
  if (!explanation.peer_failure.empty()) result["peer_failure"] = explanation.peer_failure;
  Json& options = result["options"] = Json::array();
  for (const Alternative& other : explanation.alternatives) {
    Json row = {{"option", other.name}};
    if (!other.error.empty()) {
      row["error"] = other.error;
    } else {
      row["us"] = other.time_us;
      row["ratio"] = {other.comparison.ratio, other.comparison.interval.low,
                      other.comparison.interval.high};
      row["verdict"] = measure::name(other.comparison.verdict);
      row["difference"] = other.difference;
    }
    options.push_back(std::move(row));
  }
  return result;
}

}  // namespace onrush::explain
