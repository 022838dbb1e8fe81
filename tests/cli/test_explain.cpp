#include <nlohmann/json.hpp>

#include "support.h"

namespace onrush::cli {
namespace {

class Explain : public testing::Test {
 protected:
  Folder folder_;
  std::string model_ = folder_.write("matmul.onnx", matmul(128));
  std::string cache_ = folder_.path("cache");
};

TEST_F(Explain, says_where_the_time_goes) {
  expect_output(
      {"explain", model_, "--runs", "5", "--no-options", "--cache-folder", cache_},
      {"where the time goes", "kernels", "unattributed", "MatMul", "a product reads", "GFLOP/s"});
}

TEST_F(Explain, measures_other_options) {
  const Result result =
      onrush({"explain", model_, "--runs", "5", "--threads", "1", "--cache-folder", cache_});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* option : {"--precision bf16", "--opt 0"}) expect_text(result.out, option);
}

TEST_F(Explain, writes_json) {
  const std::string file = folder_.path("explanation.json");
  expect_output(
      {"explain", model_, "--runs", "5", "--no-options", "--cache-folder", cache_, "--json", file},
      {"kernels"});
  const auto json = nlohmann::json::parse(read_file(file));
  double parts = 0;
  for (const auto& part : json["parts"]) parts += part["us"].get<double>();
  EXPECT_NEAR(parts, json["wall_us"].get<double>(), 1e-6 * parts);
  ASSERT_EQ(json["steps"].size(), 1u);
  EXPECT_EQ(json["steps"][0]["flops"], 2 * 128 * 128);
  EXPECT_EQ(json["steps"][0]["nodes"][0], "mm");
  EXPECT_GT(json["roofs"]["product_flops"], 0);
}

TEST_F(Explain, writes_page_trace_and_figures) {
  const std::string page = folder_.path("page.html"), trace = folder_.path("trace.json");
  expect_output({"explain", model_, "--runs", "5", "--no-options", "--cache-folder", cache_,
                 "--html", page, "--trace", trace, "--svg", folder_.path("figures")},
                {"kernels"});
  expect_text(read_file(page), "</html>");
  EXPECT_FALSE(nlohmann::json::parse(read_file(trace))["traceEvents"].empty());
  for (const char* figure : {"parts", "timeline", "operators", "roofline"})
    expect_text(read_file(folder_.path("figures/") + figure + ".svg"), "</svg>");
}

TEST_F(Explain, does_not_need_a_cache_folder) {
  expect_output(
      {"explain", model_, "--runs", "5", "--no-options", "--cache-folder", "/proc/nowhere"},
      {"kernels"});
}

TEST_F(Explain, names_what_is_wrong) {
  expect_failure(2, {"explain"}, {"MODEL"});
  expect_failure(2, {"explain", model_, "--runs", "0"}, {"--runs", "'0' is no number above 0"});
  expect_failure(2, {"explain", model_, "--why-slower-than", "all"}, {"pytorch:channels_last"});
  expect_failure(2, {"explain", model_, "--why-slower-than", "openvino"}, {"openvino"});
  for (const char* option : {"--json", "--html", "--trace"})
    expect_failure(1, {"explain", model_, option, "/no/such/folder/file"},
                   {"/no/such/folder/file", "folder that exists"});
  expect_failure(1, {"explain", model_, "--svg", model_}, {"cannot make folder"});
  expect_failure(2, {"explain", model_, "--torch", "networks"}, {"neither module:callable nor"});
  expect_failure(1, {"explain", "absent.onnx"}, {"absent.onnx"});
  expect_failure(1,
                 {"explain", model_, "--runs", "2", "--no-options", "--cache-folder", cache_,
                  "--json", "/proc/nowhere/x.json"},
                 {"/proc/nowhere/x.json"});
}

}  // namespace
}  // namespace onrush::cli
