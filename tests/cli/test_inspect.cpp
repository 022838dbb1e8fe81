#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "support.h"

namespace onrush::cli {
namespace {

using onnx::node;
namespace proto = onnx::proto;

TEST(Inspect, shows_what_a_model_takes_gives_and_holds) {
  const Folder folder;
  onnx::Model model = increment();
  model.producer_name = "tests";
  model.producer_version = "7";
  model.metadata = {{"author", "somebody"}};
  expect_output({"inspect", folder.write("a.onnx", model)},
                {"a.onnx: ONNX IR version 10", "producer: tests 7", "opsets: ai.onnx 21",
                 "metadata author: somebody", "inputs:\n  x: tensor(float) [batch,3]\n",
                 "outputs:\n  y: tensor(float) [batch,3]\n",
                 "parameters: 3 in 1 tensors, 12 bytes (float 12 bytes)",
                 "operators: 1 nodes\n       1 Add\n", "unsupported: nothing"});
}

TEST(Inspect, fails_where_nothing_can_be_written) {
  const Folder folder;
  const std::string command = "'" ONRUSH_PROGRAM "' inspect '" +
                              folder.write("a.onnx", increment()) + "' >/dev/full 2>'" +
                              folder.path("err") + "'";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  expect_text(read_file(folder.path("err")), "onrush: cannot write to standard output: No space");
}

TEST(Inspect, says_what_is_unsupported_and_where) {
  const Folder folder;
  onnx::Graph branch =
      onnx::graph({}, {onnx::named("deep", node("Warp", {"x"}, {"b"}, {}, "com.example"))}, {"b"});
  onnx::Graph graph = onnx::graph(
      {"x"},
      {onnx::named("odd", node("Frobnicate", {"x"}, {"t"})), node("Frobnicate", {"t"}, {"u"}),
       node("If", {"c"}, {"y"},
            {onnx::subgraph("then_branch", branch), onnx::subgraph("else_branch", branch)})},
      {"y"});
  graph.initializers = {{"c", onnx::tensor<uint8_t>(DType::boolean, {}, {1})}};
  onnx::Model model = onnx::model(graph);
  model.opset_import.emplace_back("com.example", 1);
  expect_output({"inspect", folder.write("a.onnx", model)},
                {"operators: 5 nodes", "opsets: ai.onnx 21, com.example 1",
                 "unsupported:\n       2 Frobnicate, first in node 'odd'\n       2 "
                 "com.example.Warp, first in node 'deep'\n"});
}

TEST(Inspect, counts_functions_where_they_are_called) {
  const Folder folder;
  onnx::Model model = onnx::model(onnx::graph(
      {"x"}, {node("Twice", {"x"}, {"y"}, {}, "f"), node("Twice", {"y"}, {"z"}, {}, "f")}, {"z"}));
  model.opset_import.emplace_back("f", 1);
  onnx::Function twice;
  twice.name = "Twice";
  twice.domain = "f";
  twice.inputs = {"a"};
  twice.outputs = {"b"};
  twice.opset_import = {{"", 21}};
  twice.nodes = {node("Add", {"a", "a"}, {"b"})};
  model.functions = {twice};
  expect_output({"inspect", folder.write("a.onnx", model)},
                {"functions: 1", "operators: 2 nodes\n       2 Add\n"});
}

// increment() with its weight in "weights.bin".
std::string with_external_weight() {
  std::string location, tensor, graph, result;
  onnx::Writer(location).add_string(proto::entry_key, "location");
  onnx::Writer(location).add_string(proto::entry_value, "weights.bin");
  onnx::Writer weight(tensor);
  weight.add_int64(proto::tensor_dims, 3);
  weight.add_int32(proto::tensor_data_type, static_cast<int32_t>(DType::f32));
  weight.add_string(proto::tensor_name, "one");
  weight.add_int32(proto::tensor_data_location, proto::kDataLocationExternal);
  weight.add_message(proto::tensor_external_data, location);

  onnx::Model model = increment();
  model.graph.initializers.clear();
  const std::string bytes = onnx::encode(model);
  onnx::Writer writer(result);
  protozero::pbf_reader reader(bytes);
  while (reader.next()) switch (reader.tag()) {
      case proto::model_ir_version:
        writer.add_int64(proto::model_ir_version, reader.get_int64());
        break;
      case proto::model_opset_import:
        writer.add_message(proto::model_opset_import, reader.get_bytes());
        break;
      case proto::model_graph: graph = reader.get_bytes(); break;
      default: reader.skip();
    }
  onnx::Writer(graph).add_message(proto::graph_initializer, tensor);
  writer.add_message(proto::model_graph, graph);
  return result;
}

TEST(Inspect, needs_no_external_data) {
  const Folder folder;
  const std::string model = folder.write("a.onnx", with_external_weight());
  expect_output({"inspect", model},
                {"external data weights.bin: 1 tensors, 12 bytes, MISSING", "parameters: 3 in 1"});
  expect_output({"plan", model}, {"segment 1", "step 0"});
  expect_failure(1, {"run", model}, {"a.onnx", "weights.bin"});

  folder.write("weights.bin", std::string_view("\0\0\x80\x3f\0\0\x80\x3f\0\0\x80\x3f", 12));
  expect_output({"inspect", model}, {"external data weights.bin: 1 tensors, 12 bytes\n"});
  expect_output({"run", model}, {"y: float [1,3]"});
}

}  // namespace
}  // namespace onrush::cli
