#include "explain/figures.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <map>

#include "explain/summary.h"
#include "explain/treemap.h"
#include "explain/why.h"
#include "measure/report.h"

namespace onrush::explain {
namespace {

using measure::duration;
using measure::significant;

constexpr double kWidth = 1000;
constexpr double kLeft = 64, kRight = 16;  // margins of figures with axes
constexpr double kCharacter = 6.4;         // a wide letter of an inside label

std::string bytes_text(double bytes) {
  constexpr std::array<const char*, 4> kUnits = {"B", "KiB", "MiB", "GiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  return significant(bytes, 3) + " " + kUnits[unit];
}

std::string kind_of(const ProfiledStep& step) {
  const bool other = step.kind == "graph" || step.kind == "compile" || step.kind == "bind";
  return other ? "other" : step.kind;
}

std::string title_of(const StepFigures& figures) {
  const ProfiledStep& step = *figures.step;
  std::string nodes;
  for (size_t i = 0; i < std::min<size_t>(figures.nodes.size(), 4); ++i)
    nodes += (i ? ", " : "") + figures.nodes[i];
  return fmt::format("{} {}: {}; {}", step.kind, step.name, duration(figures.time_us), nodes);
}

// The text, shortened to what fits; empty if that is next to nothing.
std::string fitting(std::string text, double width) {
  const auto letters = static_cast<size_t>(std::max(0.0, (width - 6) / kCharacter));
  if (text.size() <= letters) return text;
  return letters < 4 ? "" : text.substr(0, letters - 1) + ".";
}

// 1, 2 or 5 times a power of ten, at most `count` of which fill `range`.
double tick_step(double range, int count) {
  const double least = range / count;
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least) return factor * power;
  return 10 * power;
}

// Of what the figure shows, each kind with its look.
void legend(Svg& svg, const std::vector<std::string>& kinds, double x, double y, bool marks) {
  for (const std::string& kind : kinds) {
    if (marks) svg.mark(x + 6, y - 4, 5, kind, -1, kind);
    else svg.box(x, y - 11, 14, 12, kind, -1, kind);
    svg.text(x + 18, y, kind, "start", "small");
    x += 30 + kCharacter * static_cast<double>(kind.size());
  }
}

std::vector<std::string> kinds_of(const std::vector<StepFigures>& steps, bool kernels_only) {
  std::vector<std::string> kinds;
  for (const StepFigures& figures : steps) {
    if (kernels_only && !is_kernel(*figures.step)) continue;
    if (std::string kind = kind_of(*figures.step); std::ranges::find(kinds, kind) == kinds.end())
      kinds.push_back(std::move(kind));
  }
  return kinds;
}

// --- timeline

constexpr double kBarTop = 30, kBarHeight = 46, kAroundHeight = 14, kMemoryTop = 100,
                 kMemoryHeight = 90;

void time_axis(Svg& svg, double run_us, double scale, double bottom) {
  const double step = tick_step(run_us, 10);
  for (double at = 0; at <= run_us * 1.0001; at += step) {
    const double x = kLeft + at * scale;
    svg.line(x, kBarTop, x, bottom, "grid");
    svg.text(x, bottom + 14, duration(at), "middle", "small");
  }
}

// The scratch memory alive from each step's start to the next one's.
void memory_area(Svg& svg, const Timeline& timeline, double scale) {
  double most = 0;
  for (const TimelineEvent& event : timeline.events)
    most = std::max(most, static_cast<double>(event.step->scratch_bytes));
  if (most <= 0) return;
  const double bottom = kMemoryTop + kMemoryHeight;
  const auto height = [&](const TimelineEvent& event) {
    return bottom - kMemoryHeight * static_cast<double>(event.step->scratch_bytes) / most;
  };
  std::string path;
  double y = bottom, end = kLeft;
  for (const TimelineEvent& event : timeline.events) {
    const double x = kLeft + event.start_us * scale;
    if (path.empty()) path = fmt::format("M{:.2f} {:.2f}", x, bottom);
    path += fmt::format("L{:.2f} {:.2f}", x, y);
    y = height(event);
    path += fmt::format("L{:.2f} {:.2f}", x, y);
    end = x + event.time_us * scale;
  }
  path += fmt::format("L{0:.2f} {1:.2f}L{0:.2f} {2:.2f}Z", end, y, bottom);
  svg.path(path, "area");
  svg.text(kLeft - 6, kMemoryTop + 10, bytes_text(most), "end", "small");
  svg.text(kLeft - 6, bottom, "0", "end", "small");
}

// --- roofline

struct LogAxis {
  double low, high, from, to;  // values; coordinates
  double operator()(double value) const {
    return from + (to - from) * std::log(value / low) / std::log(high / low);
  }
};

std::string power_text(double value) {
  return value >= 0.01 && value < 1e6 ? fmt::format("{:g}", value) : fmt::format("{:.0e}", value);
}

void log_ticks(Svg& svg, const LogAxis& x, const LogAxis& y) {
  for (double at = x.low; at <= x.high * 1.001; at *= 10) {
    svg.line(x(at), y.from, x(at), y.to, "grid");
    svg.text(x(at), y.from + 14, power_text(at), "middle", "small");
  }
  for (double at = y.low; at <= y.high * 1.001; at *= 10) {
    svg.line(x.from, y(at), x.to, y(at), "grid");
    svg.text(x.from - 6, y(at) + 4, power_text(at), "end", "small");
  }
}

double power_below(double value) { return std::pow(10, std::floor(std::log10(value))); }
double power_above(double value) { return std::pow(10, std::ceil(std::log10(value))); }

// min(arithmetic, intensity * bandwidth) in GFLOP/s.
void roof(Svg& svg, const LogAxis& x, const LogAxis& y, double bytes_per_second, double flops,
          const std::string& name) {
  const double corner = flops / bytes_per_second;
  // Where the slope enters the figure: at its left side, or at its lower one.
  const double begin = std::max(x.low, y.low * 1e9 / bytes_per_second);
  if (corner <= begin || corner >= x.high) return;
  const double level = y(flops / 1e9);
  svg.path(fmt::format("M{:.2f} {:.2f}L{:.2f} {:.2f}L{:.2f} {:.2f}", x(begin),
                       y(begin * bytes_per_second / 1e9), x(corner), level, x.to, level),
           "roof");
  // Beside the middle of the slope.
  const double middle = std::sqrt(begin * corner);
  svg.text(x(middle) - 8, y(middle * bytes_per_second / 1e9) - 2, name, "end", "small");
}

}  // namespace

Svg parts_figure(const Explanation& explanation) {
  constexpr double kLine = 14;
  Svg svg("parts", kWidth, 62 + kLine, "What the wall clock of a run is made of");
  const std::vector<Part> parts = parts_of(explanation);
  double total = 0;
  for (const Part& part : parts) total += std::max(part.time_us, 0.0);
  double x = 0;
  std::vector<std::string> lines = {""};  // of parts too narrow for their names
  for (const Part& part : parts) {
    const double width = std::max(part.time_us, 0.0) / total * kWidth;
    const std::string share = fmt::format("{} {} ({:.1f} %)", part.name, duration(part.time_us),
                                          100 * part.time_us / explanation.timeline.wall_us);
    const std::string kind = part.name == "kernels"        ? "contraction"
                             : part.name == "unattributed" ? "other"
                                                           : part.name;
    const bool step =
        kind == "contraction" || kind == "host" || kind == "primitive" || kind == "loop" ||
        std::ranges::count(explanation.timeline.around, kind, &Timeline::Around::kind);
    svg.box(x, 4, width, 30, step ? kind : "gap", -1, share);
    if (const std::string label = fitting(share, width); label.size() == share.size())
      svg.text(x + 6, 23, label, "start", "inside");
    else if (std::string& line = lines.back(); line.empty()) line = share;
    else if (fitting(line + ", " + share, kWidth) == line + ", " + share) line += ", " + share;
    else lines.push_back(share);
    x += width;
  }
  for (size_t i = 0; i < lines.size(); ++i)
    svg.text(0, 54 + kLine * static_cast<double>(i), lines[i], "start", "small");
  return svg;
}

Svg timeline_figure(const Explanation& explanation) {
  const Timeline& timeline = explanation.timeline;
  Svg svg("timeline", kWidth, kMemoryTop + kMemoryHeight + 24,
          "What ran when, and the scratch memory alive meanwhile");
  double run_us = timeline.profiled_us;
  for (const TimelineEvent& event : timeline.events)
    run_us = std::max(run_us, event.start_us + event.time_us);
  const double scale = (kWidth - kLeft - kRight) / run_us;
  std::vector<std::string> kinds = kinds_of(explanation.steps, false);
  for (const Timeline::Around& around : timeline.around) kinds.push_back(around.kind);
  legend(svg, kinds, kLeft, 18, false);
  time_axis(svg, run_us, scale, kMemoryTop + kMemoryHeight);
  std::map<const ProfiledStep*, size_t> position;
  for (size_t i = 0; i < explanation.steps.size(); ++i)
    position[explanation.steps[i].step.get()] = i;
  for (const TimelineEvent& event : timeline.events) {
    const size_t at = position.at(event.step.get());
    svg.box(kLeft + event.start_us * scale, kBarTop, event.time_us * scale, kBarHeight,
            kind_of(*event.step), static_cast<int>(at), title_of(explanation.steps[at]));
  }
  for (const TimelineEvent& piece : timeline.pieces)
    svg.box(kLeft + piece.start_us * scale, kBarTop + kBarHeight + 2, piece.time_us * scale,
            kAroundHeight, piece.step->kind, -1,
            fmt::format("{}: {}", piece.step->kind, duration(piece.time_us)));
  if (!timeline.pieces.empty())
    svg.text(kLeft - 6, kBarTop + kBarHeight + kAroundHeight, "host", "end", "small");
  svg.text(kLeft - 6, kBarTop + kBarHeight / 2 + 4, "steps", "end", "small");
  memory_area(svg, timeline, scale);
  return svg;
}

Svg operators_figure(const Explanation& explanation) {
  constexpr double kHeight = 420;
  Svg svg("operators", kWidth, kHeight, "Time by ONNX operator, and by node within it");
  struct Operator {
    double time_us = 0;
    std::vector<const NodeFigures*> nodes;
  };
  std::map<std::string, Operator> by_name;
  for (const NodeFigures& node : explanation.nodes) {
    if (node.time_us <= 0) continue;
    const auto found = explanation.model_nodes.find(node.name);
    const std::string op =
        found == explanation.model_nodes.end() ? "not in the file" : found->second.op;
    by_name[op].time_us += node.time_us;
    by_name[op].nodes.push_back(&node);
  }
  std::vector<std::pair<std::string, Operator>> operators(by_name.begin(), by_name.end());
  std::ranges::sort(operators, std::greater(), [](const auto& op) { return op.second.time_us; });
  std::map<std::string, size_t> step_of;  // the step that spends most on the node
  std::map<std::string, double> most;
  for (size_t i = 0; i < explanation.steps.size(); ++i) {
    const StepFigures& figures = explanation.steps[i];
    for (size_t k = 0; k < figures.nodes.size(); ++k) {
      const double time = figures.shares[k] * figures.time_us;
      double& best = most[figures.nodes[k]];
      if (time >= best) best = time, step_of[figures.nodes[k]] = i;
    }
  }
  std::vector<double> sizes;
  for (const auto& [name, op] : operators) sizes.push_back(op.time_us);
  const std::vector<Rectangle> areas = treemap(sizes, {0, 0, kWidth, kHeight});
  constexpr double kTitle = 16, kLeastTitled = 34;
  for (size_t i = 0; i < operators.size(); ++i) {
    const auto& [name, op] = operators[i];
    Rectangle area = areas[i];
    const double share = 100 * op.time_us / explanation.timeline.wall_us;
    const std::string title = fmt::format("{} {:.1f} %", name, share);
    if (area.height >= kLeastTitled && !fitting(title, area.width).empty()) {
      svg.text(area.x + 4, area.y + 12, fitting(title, area.width), "start", "label");
      area.y += kTitle, area.height -= kTitle;
    }
    std::vector<double> nodes;
    for (const NodeFigures* node : op.nodes) nodes.push_back(node->time_us);
    const std::vector<Rectangle> boxes = treemap(nodes, area);
    for (size_t k = 0; k < boxes.size(); ++k) {
      const NodeFigures& node = *op.nodes[k];
      const size_t step = step_of.at(node.name);
      const Rectangle& box = boxes[k];
      svg.box(box.x, box.y, box.width, box.height, kind_of(*explanation.steps[step].step),
              static_cast<int>(step),
              fmt::format("{} {}: {}", name, node.name, duration(node.time_us)));
      if (box.height > 16)
        svg.text(box.x + 3, box.y + 12, fitting(node.name, box.width), "start", "inside");
    }
  }
  return svg;
}

Svg roofline_figure(const Explanation& explanation) {
  constexpr double kHeight = 420, kBottom = 46, kTop = 34;
  constexpr double kApart = 1.25;  // roofs whose texts do not cover each other
  Svg svg("roofline", kWidth, kHeight,
          "Operations a second of each kernel over its operations per byte, below what the machine "
          "reaches");
  const Roofs& roofs = explanation.roofs;
  if (roofs.bandwidth.empty() || roofs.product_flops <= 0) return svg;
  double low_x = 1, high_x = 10, low_y = 1e9, high_y = 1.2 * roofs.product_flops / 1e9;
  for (const StepFigures& figures : explanation.steps) {
    if (!is_kernel(*figures.step) || figures.speed.flops_per_second <= 0) continue;
    const double intensity = figures.speed.flops_per_second / figures.speed.bytes_per_second;
    low_x = std::min(low_x, intensity), high_x = std::max(high_x, intensity);
    low_y = std::min(low_y, figures.speed.flops_per_second / 1e9);
    high_y = std::max(high_y, figures.speed.flops_per_second / 1e9);
  }
  if (low_y > high_y) low_y = high_y / 100;
  const LogAxis x{power_below(low_x), power_above(high_x * 1.01), kLeft, kWidth - kRight};
  const LogAxis y{power_below(low_y), power_above(high_y), kHeight - kBottom, kTop};
  log_ticks(svg, x, y);
  svg.text((kLeft + kWidth) / 2, kHeight - 8, "operations per byte", "middle", "label");
  svg.text(4, kTop - 10, "GFLOP/s", "start", "label");
  const double cache =
      std::ranges::max_element(roofs.bandwidth, {}, &Roofs::Bandwidth::bytes_per_second)
          ->bytes_per_second;
  const auto& [bytes, memory] = roofs.bandwidth.back();
  if (cache > kApart * memory)
    roof(svg, x, y, cache, roofs.product_flops,
         fmt::format("cache, {} GB/s", significant(cache / 1e9, 3)));
  roof(svg, x, y, memory, roofs.product_flops,
       fmt::format("{} and more, {} GB/s", bytes_text(bytes), significant(memory / 1e9, 3)));
  svg.text(kWidth - kRight, y(roofs.product_flops / 1e9) - 6,
           fmt::format("products, {} GFLOP/s", significant(roofs.product_flops / 1e9, 3)), "end",
           "small");
  if (roofs.vector_flops / 1e9 > y.low) {
    svg.line(x(x.high) - 200, y(roofs.vector_flops / 1e9), x.to, y(roofs.vector_flops / 1e9),
             "roof");
    svg.text(kWidth - kRight, y(roofs.vector_flops / 1e9) - 6,
             fmt::format("elementwise, {} GFLOP/s", significant(roofs.vector_flops / 1e9, 3)),
             "end", "small");
  }
  for (size_t i = 0; i < explanation.steps.size(); ++i) {
    const StepFigures& figures = explanation.steps[i];
    if (!is_kernel(*figures.step) || figures.speed.flops_per_second <= 0) continue;
    const double intensity = figures.speed.flops_per_second / figures.speed.bytes_per_second;
    const double share = figures.time_us / explanation.timeline.wall_us;
    svg.mark(x(intensity), y(figures.speed.flops_per_second / 1e9), 3 + 24 * std::sqrt(share),
             kind_of(*figures.step), static_cast<int>(i), title_of(figures));
  }
  legend(svg, kinds_of(explanation.steps, true), kLeft + 80, kTop - 10, true);
  return svg;
}

Svg options_figure(const Explanation& explanation) {
  constexpr double kRow = 30, kNames = 150;
  std::vector<std::pair<std::string, double>> rows = {{"this run", explanation.timeline.wall_us}};
  for (const Alternative& other : explanation.alternatives)
    if (other.error.empty())
      rows.emplace_back(other.name, explanation.timeline.wall_us / other.comparison.ratio);
  double longest = 0;
  for (const auto& [name, time] : rows) longest = std::max(longest, time);
  Svg svg("options", kWidth, 10 + kRow * static_cast<double>(rows.size()),
          "What a run takes with other options");
  for (size_t i = 0; i < rows.size(); ++i) {
    const double y = 6 + kRow * static_cast<double>(i);
    const double width = rows[i].second / longest * (kWidth - kNames - 120);
    svg.text(kNames - 8, y + 16, rows[i].first, "end", "label");
    svg.box(kNames, y, width, kRow - 8, i ? "pointwise" : "contraction", -1,
            rows[i].first + ": " + duration(rows[i].second));
    svg.text(kNames + width + 6, y + 16, duration(rows[i].second), "start", "label");
  }
  return svg;
}

std::vector<std::pair<std::string, Svg>> figures_of(const Explanation& explanation) {
  std::vector<std::pair<std::string, Svg>> figures;
  if (explanation.peer) figures.emplace_back("why", causes_figure(explanation, *explanation.peer));
  for (auto& figure :
       std::vector<std::pair<std::string, Svg>>{{"parts", parts_figure(explanation)},
                                                {"timeline", timeline_figure(explanation)},
                                                {"operators", operators_figure(explanation)}})
    figures.push_back(std::move(figure));
  if (!explanation.roofs.bandwidth.empty())
    figures.emplace_back("roofline", roofline_figure(explanation));
  if (!explanation.alternatives.empty())
    figures.emplace_back("options", options_figure(explanation));
  return figures;
}

}  // namespace onrush::explain
