#include "explain/page.h"

#include <fmt/format.h>
#include <map>

#include "base/check.h"
#include "explain/figures.h"
#include "explain/summary.h"

namespace onrush::explain {
namespace {

using measure::Json;

std::string filled(std::string_view text, const std::map<std::string_view, std::string>& parts) {
  std::string result;
  while (true) {
    const size_t open = text.find("{{"), close = text.find("}}", open);
    if (open == std::string_view::npos || close == std::string_view::npos)
      return result.append(text);
    result.append(text.substr(0, open));
    const auto part = parts.find(text.substr(open + 2, close - open - 2));
    internal_check(part != parts.end(), "the page's template names a part that there is");
    result += part->second;
    text.remove_prefix(close + 2);
  }
}

// Within a script element: nothing may look like its end.
std::string script_data(const Json& json) {
  std::string result;
  for (const char c : measure::dump(json)) {
    if (c == '<') result += "\\u003c";
    else result += c;
  }
  return result;
}

bool is_number(const measure::Table& table, size_t column) {
  return !table.rows.empty() && column < table.rows[0].size() &&
         table.rows[0][column].value.is_number();
}

// `steps`: the rows stand for steps, in this order; empty for other tables.
std::string table_html(const measure::Table& table, const std::vector<size_t>& steps) {
  std::string html = "<div class=\"scroll\"><table><thead><tr>";
  for (size_t i = 0; i < table.columns.size(); ++i)
    html += fmt::format("<th scope=\"col\"{}><button>{}</button></th>",
                        is_number(table, i) ? " class=\"number\"" : "",
                        xml_escaped(table.columns[i].title));
  html += "</tr></thead>\n<tbody>\n";
  for (size_t row = 0; row < table.rows.size(); ++row) {
    html += row < steps.size() ? fmt::format("<tr data-step=\"{}\">", steps[row]) : "<tr>";
    for (size_t i = 0; i < table.columns.size(); ++i) {
      const measure::Cell cell = i < table.rows[row].size() ? table.rows[row][i] : measure::Cell();
      const std::string value = cell.value.is_number()
                                    ? fmt::format(" data-value=\"{}\"", measure::dump(cell.value))
                                    : "";
      html += fmt::format("<td class=\"{}\"{}>{}</td>", is_number(table, i) ? "number" : "text",
                          value, xml_escaped(cell.shown));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

struct Section {
  std::string id, title, text;
};

std::vector<Section> sections() {
  return {{"why", "Side by side", "Times by cause of the difference; they add up to the runs'."},
          {"parts", "Where the time goes", ""},
          {"timeline", "Timeline and scratch memory",
           "Each box is a step; its colour and hatching say the kind of kernel."},
          {"operators", "ONNX operators",
           "Areas are times; a fused step's time is shared out by arithmetic."},
          {"roofline", "Roofline",
           "Shapes say the kind of kernel, sizes the time. The roofs are the best rates ever "
           "measured here with Onrush's own kernels."},
          {"options", "Other options", "Measured by turns with this run."}};
}

std::string main_html(const Explanation& explanation) {
  std::string html;
  const auto figures = figures_of(explanation);
  for (const Section& section : sections())
    for (const auto& [name, figure] : figures)
      if (name == section.id)
        html += fmt::format(
            "<section aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2>"
            "<p>{2}</p>\n{3}</section>\n",
            section.id, section.title, section.text, figure.inlined());
  const measure::Report report =
      summary(explanation, explanation.steps.size() + explanation.nodes.size() + 1);
  for (const measure::Table& table : report.tables) {
    const bool steps = table.key == "steps";
    html += fmt::format(
        "<section><h2 id=\"table-{}\">{}</h2>\n{}</section>\n", table.key,
        xml_escaped(table.title.empty() ? "The parts of a run" : table.title),
        table_html(table, steps ? slowest_first(explanation.steps) : std::vector<size_t>{}));
  }
  for (const std::string& remark : report.remarks)
    html += fmt::format("<p>{}</p>\n", xml_escaped(remark));
  return html;
}

}  // namespace

std::string page(const Explanation& explanation) {
  std::string facts, links;
  for (const auto& [name, cell] : summary(explanation, 1).facts)
    if (name != "model")
      facts += fmt::format("{}{}: {}", facts.empty() ? "" : "; ", name, xml_escaped(cell.shown));
  for (const auto& [name, figure] : figures_of(explanation))
    for (const Section& section : sections())
      if (section.id == name)
        links += fmt::format("<a href=\"#{}-title\">{}</a>", section.id, section.title);
  links += "<a href=\"#table-steps\">Steps</a><a href=\"#table-nodes\">Nodes</a>";
  return filled(page_template(),
                {{"title", xml_escaped("Where the time goes: " + explanation.model)},
                 {"style", page_style()},
                 {"facts", facts},
                 {"sections", links},
                 {"main", main_html(explanation)},
                 {"data", script_data(to_json(explanation))}});
}

std::string trace(const Explanation& explanation) {
  Json events = Json::array();
  const auto name_thread = [&](int thread, const char* name) {
    events.push_back({{"ph", "M"},
                      {"pid", 1},
                      {"tid", thread},
                      {"name", "thread_name"},
                      {"args", {{"name", name}}}});
  };
  events.push_back(
      {{"ph", "M"}, {"pid", 1}, {"name", "process_name"}, {"args", {{"name", explanation.model}}}});
  name_thread(1, "run");
  name_thread(2, "steps");
  events.push_back({{"ph", "X"},
                    {"pid", 1},
                    {"tid", 1},
                    {"name", "run"},
                    {"cat", "run"},
                    {"ts", 0},
                    {"dur", explanation.timeline.profiled_us}});
  for (const TimelineEvent& event : explanation.timeline.events) {
    const ProfiledStep& step = *event.step;
    events.push_back({{"ph", "X"},
                      {"pid", 1},
                      {"tid", 2},
                      {"name", step.name},
                      {"cat", step.kind},
                      {"ts", event.start_us},
                      {"dur", event.time_us},
                      {"args",
                       {{"nodes", step.nodes},
                        {"bytes read", step.bytes_read},
                        {"bytes written", step.bytes_written},
                        {"flop", step.flops},
                        {"way", step.way},
                        {"a kernel of its own", step.apart}}}});
    events.push_back({{"ph", "C"},
                      {"pid", 1},
                      {"name", "scratch memory"},
                      {"ts", event.start_us},
                      {"args", {{"bytes", step.scratch_bytes}}}});
  }
  if (!explanation.timeline.pieces.empty()) name_thread(3, "host and copies");
  for (const TimelineEvent& piece : explanation.timeline.pieces)
    events.push_back({{"ph", "X"},
                      {"pid", 1},
                      {"tid", 3},
                      {"name", piece.step->kind},
                      {"cat", piece.step->kind},
                      {"ts", piece.start_us},
                      {"dur", piece.time_us}});
  return measure::dump({{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}) + "\n";
}

}  // namespace onrush::explain
