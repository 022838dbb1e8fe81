// What strangers may hand to the program: every case ends with exit code 1 and a message that says
// where and what, never with a crash.
#include "npy/npy.h"
#include "support.h"
#include <onrush/session.h>

namespace onrush::cli {
namespace {

using onnx::node;

class BadModel : public testing::Test {
 protected:
  // All commands refuse it alike.
  void expect_refused(const std::string& path, const std::vector<std::string>& parts) const {
    for (const char* command : {"run", "inspect", "plan"})
      expect_failure(1, {command, path}, parts);
  }
  void expect_refused(const onnx::Model& model, const std::vector<std::string>& parts) const {
    expect_refused(folder_.write("bad.onnx", model), parts);
  }
  void expect_run_fails(const onnx::Model& model, const std::vector<std::string>& parts) const {
    expect_failure(1, {"run", folder_.write("bad.onnx", model)}, parts);
  }

  Folder folder_;
};

TEST_F(BadModel, missing_file_and_folder) {
  expect_refused(folder_.path("none.onnx"), {"none.onnx"});
  expect_refused(folder_.path(""), {folder_.path("")});
}

TEST_F(BadModel, empty_and_garbage) {
  expect_refused(folder_.write("empty.onnx", std::string_view()), {"empty.onnx"});
  expect_refused(folder_.write("garbage.onnx", std::string_view("this is no model\n")),
                 {"garbage.onnx"});
}

TEST_F(BadModel, truncated_anywhere) {
  const std::string good = onnx::encode(increment());
  for (size_t length = 1; length < good.size(); length += 7) {
    const std::string path = folder_.write("cut.onnx", std::string_view(good).substr(0, length));
    expect_failure(1, {"run", path}, {"cut.onnx"});
  }
}

TEST_F(BadModel, wrong_wire_type) {
  std::string bytes = onnx::encode(increment());
  onnx::Writer(bytes).add_fixed32(onnx::proto::model_graph, 1);
  expect_refused(folder_.write("wire.onnx", bytes), {"wire.onnx"});
}

TEST_F(BadModel, cycle) {
  expect_refused(
      onnx::model(onnx::graph(
          {"x"}, {onnx::named("first", node("Add", {"x", "b"}, {"a"})), node("Neg", {"a"}, {"b"})},
          {"b"})),
      {"bad.onnx", "first"});
}

TEST_F(BadModel, missing_and_duplicate_names) {
  expect_refused(onnx::model(onnx::graph({"x"}, {node("Add", {"x", "nowhere"}, {"y"})}, {"y"})),
                 {"nowhere"});
  expect_refused(onnx::model(onnx::graph(
                     {"x"}, {node("Neg", {"x"}, {"y"}), node("Abs", {"x"}, {"y"})}, {"y"})),
                 {"'y'"});
}

TEST_F(BadModel, unknown_operator) {
  const onnx::Model model = onnx::model(
      onnx::graph({"x"}, {onnx::named("odd", node("Frobnicate", {"x"}, {"y"}))}, {"y"}));
  expect_failure(1, {"run", folder_.write("bad.onnx", model), "--shape", "x=1"},
                 {"bad.onnx", "node 'odd' (Frobnicate)", "no operator 'Frobnicate'", "opset"});
  expect_failure(1, {"plan", folder_.write("bad.onnx", model), "--shape", "x=1"},
                 {"node 'odd' (Frobnicate)"});
}

// An operator is asked for where the model is loaded, also if no run would reach it.
TEST_F(BadModel, unsupported_operator_in_a_branch) {
  const onnx::Graph decode =
      onnx::graph({}, {onnx::named("deep", node("ImageDecoder", {"x"}, {"picture"}))}, {"picture"});
  const onnx::Graph keep = onnx::graph({}, {node("Identity", {"x"}, {"same"})}, {"same"});
  const onnx::Model model = onnx::model(onnx::graph(
      {"x"},
      {node("If", {"x"}, {"y"},
            {onnx::subgraph("then_branch", keep), onnx::subgraph("else_branch", decode)})},
      {"y"}));
  const std::string bytes = onnx::encode(model);
  try {
    Session::load(std::as_bytes(std::span(bytes)));
    FAIL() << "the model was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("node 'deep' (ImageDecoder)"), std::string::npos);
  }
}

TEST_F(BadModel, newer_opset_and_unknown_domain) {
  onnx::Model model = increment();
  model.opset_import = {{"", 1000}};
  expect_refused(model, {"1000"});
  model = increment();
  model.graph.nodes[0].domain = "com.example";
  expect_refused(model, {"com.example"});
  model.opset_import.emplace_back("com.example", 1);
  expect_run_fails(model, {"com.example", "function of the model"});
}

TEST_F(BadModel, wrong_attribute) {
  onnx::Model model = increment();
  model.graph.nodes[0] = onnx::named(
      "soft", node("Softmax", {"x"}, {"y"}, {onnx::attribute("axis", std::string("last"))}));
  expect_run_fails(model, {"node 'soft' (Softmax)", "axis"});
}

TEST_F(BadModel, weights_shorter_than_their_shape) {
  onnx::Model model = increment();
  std::string bytes = onnx::encode(model);
  const std::string raw("\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f", 12);
  const size_t at = bytes.find(raw);
  ASSERT_NE(at, std::string::npos);
  // The dims of the tensor come before its data: 3 becomes 5.
  const size_t dims = bytes.rfind(std::string("\x08\x03", 2), at);
  ASSERT_NE(dims, std::string::npos);
  bytes[dims + 1] = 5;
  expect_refused(folder_.write("short.onnx", bytes), {"short.onnx", "one"});
}

TEST_F(BadModel, huge_tensors) {
  const std::string model = folder_.write("big.onnx", identity(DType::f32, {named("n")}));
  expect_failure(1, {"run", model, "--shape", "x=1099511627776"}, {"memory", "smaller"});
  expect_failure(1, {"run", model, "--shape", "x=9223372036854775807"}, {});
  const std::string product =
      folder_.write("wide.onnx", identity(DType::f32, {named("n"), named("m")}));
  expect_failure(1, {"run", product, "--shape", "x=4294967296x4294967296"}, {});
}

TEST_F(BadModel, shapes_that_do_not_fit_together) {
  onnx::Model model = increment();
  model.graph.initializers[0].tensor = onnx::tensor<float>(DType::f32, {4}, {1, 1, 1, 1});
  expect_run_fails(model, {"bad.onnx", "node 'inc' (Add)", "taken as 1: x=1x3"});
}

class BadInput : public BadModel {
 protected:
  void expect_rejected(const std::string& name, const Tensor& tensor,
                       const std::vector<std::string>& parts) const {
    write_npy(folder_.path("in.npy"), tensor);
    expect_failure(1, {"run", model_, "--input", name + "=" + folder_.path("in.npy")}, parts);
  }
  std::string model_ = folder_.write("increment.onnx", increment());
};

TEST_F(BadInput, name) {
  expect_rejected("z", Tensor(DType::f32, {1, 3}), {"no input 'z'", "'x'"});
}
TEST_F(BadInput, element_type) {
  expect_rejected("x", Tensor(DType::f64, {1, 3}), {"'x'", "float", "double"});
}
TEST_F(BadInput, rank) {
  expect_rejected("x", onnx::tensor<float>(DType::f32, {3}, {1, 2, 3}),
                  {"'x'", "[batch,3]", "[3]"});
}
TEST_F(BadInput, shape) {
  expect_rejected("x", Tensor(DType::f32, {1, 4}), {"'x'", "[batch,3]", "[1,4]"});
}

// A model of one node over f32 [4] and i64 [2].
onnx::Model with_integers(const std::string& op) {
  onnx::Graph graph = onnx::graph({}, {onnx::named("n1", onnx::node(op, {"x", "i"}, {"y"}))}, {});
  graph.inputs = {value("x", DType::f32, {size(4)}), value("i", DType::i64, {size(2)})};
  graph.outputs = {value("y", DType::f32, {named("a"), named("b")})};
  if (op == "Gather") graph.outputs[0].type.shape->pop_back();
  return onnx::model(std::move(graph));
}

TEST_F(BadInput, values_that_are_found_to_be_wrong_in_the_run) {
  const auto expect = [&](const std::string& op, int64_t a, int64_t b,
                          const std::vector<std::string>& parts) {
    const std::string model = folder_.write("model.onnx", with_integers(op));
    write_npy(folder_.path("i.npy"), onnx::tensor<int64_t>(DType::i64, {2}, {a, b}));
    expect_failure(1, {"run", model, "--input", "i=" + folder_.path("i.npy")}, parts);
  };
  expect("Gather", 1, 9, {"model.onnx", "node 'n1'", "index 9 is outside", "extent 4"});
  expect("Reshape", 3, 3, {"model.onnx", "node 'n1'", "cannot reshape"});
  expect("Expand", int64_t{1} << 40, 4,
         {"model.onnx", "output 'y' of shape [1099511627776,4]", "smaller"});
}

TEST_F(BadInput, files) {
  const auto expect = [&](const std::string& file, const std::string& part) {
    expect_failure(1, {"run", model_, "--input", "x=" + file}, {part});
  };
  expect(folder_.path("none.npy"), "none.npy");
  expect(folder_.write("text.npy", std::string_view("hello")), "text.npy: not an .npy file");
  expect(folder_.write("text.npz", std::string_view("hello")),
         "text.npz: not a readable zip archive");
  write_npz(folder_.path("two.npz"),
            std::vector<std::pair<std::string, Tensor>>{{"a", Tensor(DType::f32, {})},
                                                        {"b", Tensor(DType::f32, {})}});
  expect(folder_.path("two.npz"), "there is no array 'x'");
}

TEST_F(BadInput, a_sequence_has_to_be_given) {
  onnx::Graph graph = onnx::graph({}, {node("SequenceLength", {"s"}, {"n"})}, {});
  graph.inputs = {onnx::value_info("s")};
  graph.inputs[0].type.kind = onnx::Type::Kind::sequence;
  graph.inputs[0].type.nested = std::make_shared<onnx::Type>(onnx::value_info("").type);
  graph.outputs = {value("n", DType::i64, {})};
  const std::string model = folder_.write("sequence.onnx", onnx::model(graph));
  expect_failure(1, {"run", model}, {"'s'", "has to come from a file"});
  write_npz(folder_.path("s.npz"),
            std::vector<std::pair<std::string, Tensor>>{{"a", Tensor(DType::f32, {2})},
                                                        {"b", Tensor(DType::f32, {3})}});
  expect_output({"run", model, "--input", "s=" + folder_.path("s.npz")}, {"n: int64 []\n  2\n"});
}

TEST_F(BadInput, memory_limit) {
  const std::string model = folder_.write("matmul.onnx", matmul(256));
  expect_output({"run", model, "--memory-limit", "64MB"}, {"y: float [1,256]"});
  expect_failure(1, {"run", model, "--memory-limit", "10KB"}, {"memory"});
}

}  // namespace
}  // namespace onrush::cli
