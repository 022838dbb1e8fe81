#include <fmt/format.h>

#include "measure/report.h"
#include "npy/npy.h"
#include "support.h"

namespace onrush::cli {
namespace {

using onnx::node;

TEST(Program, help_and_version_succeed) {
  expect_output({"--version"}, {"onrush ", "."});
  expect_output({"--help"},
                {"run", "bench", "compare", "inspect", "plan", "explain", "doctor", "cache"});
  for (const char* command : {"run", "bench", "compare", "inspect", "plan", "explain"})
    expect_output({command, "--help"}, {"MODEL"});
  expect_output({"run", "--help"}, {"--input", "--shape", "--output-dir", "--repeat", "--threads"});
}

TEST(Program, wrong_usage_exits_with_2) {
  expect_failure(2, {}, {"--help"});
  expect_failure(2, {"fly"}, {"fly"});
  for (const char* command : {"run", "inspect", "plan"}) expect_failure(2, {command}, {"MODEL"});
  expect_failure(2, {"run", "m.onnx", "--unknown"}, {"--unknown"});
  expect_failure(2, {"run", "m.onnx", "--repeat", "many"}, {"--repeat"});
  expect_failure(2, {"run", "m.onnx", "--repeat", "-1"}, {"--repeat"});
  expect_failure(2, {"run", "m.onnx", "--threads", "-2"}, {"--threads"});
  expect_failure(2, {"run", "m.onnx", "--device", "abacus"}, {"abacus"});
  expect_failure(2, {"run", "m.onnx", "--opt", "7"}, {"--opt"});
  expect_failure(2, {"run", "m.onnx", "--precision", "fp8"}, {"--precision"});
  expect_failure(2, {"run", "m.onnx", "--memory-limit", "lots"}, {"--memory-limit"});
  expect_failure(2, {"run", "m.onnx", "--input", "x"}, {"--input 'x'"});
  expect_failure(2, {"run", "m.onnx", "--shape", "x=1,2"}, {"--shape 'x=1,2'"});
  expect_failure(2, {"plan", "m.onnx", "--stage", "soup"}, {"soup"});
  expect_failure(2, {"plan", "m.onnx", "--dim", "n"}, {"--dim 'n'"});
}

class Run : public testing::Test {
 protected:
  Folder folder_;
  std::string model_ = folder_.write("increment.onnx", increment());
};

TEST_F(Run, random_inputs_need_no_options) {
  expect_output({"run", model_}, {"y: float [1,3]", "min ", "load ", "first run "});
}

TEST_F(Run, tunes_for_gpus_only) {
  expect_failure(1, {"run", model_, "--tune"}, {"tuning is for GPUs"});
}

TEST_F(Run, options_may_precede_the_model) {
  expect_output({"run", "--shape", "x=2x3", "--input", "x=random:4", model_}, {"y: float [2,3]"});
}

// Bfloat16 keeps 8 bits: results differ from those of fp32, but little. Without the instructions
// it is an error.
TEST_F(Run, precision) {
  const std::string model = folder_.write("matmul.onnx", matmul(64));
  const auto result = [&](const std::string& precision) {
    const std::string out = folder_.path(precision + ".npz");
    const Result run = onrush({"run", model, "--precision", precision, "--output", out});
    if (run.exit_code != 0) return expect_text(run.err, "bfloat16"), Tensor();
    return NpzFile(out).read("y");
  };
  const Tensor exact = result("fp32"), rounded = result("bf16");
  ASSERT_TRUE(exact);
  if (!rounded) return;
  double difference = 0;
  for (size_t i = 0; i < 64; ++i)
    difference = std::max<double>(
        difference, std::abs(rounded.as<float>()[i] - exact.as<float>()[i]) / exact.as<float>()[i]);
  EXPECT_GT(difference, 1e-7);
  EXPECT_LT(difference, 2e-2);
}

TEST_F(Run, arrays_go_in_and_come_out) {
  write_npy(folder_.path("x.npy"), onnx::tensor<float>(DType::f32, {2, 3}, {0, 1, 2, 3, 4, 5}));
  for (const char* device : {"cpu", "reference"}) {
    expect_output({"run", model_, "--input", "x=" + folder_.path("x.npy"), "--device", device,
                   "--output-dir", folder_.path("out/deep"), "--output", folder_.path("y.npz")},
                  {"y: float [2,3]\n  1 2 3 4 5 6\n", "min 1, max 6, mean 3.5"});
    for (const Tensor& y :
         {read_npy(folder_.path("out/deep/y.npy")), NpzFile(folder_.path("y.npz")).read("y")})
      EXPECT_TRUE(std::ranges::equal(y.as<float>(), std::vector<float>{1, 2, 3, 4, 5, 6}));
  }
}

TEST_F(Run, every_element_type_passes_through) {
  for (int i = 1; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    SCOPED_TRACE(onnx_name(dtype));
    const std::string model =
        folder_.write("identity.onnx", identity(dtype, {size(2), named("n")}));
    const std::string first = folder_.path("first.npz"), second = folder_.path("second.npz");
    ASSERT_NO_FATAL_FAILURE(
        expect_output({"run", model, "--dim", "n=5", "--device", "reference", "--output", first},
                      {fmt::format("y: {} [2,5]", onnx_name(dtype))}));
    expect_output(
        {"run", model, "--device", "reference", "--input", "x=" + first, "--output", second}, {});
    EXPECT_EQ(read_file(first), read_file(second));
  }
}

TEST_F(Run, repetition_gives_latencies) {
  expect_output({"run", model_, "--repeat", "4", "--threads", "1", "--opt", "0"},
                {"4 runs: median ", "p10 ", "p90 "});
}

TEST_F(Run, json_is_one_object) {
  const Result result = onrush({"run", model_, "--repeat", "3", "--json"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out.front(), '{');
  EXPECT_EQ(result.out.find('\n'), result.out.size() - 1);
  const auto figures = measure::Json::parse(result.out);
  for (const char* key : {"device", "threads", "load_ms", "first_ms", "p10_ms", "p90_ms"})
    EXPECT_TRUE(figures.contains(key)) << key;
  EXPECT_EQ(figures["model"], model_);
  EXPECT_EQ(figures["repeat"], 3);
  EXPECT_GT(figures["median_ms"], 0);
  EXPECT_GT(figures["peak_rss_bytes"], 1 << 20);
  EXPECT_TRUE(measure::Json::parse(onrush({"run", model_, "--json"}).out)["median_ms"].is_null());
}

TEST_F(Run, sequences_are_shown_and_written_by_element) {
  onnx::Graph graph = onnx::graph({}, {node("SequenceConstruct", {"a", "a"}, {"s"})}, {});
  graph.inputs = {value("a", DType::f32, {size(2)})};
  graph.outputs = {onnx::value_info("s")};
  graph.outputs[0].type.kind = onnx::Type::Kind::sequence;
  graph.outputs[0].type.nested = std::make_shared<onnx::Type>(graph.inputs[0].type);
  const std::string model = folder_.write("sequence.onnx", onnx::model(graph));
  expect_output({"run", model, "--output-dir", folder_.path("out")},
                {"s.0: float [2]", "s.1: float [2]"});
  EXPECT_EQ(read_npy(folder_.path("out/s.1.npy")).count(), 2);
}

TEST_F(Run, outputs_stay_in_their_folder) {
  onnx::Model model = identity(DType::f32, {size(1)});
  model.graph.nodes[0].outputs[0] = model.graph.outputs[0].name = "../a b/\xc3\xa9";
  const std::string path = folder_.write("names.onnx", model);
  expect_output({"run", path, "--output-dir", folder_.path("out")}, {"../a b/"});
  EXPECT_TRUE(std::filesystem::exists(folder_.path("out/_._a_b___.npy")));
}

TEST_F(Run, quotation_marks_and_control_characters_are_escaped) {
  const std::string model = folder_.write("strings.onnx", identity(DType::string, {size(1)}));
  write_npy(folder_.path("x.npy"), Tensor::of_strings({1}, {"say \"hi\"\x1b[2J"}));
  expect_output({"run", model, "--input", "x=" + folder_.path("x.npy")},
                {R"("say \"hi\"\u001b[2J")"});
}

TEST_F(Run, an_output_that_cannot_be_written_fails) {
  folder_.write("file", std::string_view("x"));
  expect_failure(1, {"run", model_, "--output-dir", folder_.path("file")}, {folder_.path("file")});
  expect_failure(1, {"run", model_, "--output", folder_.path("none/a.npz")},
                 {"cannot write", "none/a.npz"});
}

}  // namespace
}  // namespace onrush::cli
