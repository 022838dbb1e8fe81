#include <gtest/gtest.h>

#include "measure/report.h"

namespace onrush::measure {
namespace {

Table latencies() {
  return {"latency",
          "Latency",
          {{"engine", "engine"}, {"median_ms", "median, ms"}, {"note", "note"}},
          {{"onrush", number(1.23456), "a|b, \"c\""}, {"peer, µ", Cell()}}};
}

TEST(Report, significant_digits) {
  EXPECT_EQ(significant(26.54, 3), "26.5");
  EXPECT_EQ(significant(9.996, 3), "10.0");
  EXPECT_EQ(significant(0.012345, 3), "0.0123");
  EXPECT_EQ(significant(1849.6, 3), "1850");
  EXPECT_EQ(significant(1.234e-7, 2), "1.2e-07");
  EXPECT_EQ(significant(0, 3), "0");
}

TEST(Report, text_lines_up) {
  EXPECT_EQ(text(latencies()),
            "Latency\n"
            "engine   median, ms  note\n"
            "onrush         1.23  a|b, \"c\"\n"
            "peer, µ           -  -\n");
}

TEST(Report, markdown_escapes_bars) {
  EXPECT_EQ(markdown(latencies()),
            "### Latency\n\n"
            "| engine  | median, ms | note      |\n"
            "| ------- | ---------: | --------- |\n"
            "| onrush  |       1.23 | a\\|b, \"c\" |\n"
            "| peer, µ |          - | -         |\n");
}

TEST(Report, long_cells_become_notes) {
  const std::string why = "No GPU. Looked in:\n  here\nInstall one.";
  const Table table{"t", "", {{"name", "name"}, {"why", "why not"}}, {{"a", why}, {"b", why}}};
  EXPECT_EQ(text(table),
            "name  why not\n"
            "a     No GPU. Looked in: [1]\n"
            "b     No GPU. Looked in: [1]\n"
            "[1] " +
                why + "\n");
  EXPECT_EQ(markdown(table),
            "| name | why not                |\n"
            "| ---- | ---------------------- |\n"
            "| a    | No GPU. Looked in: [1] |\n"
            "| b    | No GPU. Looked in: [1] |\n"
            "\n[1]\n```\n" +
                why + "\n```\n");
}

TEST(Report, csv_has_values_and_quotes) {
  EXPECT_EQ(csv(latencies()),
            "engine,median_ms,note\n"
            "onrush,1.23456,\"a|b, \"\"c\"\"\"\n"
            "\"peer, µ\",,\n");
}

TEST(Report, tables_without_rows_are_left_out) {
  Table empty = latencies();
  empty.rows.clear();
  const Report report{{{"model", "m.onnx"}}, {empty, latencies()}, {"So fast."}, {}};
  EXPECT_EQ(text(report), "model: m.onnx\n\n" + text(latencies()) + "\nSo fast.\n");
  EXPECT_EQ(markdown(report), markdown(latencies()) + "\n- So fast.\n\nmodel: m.onnx.\n");
}

TEST(Report, json_has_values_only) {
  const Report report{{{"model", "m.onnx"}, {"threads", count(2)}}, {latencies()}, {"so fast"}, {}};
  EXPECT_EQ(dump(json(report)),
            R"({"model":"m.onnx","threads":2,"latency":[{"engine":"onrush","median_ms":1.23456,)"
            R"("note":"a|b, \"c\""},{"engine":"peer, µ"}],"remarks":["so fast"]})");
}

}  // namespace
}  // namespace onrush::measure
