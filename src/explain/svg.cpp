#include "explain/svg.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace onrush::explain {
namespace {

// Colours that are told apart without colour vision (Okabe and Ito 2008), and lines across them.
struct Look {
  std::string_view kind, light, dark, hatch;  // hatch: path data in a square of 8 units
};
constexpr std::array<Look, 15> kLooks = {{
    {"contraction", "#0072b2", "#3d9bd4", ""},
    {"attention", "#d55e00", "#f0884a", "M0 8L8 0"},
    {"reduction", "#009e73", "#2fc79c", "M0 0L8 8"},
    {"window", "#e69f00", "#f0b83c", "M0 4H8"},
    {"pointwise", "#56b4e9", "#8fd0f5", "M4 0V8"},
    {"concat", "#cc79a7", "#e3a3c6", "M0 8L8 0M0 0L8 8"},
    {"primitive", "#7b4ea3", "#b18fd6", "M0 8L8 0M4 0V8"},
    {"loop", "#4f7a28", "#94c26a", "M0 0L8 8M4 0V8"},
    {"host", "#777777", "#a0a0a0", "M0 2H8M0 6H8"},
    {"copy", "#b0a800", "#f0e442", "M2 0V8M6 0V8"},
    {"send", "#6b6800", "#b8b24a", "M2 0V8M0 4H8"},
    {"launch", "#994f00", "#c98a4b", "M0 4H8M4 0V8"},
    {"wait", "#8c6bb1", "#b39bd0", "M0 0L8 8M0 4H8"},
    {"gap", "#c8c8c8", "#505050", ""},
    {"other", "#999999", "#8a8a8a", "M3 3h2v2h-2z"},
}};

const Look& look_of(std::string_view kind) {
  const auto found = std::ranges::find(kLooks, kind, &Look::kind);
  return found == kLooks.end() ? kLooks.back() : *found;
}

constexpr std::string_view kClasses =
    ".label{fill:var(--ink);font:12px system-ui,sans-serif}"
    ".small{fill:var(--ink);font:10px system-ui,sans-serif}"
    ".inside{fill:var(--inside);font:11px system-ui,sans-serif;pointer-events:none;"
    "paint-order:stroke;stroke:var(--halo);stroke-width:2.5px}"
    ".axis{stroke:var(--ink);stroke-width:1;fill:none}"
    ".grid{stroke:var(--grid);stroke-width:1;fill:none}"
    ".roof{stroke:var(--ink);stroke-width:1.5;fill:none;stroke-dasharray:6 3}"
    ".area{fill:var(--pointwise);fill-opacity:.5;stroke:var(--contraction);stroke-width:1}"
    ".hatch{stroke:var(--inside);stroke-width:1;stroke-opacity:.55;fill:none}"
    ".shape{stroke:var(--paper);stroke-width:.5}";

std::string variables(bool dark) {
  std::string text = dark ? "--ink:#e8e8e8;--paper:#16181c;--panel:#20242a;--grid:#3a3f47;"
                            "--inside:#0b0c0e;--halo:#ffffff90;--focus:#ffd54a;"
                          : "--ink:#1b1b1b;--paper:#ffffff;--panel:#f3f4f6;--grid:#d0d3d8;"
                            "--inside:#ffffff;--halo:#00000090;--focus:#c8006e;";
  for (const Look& look : kLooks)
    text += fmt::format("--{}:{};", look.kind, dark ? look.dark : look.light);
  return text;
}

std::string fills() {
  std::string text;
  for (const Look& look : kLooks) text += fmt::format(".k-{0}{{fill:var(--{0})}}", look.kind);
  return text;
}

}  // namespace

std::string xml_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '<') result += "&lt;";
    else if (c == '>') result += "&gt;";
    else if (c == '&') result += "&amp;";
    else if (c == '"') result += "&quot;";
    else if (static_cast<uint8_t>(c) < 0x20) result += ' ';
    else result += c;
  }
  return result;
}

Svg::Svg(std::string id, double width, double height, std::string label)
    : id_(std::move(id)), label_(std::move(label)), width_(width), height_(height) {}

