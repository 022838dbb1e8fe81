// Figures, the page and the trace.
#include "explain/figures.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <numeric>

#include "explain/page.h"
#include "explain/summary.h"
#include "explain/treemap.h"

namespace onrush::explain {
namespace {

// Two steps of 10 and 20 us, 1 us before, between and after them; names that need escapes.
Explanation explanation() {
  Explanation result;
  result.model = "<model> & co.onnx";
  result.model_nodes = {{"mm", {"MatMul", "net.py:3 x @ w"}}, {"</script>", {"Relu", ""}}};
  result.roofs.bandwidth = {{1e3, 100e9}, {1e9, 10e9}};
  result.roofs.product_flops = 400e9;
  result.roofs.vector_flops = 40e9;
  result.roofs.start_us = 0.1;
  for (const auto& [kind, node] :
       {std::pair("contraction", "mm"), std::pair("pointwise", "</script>")}) {
    ProfiledStep step{
        kind, kind == std::string("contraction") ? "dot" : "max", {node}, {}, "because"};
    step.bytes_read = 4000, step.bytes_written = 400, step.flops = 10000, step.scratch_bytes = 64;
    const auto shared = std::make_shared<const ProfiledStep>(step);
    const double time = result.steps.empty() ? 10 : 20;
    const double start = result.steps.empty() ? 1 : 12;
    result.timeline.events.push_back({shared, start, time, time});
    result.steps.push_back({shared, 1, time, speed_of(step, time, result.roofs), {node}, {1}});
    result.nodes.push_back({node, time});
  }
  result.timeline.before_us = result.timeline.between_us = result.timeline.after_us = 1;
  result.timeline.profiled_us = 33;
  result.timeline.wall_us = 33.3;
  result.timeline.runs = 1;
  return result;
}

TEST(Figures, NameOneRoofWhereTheCacheIsNoFaster) {
  Explanation same = explanation();
  EXPECT_NE(roofline_figure(same).file().find("cache, 100 GB/s"), std::string::npos);
  same.roofs.bandwidth = {{1e3, 10e9}, {1e9, 10e9}};
  const std::string figure = roofline_figure(same).file();
  EXPECT_EQ(figure.find("cache"), std::string::npos);
  EXPECT_NE(figure.find("and more, 10"), std::string::npos);
}

TEST(Figures, BreakTheNamesOfNarrowParts) {
  Explanation many = explanation();
  for (const char* kind : {"send", "copy", "launch", "wait", "a long name of a part of a run",
                           "another long name of a part", "a third one, which is as long"})
    many.timeline.around.push_back({kind, 0.1, 1});
  const std::string figure = parts_figure(many).file();
  EXPECT_NE(figure.find("y=\"54"), std::string::npos) << figure;
  EXPECT_NE(figure.find("y=\"68"), std::string::npos) << figure;
}

TEST(Parts, AddUpToTheWallClock) {
  double sum = 0;
  for (const Part& part : parts_of(explanation())) sum += part.time_us;
  EXPECT_NEAR(sum, 33.3, 1e-9);
}

TEST(Summaries, CountWhatIsBeyondTheRowsAskedFor) {
  const measure::Report report = summary(explanation(), 1);
  const auto steps = std::ranges::find(report.tables, "steps", &measure::Table::key);
  ASSERT_NE(steps, report.tables.end());
  ASSERT_EQ(steps->rows.size(), 2u);
  EXPECT_EQ(steps->rows[0][5].shown, "pointwise");
  EXPECT_EQ(steps->rows[1][5].shown, "1 more");
  EXPECT_NEAR(steps->rows[1][0].value.get<double>(), 0.010, 1e-9);
}

TEST(Treemaps, FillTheirRectangleInProportion) {
  const std::vector<double> sizes = {6, 6, 4, 3, 2, 2, 1};
  const std::vector<Rectangle> boxes = treemap(sizes, {10, 20, 6, 4});
  ASSERT_EQ(boxes.size(), sizes.size());
  for (size_t i = 0; i < boxes.size(); ++i) {
    EXPECT_NEAR(boxes[i].width * boxes[i].height, sizes[i], 1e-9);
    EXPECT_GE(boxes[i].x, 10 - 1e-9);
    EXPECT_LE(boxes[i].x + boxes[i].width, 16 + 1e-9);
    EXPECT_GE(boxes[i].y, 20 - 1e-9);
    EXPECT_LE(boxes[i].y + boxes[i].height, 24 + 1e-9);
    EXPECT_LT(std::max(boxes[i].width / boxes[i].height, boxes[i].height / boxes[i].width), 4);
    for (size_t k = 0; k < i; ++k) {
      const double wide = std::min(boxes[i].x + boxes[i].width, boxes[k].x + boxes[k].width) -
                          std::max(boxes[i].x, boxes[k].x);
      const double high = std::min(boxes[i].y + boxes[i].height, boxes[k].y + boxes[k].height) -
                          std::max(boxes[i].y, boxes[k].y);
      EXPECT_TRUE(wide < 1e-9 || high < 1e-9) << i << " and " << k << " overlap";
    }
  }
}

TEST(Figures, AreFilesOfTheirOwn) {
  for (const auto& [name, figure] : figures_of(explanation())) {
    const std::string file = figure.file();
    EXPECT_EQ(file.find("<?xml"), 0u) << name;
    EXPECT_NE(file.find("<style>"), std::string::npos) << name;
    EXPECT_NE(file.find("aria-label"), std::string::npos) << name;
    EXPECT_EQ(file.find("nan"), std::string::npos) << name;
    EXPECT_EQ(file.find("<model>"), std::string::npos) << name;
  }
}

// What is not to be told by colour alone has hatching or a shape of its own.
TEST(Figures, HatchKinds) {
  const std::string timeline = timeline_figure(explanation()).file();
  EXPECT_NE(timeline.find("url(#timeline-pointwise)"), std::string::npos);
  EXPECT_NE(timeline.find("<pattern id=\"timeline-pointwise\""), std::string::npos);
}

TEST(Pages, NeedNoNetworkAndNoEscapesAreForgotten) {
  const std::string html = page(explanation());
  EXPECT_EQ(html.find("{{"), std::string::npos);
  EXPECT_EQ(html.find("<model>"), std::string::npos);
  for (size_t at = 0; (at = html.find("http", at)) != std::string::npos; ++at)
    EXPECT_EQ(html.substr(at, 26), "http://www.w3.org/2000/svg");
  for (const char* reference : {"src=", "<link", "@import", "url(http"})
    EXPECT_EQ(html.find(reference), std::string::npos) << reference;
  size_t scripts = 0;
  for (size_t at = 0; (at = html.find("</script>", at)) != std::string::npos; ++at) ++scripts;
  EXPECT_EQ(scripts, 2u);
}

TEST(Traces, AreInTheTraceEventFormat) {
  const auto json = nlohmann::json::parse(trace(explanation()));
  size_t steps = 0;
  for (const auto& event : json["traceEvents"]) {
    ASSERT_TRUE(event.contains("ph") && event.contains("pid") && event.contains("name"));
    if (event["ph"] != "X" || event["tid"] != 2) continue;
    ++steps;
    EXPECT_TRUE(event["ts"].is_number() && event["dur"].is_number());
  }
  EXPECT_EQ(steps, 2u);
}

}  // namespace
}  // namespace onrush::explain
