#include "explain/why.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "explain/summary.h"

namespace onrush::explain {
namespace {

using measure::Cell;
using measure::duration;
using measure::Json;
using measure::Table;

Cell milliseconds(double us) { return measure::number(us / 1000); }

std::string title_of(const Cause& cause) {
  return cause.op.empty() ? std::string(name(cause.kind)) : "kernels for " + cause.op;
}

template <class Items, class Name>
std::string listed(const Items& items, size_t most, const Name& name) {
  std::string text;
  size_t count = 0;
  for (const auto& item : items) {
    if (count++ == most) return text + fmt::format(" and {} more", items.size() - most);
    text += (text.empty() ? "" : ", ") + name(item);
  }
  return text;
}

Json to_json(const engines::PeerEvent& event) {
  return {{"name", event.name},         {"op", event.op},
          {"provider", event.provider}, {"kernel", event.kernel},
          {"us", event.time_us},        {"device_us", event.device_us},
          {"calls", event.calls},       {"position", event.position}};
}

}  // namespace

std::string headline(const PeerRun& peer) {
  const std::string name = peer.name + " " + peer.version;
  return fmt::format("{}: {} against {}.", verdict_text(peer.comparison, "onrush", name),
                     duration(peer.own_us), duration(peer.peer_us));
}

Table causes_table(const Explanation& explanation, const PeerRun& peer) {
  Table table{"causes",
              "why: " + headline(peer),
              {{"difference", "ms"},
               {"share", "%"},
               {"own", "onrush"},
               {"peer", peer.name},
               {"cause", "cause"},
               {"words", ""}},
              {}};
  const double all = peer.peer_us - peer.own_us;
  for (const Cause& cause : causes_of(explanation, peer)) {
    const double share = std::abs(all) > 0 ? cause.difference() / all : 0;
    table.rows.push_back(
        {Cell{cause.difference() / 1000, fmt::format("{:+.3f}", cause.difference() / 1000)},
         Cell{share, fmt::format("{:.0f}", 100 * share)}, milliseconds(cause.own_us),
         milliseconds(cause.peer_us), title_of(cause), words(cause, peer.name)});
  }
  return table;
}

Table regions_table(const Explanation& explanation, const PeerRun& peer, size_t rows) {
  Table table{"regions",
              "parts of the model, the greatest differences first (as profiled)",
              {{"difference", "ms"},
               {"own", "onrush"},
               {"peer", peer.name},
               {"own_kernels", "kernels"},
               {"peer_kernels", "its kernels"},
               {"nodes", "nodes"}},
              {}};
  std::vector<Region> regions = regions_of(explanation.steps, peer.profile.events, peer.nodes);
  std::ranges::stable_sort(regions, std::greater(), [](const Region& region) {
    return std::abs(region.peer_us - region.own_us);
  });
  for (const Region& region : regions) {
    if (table.rows.size() == rows) break;
    const double difference = (region.peer_us - region.own_us) / 1000;
    constexpr size_t kMost = 3;
    table.rows.push_back(
        {Cell{difference, fmt::format("{:+.3f}", difference)}, milliseconds(region.own_us),
         milliseconds(region.peer_us),
         listed(region.steps, kMost, [&](size_t i) { return explanation.steps[i].step->name; }),
         listed(region.events, kMost, [&](size_t i) { return peer.profile.events[i].op; }),
         listed(region.nodes, kMost, [](const std::string& node) { return node; })});
  }
  return table;
}

std::vector<std::string> remarks(const Explanation& explanation, const PeerRun& peer) {
  std::vector<std::string> result;
  const std::string precision = precision_name(explanation.options);
  const bool gpu = explanation.options.device.starts_with("cuda");
  const auto has = [&](std::string_view variant) {
    return peer.name.find(variant) != std::string::npos;
  };
  if ((precision == "fp16" || precision == "bf16") && !has("half") && !has("autocast") &&
      !has("bf16"))
    result.push_back(fmt::format(
        "With --precision {} Onrush computes products of fp32 models in 16 bits, and {} does not: "
        "--precision {} compares like with like.",
        precision, peer.name, gpu ? "tf32" : "fp32"));
  if (peer.profile.unwaited_us > 0)
    result.push_back(fmt::format(
        "A clock that does not wait for the GPU would show {} for {}, with inputs and outputs "
        "left there: its calls return before the work is done.",
        duration(peer.profile.unwaited_us), peer.name));
  return result;
}

Json to_json(const Explanation& explanation, const PeerRun& peer) {
  Json result = {
      {"peer", peer.name},
      {"version", peer.version},
      {"own_us", peer.own_us},
      {"peer_us", peer.peer_us},
      {"ratio",
       {peer.comparison.ratio, peer.comparison.interval.low, peer.comparison.interval.high}},
      {"verdict", measure::name(peer.comparison.verdict)}};
  if (peer.profile.unwaited_us > 0) result["unwaited_us"] = peer.profile.unwaited_us;
  Json& causes = result["causes"] = Json::array();
  for (const Cause& cause : causes_of(explanation, peer))
    causes.push_back({{"cause", name(cause.kind)},
                      {"op", cause.op},
                      {"own_us", cause.own_us},
                      {"peer_us", cause.peer_us},
                      {"words", words(cause, peer.name)}});
  Json& regions = result["regions"] = Json::array();
  for (const Region& region : regions_of(explanation.steps, peer.profile.events, peer.nodes)) {
    Json kernels = Json::array();
    for (const size_t i : region.events) kernels.push_back(to_json(peer.profile.events[i]));
    regions.push_back({{"nodes", region.nodes},
                       {"steps", region.steps},
                       {"own_us", region.own_us},
                       {"peer_us", region.peer_us},
                       {"kernels", std::move(kernels)}});
  }
  return result;
}

Svg causes_figure(const Explanation& explanation, const PeerRun& peer) {
  constexpr double kNames = 210, kWidth = 1000, kRow = 40, kLegend = 26;
  constexpr size_t kMost = 12;
  std::vector<Cause> causes = causes_of(explanation, peer);
  if (causes.size() > kMost) causes.resize(kMost);
  std::vector<std::tuple<std::string, double, double>> rows = {
      {"the whole run", peer.own_us, peer.peer_us}};
  for (const Cause& cause : causes) rows.emplace_back(title_of(cause), cause.own_us, cause.peer_us);
  Svg svg("why", kWidth, kLegend + kRow * static_cast<double>(rows.size()) + 6,
          fmt::format("Times of Onrush and of {}, by cause of their difference", peer.name));
  svg.box(kNames, 4, 14, 12, "contraction", -1, "Onrush");
  svg.text(kNames + 20, 15, "Onrush", "start", "small");
  svg.box(kNames + 90, 4, 14, 12, "attention", -1, peer.name);
  svg.text(kNames + 110, 15, peer.name, "start", "small");
  const double longest = std::max(peer.own_us, peer.peer_us);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& [title, own, other] = rows[i];
    const double y = kLegend + kRow * static_cast<double>(i);
    svg.text(kNames - 8, y + 20, title, "end", "label");
    const auto bar = [&](double at, double us, std::string_view kind) {
      const double width = std::max(us, 0.0) / longest * (kWidth - kNames - 90);
      svg.box(kNames, at, width, 14, kind, -1, title + ": " + duration(us));
      svg.text(kNames + width + 6, at + 11, duration(us), "start", "small");
    };
    bar(y + 2, own, "contraction");
    bar(y + 18, other, "attention");
  }
  return svg;
}

}  // namespace onrush::explain