void Svg::box(double x, double y, double width, double height, std::string_view kind, int step,
              std::string_view title) {
  const Look& look = look_of(kind);
  const std::string fill =
      look.hatch.empty() ? fmt::format("class=\"shape k-{}\"", look.kind)
                         : fmt::format("class=\"shape\" fill=\"url(#{}-{})\"", id_, look.kind);
  body_ += fmt::format(
      "<rect {} x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\"{}><title>{}</title>"
      "</rect>\n",
      fill, x, y, width, height, step < 0 ? "" : fmt::format(" data-step=\"{}\"", step),
      xml_escaped(title));
}

void Svg::mark(double x, double y, double size, std::string_view kind, int step,
               std::string_view title) {
  // By kind: circle, square, diamond, triangle up, triangle down, bar.
  static constexpr std::string_view kShapes[] = {"M-1 0a1 1 0 1 0 2 0a1 1 0 1 0 -2 0z",
                                                 "M-.9 -.9h1.8v1.8h-1.8z",
                                                 "M0 -1.2L1.2 0L0 1.2L-1.2 0z",
                                                 "M0 -1.1L1.1 .9H-1.1z",
                                                 "M0 1.1L1.1 -.9H-1.1z",
                                                 "M-1.2 -.5h2.4v1h-2.4z"};
  const auto at = static_cast<size_t>(&look_of(kind) - kLooks.data());
  body_ += fmt::format(
      "<path class=\"shape k-{}\" vector-effect=\"non-scaling-stroke\" d=\"{}\" "
      "transform=\"translate({:.2f} {:.2f}) scale({:.2f})\"{}><title>{}</title></path>\n",
      look_of(kind).kind, kShapes[at % std::size(kShapes)], x, y, size,
      step < 0 ? "" : fmt::format(" data-step=\"{}\"", step), xml_escaped(title));
}

void Svg::line(double x1, double y1, double x2, double y2, std::string_view css_class) {
  body_ += fmt::format("<path class=\"{}\" d=\"M{:.2f} {:.2f}L{:.2f} {:.2f}\"/>\n", css_class, x1,
                       y1, x2, y2);
}

void Svg::path(std::string_view commands, std::string_view css_class) {
  body_ += fmt::format("<path class=\"{}\" d=\"{}\"/>\n", css_class, commands);
}

void Svg::text(double x, double y, std::string_view text, std::string_view anchor,
               std::string_view css_class) {
  body_ +=
      fmt::format("<text class=\"{}\" x=\"{:.2f}\" y=\"{:.2f}\" text-anchor=\"{}\">{}</text>\n",
                  css_class, x, y, anchor, xml_escaped(text));
}

std::string Svg::defs() const {
  std::string text = "<defs>";
  for (const Look& look : kLooks) {
    if (look.hatch.empty() ||
        body_.find(fmt::format("#{}-{}", id_, look.kind)) == std::string::npos)
      continue;
    text += fmt::format(
        "<pattern id=\"{0}-{1}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">"
        "<rect width=\"8\" height=\"8\" class=\"k-{1}\"/><path class=\"hatch\" d=\"{2}\"/>"
        "</pattern>",
        id_, look.kind, look.hatch);
  }
  return text + "</defs>\n";
}

std::string Svg::open(std::string_view attributes) const {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"{}\" viewBox=\"0 0 {:.0f} {:.0f}\" "
      "role=\"img\" aria-label=\"{}\"{}>\n",
      id_, width_, height_, xml_escaped(label_), attributes);
}

std::string Svg::inlined() const { return open("") + defs() + body_ + "</svg>\n"; }

std::string Svg::file() const {
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" +
         open(fmt::format(" width=\"{:.0f}\" height=\"{:.0f}\"", width_, height_)) +
         fmt::format("<title>{}</title>\n<style>svg{{{}}}{}{}</style>\n", xml_escaped(label_),
                     variables(false), kClasses, fills()) +
         defs() + body_ + "</svg>\n";
}

std::string page_style() {
  return fmt::format(
      ":root{{color-scheme:light dark;{}}}\n@media "
      "(prefers-color-scheme:dark){{:root{{{}}}}}\n{}{}",
      variables(false), variables(true), kClasses, fills());
}

}  // namespace onrush::explain
