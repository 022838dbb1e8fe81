// The commands that measure: bench and compare. Peers that are there are tested from Python.
#include "engines/temporary_folder.h"
#include "measure/report.h"
#include "npy/npy.h"
#include "support.h"

namespace onrush::cli {
namespace {

using measure::Json;

class Measuring : public testing::Test {
 protected:
  // Runs the command with --json, which has to succeed, and gives the report.
  Json report(std::vector<std::string> arguments) {
    const std::string path = folder_.path("report.json");
    for (const char* more : {"--rounds", "10", "--json"}) arguments.emplace_back(more);
    arguments.push_back(path);
    const Result result = onrush(arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    text_ = result.out;
    return Json::parse(read_file(path));
  }

  Folder folder_;
  std::string model_ = folder_.write("matmul.onnx", matmul(64));
  std::string text_;
};

TEST_F(Measuring, bench_has_a_row_for_each_configuration) {
  const Json found =
      report({"bench", model_, "--batch", "1,4", "--precision", "fp32", "--csv",
              folder_.path("b.csv"), "--markdown", folder_.path("b.md"), "--threads", "1"});
  ASSERT_EQ(found["latency"].size(), 2u);
  EXPECT_EQ(found["latency"][1]["configuration"], "fp32, x 4x64");
  for (const Json& row : found["latency"]) {
    EXPECT_GT(row["median_ms"], 0);
    EXPECT_GE(row["p99_ms"], row["p90_ms"]);
    EXPECT_GE(row["runs"], 20);
  }
  EXPECT_NEAR(found["latency"][1]["items_per_s"].get<double>(),
              4 * found["latency"][1]["runs_per_s"].get<double>(), 1);
  EXPECT_GT(found["start"][0]["first_ms"], 0);
  EXPECT_GE(found["memory"][0]["weights_bytes"], 64 * 64 * 4);
  EXPECT_GT(found["memory"][0]["peak_bytes"], found["memory"][0]["program_bytes"]);
  EXPECT_EQ(found["details"][0]["rounds_ms"].size(), 10u);
  EXPECT_EQ(found["threads"], 1);
  expect_text(text_, "Latency of a run");
  expect_text(read_file(folder_.path("b.csv")), "configuration,median_ms,");
  expect_text(read_file(folder_.path("b.md")), "| fp32, x 4x64 |");
}

TEST_F(Measuring, bench_takes_several_shapes) {
  const Json found = report({"bench", model_, "--shape", "x=2x64", "--shape", "x=3x64"});
  ASSERT_EQ(found["latency"].size(), 2u);
  EXPECT_EQ(found["latency"][0]["configuration"], "x 2x64");
  EXPECT_EQ(found["latency"][1]["configuration"], "x 3x64");
}

TEST_F(Measuring, bench_replaces_the_first_size_of_shapes) {
  const std::string open = folder_.write("open.onnx", identity(DType::f32, {{}, size(3)}));
  const Json found = report({"bench", open, "--shape", "x=7x3", "--batch", "2,10"});
  ASSERT_EQ(found["latency"].size(), 2u);
  EXPECT_EQ(found["latency"][0]["configuration"], "x 2x3");
  EXPECT_EQ(found["latency"][1]["configuration"], "x 10x3");
}

TEST_F(Measuring, bench_serves_requests_at_a_rate) {
  const Json found =
      report({"bench", model_, "--rate", "50,100", "--callers", "2", "--seconds", "0.5"});
  ASSERT_EQ(found["open_loop"].size(), 2u);
  EXPECT_EQ(found["open_loop"][1]["rate"], 100);
  EXPECT_EQ(found["details"][0]["open_loop"][1]["figures"]["latencies"].size(), 50u);
  EXPECT_GE(found["open_loop"][0]["max_ms"], found["open_loop"][0]["p50_ms"]);
}

TEST_F(Measuring, bench_says_what_is_wrong) {
  const std::string fixed = folder_.write("fixed.onnx", identity(DType::f32, {size(3), size(2)}));
  expect_failure(1, {"bench", fixed, "--batch", "2"}, {"--batch 2", "fixes the first axis of 'x'"});
  const std::string open = folder_.write("open.onnx", identity(DType::f32, {{}, size(3)}));
  expect_failure(1, {"bench", open, "--batch", "2"},
                 {"does not name the first axis of 'x'", "--shape"});
  write_npy(folder_.path("x.npy"), Tensor(DType::f32, {4, 64}));
  expect_failure(1, {"bench", model_, "--batch", "2", "--input", "x=" + folder_.path("x.npy")},
                 {"'x' has the shape of its file"});
  expect_failure(1, {"bench", model_, "--json", "/no/such/folder/b.json"},
                 {"/no/such/folder/b.json", "cannot write"});
  expect_failure(2, {"bench", model_, "--precision", "fp8"}, {"--precision"});
  expect_failure(2, {"bench", model_, "--rate", "0"}, {"--rate"});
  expect_failure(1, {"bench", folder_.path("absent.onnx")}, {"absent.onnx"});
  expect_failure(1, {"bench", model_, "--precision", "fp16", "--rounds", "2"},
                 {"the CPU does not compute in fp16"});
}

TEST_F(Measuring, compare_has_a_row_for_a_peer_that_is_not_there) {
  const Json found = report({"compare", model_, "--with", "openvino,onnxruntime:iobinding",
                             "--python", "/no/such/python"});
  ASSERT_EQ(found["latency"].size(), 3u);
  EXPECT_GT(found["latency"][0]["median_ms"], 0);
  for (size_t i : {1, 2})
    EXPECT_EQ(found["latency"][i]["failure"],
              "not installed: /no/such/python cannot be started; --python names another");
}

TEST_F(Measuring, compare_takes_other_precisions_of_onrush) {
  const Json found = report({"compare", model_, "--with", "onrush:fp32", "--shape", "x=16x64"});
  EXPECT_EQ(found["latency"][1]["engine"], "onrush:fp32");
  EXPECT_EQ(found["accuracy"][0]["absolute"], 0);
  EXPECT_EQ(found["details"]["rounds_ms"]["onrush"].size(), 10u);
  EXPECT_TRUE(found["details"]["verdicts"]["onrush:fp32"].contains("low"));
}

TEST_F(Measuring, debug_accuracy_tells_when_there_is_nothing_to_find) {
  const Json same = report(
      {"compare", model_, "--with", "onrush:fp32", "--debug-accuracy", folder_.path("part")});
  EXPECT_EQ(same["remarks"].back(),
            "onrush and onrush:fp32 agree in all values of the model (to 0.001 of the largest "
            "element).");
  const Json alone = report({"compare", model_, "--with", "openvino", "--python", "/no/python",
                             "--debug-accuracy", folder_.path("part")});
  EXPECT_EQ(alone["remarks"].back(),
            "--debug-accuracy: there are no two engines that ran the model.");
}

TEST_F(Measuring, compare_says_what_is_wrong) {
  expect_failure(1, {"compare", model_, "--with", "tensorrt"},
                 {"there is no engine 'tensorrt'", "openvino:bf16"});
  expect_failure(1, {"compare", model_, "--with", "onrush:fast"}, {"onrush:fast"});
  expect_failure(1, {"compare", model_, "--markdown", "/no/such/folder/b.md"}, {"cannot write"});
  expect_failure(2, {"compare", model_, "--with", "onrush:fp32", "--against", "openvino"},
                 {"--against 'openvino'"});
  expect_failure(1, {"compare", model_, "--debug-accuracy", model_ + "/folder"},
                 {"cannot make folder"});
  const Result none = onrush({"compare", model_, "--device", "cuda:63", "--python", "/no/python"});
  EXPECT_EQ(none.exit_code, 1);
  expect_text(none.out, "why not");
  expect_text(none.err, "Onrush itself did not run");
}

// As in a read-only container, where memory is left.
TEST_F(Measuring, temporary_folders_lie_where_they_can) {
  const engines::TemporaryFolder folder({"/no/such/folder", "/dev/shm"});
  EXPECT_TRUE(folder.path("").starts_with("/dev/shm/onrush-")) << folder.path("");
  unsetenv("TMPDIR");
  EXPECT_EQ(engines::TemporaryFolder::usual_places(),
            (engines::TemporaryFolder::Places{"/tmp", "/dev/shm"}));
}

TEST_F(Measuring, without_a_folder_for_temporary_files) {
  setenv("TMPDIR", "/no/such/folder", 1);
  const std::string command = std::string("'") + ONRUSH_PROGRAM + "' bench '" + model_ + "' 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  unsetenv("TMPDIR");
  ASSERT_TRUE(pipe);
  char line[512] = {};
  fread(line, 1, sizeof line - 1, pipe);
  pclose(pipe);
  expect_text(line, "TMPDIR may name another place");
}

}  // namespace
}  // namespace onrush::cli
