// Scalable vector graphics as text.
#pragma once

#include <string>
#include <string_view>

namespace onrush::explain {

std::string xml_escaped(std::string_view text);

// A figure under construction. Coordinates are in units of its view box. Shapes are coloured by
// their classes, which style() defines; `kind` is one of a step, or another word, and gives each
// its own colour and its own hatching, so that neither colour nor hatching is needed alone.
class Svg {
 public:
  // `id` tells figures in one page apart; `label` says what there is to see.
  Svg(std::string id, double width, double height, std::string label);

  // `step`: the position in Explanation::steps that the shape stands for; -1: none. `title` is
  // shown by browsers under the pointer.
  void box(double x, double y, double width, double height, std::string_view kind, int step,
           std::string_view title);
  // A point whose shape depends on the kind.
  void mark(double x, double y, double size, std::string_view kind, int step,
            std::string_view title);
  void line(double x1, double y1, double x2, double y2, std::string_view css_class);
  void path(std::string_view commands, std::string_view css_class);
  // anchor: "start", "middle" or "end".
  void text(double x, double y, std::string_view text, std::string_view anchor = "start",
            std::string_view css_class = "label");

  // For a page that has page_style().
  std::string inlined() const;
  // A file of its own, in light colours.
  std::string file() const;

 private:
  std::string defs() const;
  std::string open(std::string_view attributes) const;

  std::string id_, label_, body_;
  double width_, height_;
};

// Colours as CSS variables, light unless the reader wants them dark, and the classes of shapes.
std::string page_style();

}  // namespace onrush::explain
