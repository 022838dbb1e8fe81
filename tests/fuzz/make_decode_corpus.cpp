// Writes seeds for fuzz_decode into the folder given: models that between them use every message
// of ONNX.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "onnx/encode.h"

namespace {

using namespace onrush;
using namespace onrush::onnx;

ValueInfo value_info(const std::string& name, Type type) {
  ValueInfo info;
  info.name = name;
  info.type = std::move(type);
  return info;
}

Type tensor_type() {
  Type type{.kind = Type::Kind::tensor, .element = DType::f32};
  type.shape = {Dimension{2, ""}, Dimension{{}, "n"}};
  return type;
}

Node node(const std::string& op, std::vector<std::string> inputs,
          std::vector<std::string> outputs) {
  Node result;
  result.name = op + "_node";
  result.op_type = op;
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  return result;
}

Model base_model() {
  Model model;
  model.ir_version = 10;
  model.opset_import = {{"", 21}, {"local", 1}};
  model.graph.name = "g";
  model.graph.inputs = {value_info("x", tensor_type())};
  model.graph.outputs = {value_info("y", tensor_type())};
  return model;
}

Model with_weights() {
  Model model = base_model();
  for (const DType dtype : {DType::f32, DType::i64, DType::i4, DType::boolean})
    model.graph.initializers.push_back({std::string(name(dtype)), Tensor(dtype, {0, 3})});
  const std::vector<float> values = {1, 2};
  model.graph.initializers.push_back({"w", Tensor::of<float>(DType::f32, {2}, values)});
  model.graph.initializers.push_back({"s", Tensor::of_strings({2}, {"a", "b"})});
  model.graph.nodes = {node("Add", {"x", "w"}, {"y"})};
  return model;
}

Model with_types() {
  Model model = base_model();
  Type type = tensor_type();
  for (const Type::Kind kind : {Type::Kind::sequence, Type::Kind::map, Type::Kind::optional})
    type = {.kind = kind, .element = DType::i64, .nested = std::make_shared<const Type>(type)};
  model.graph.inputs.push_back(value_info("o", type));
  model.graph.nodes = {node("Relu", {"x"}, {"y"})};
  return model;
}

Model with_functions() {
  Model model = base_model();
  Graph branch;
  branch.nodes = {node("Abs", {"a"}, {"r"})};
  branch.outputs = {value_info("r", tensor_type())};

  Function function;
  function.name = "f";
  function.domain = "local";
  function.inputs = {"a"};
  function.outputs = {"b"};
  function.attributes = {"p"};
  function.attribute_defaults = {{"q", "", std::vector<int64_t>{1, 2}}};
  function.opset_import = {{"", 13}};
  Node choice = node("If", {"a"}, {"b"});
  choice.attributes = {{"then_branch", "", std::make_shared<const Graph>(branch)},
                       {"alpha", "p", {}},
                       {"beta", "q", {}}};
  function.nodes = {choice};
  model.functions = {function};

  Node call = node("f", {"x"}, {"y"});
  call.domain = "local";
  call.attributes = {{"p", "", 0.5f}};
  model.graph.nodes = {call};
  return model;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_decode_corpus FOLDER\n");
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  };
  write("weights", encode(with_weights()));
  write("types", encode(with_types()));
  write("functions", encode(with_functions()));
  const Tensor tensor = Tensor::of_strings({1}, {"v"});
  write("sequence", encode_value(Sequence{{tensor, tensor}}, "sequence"));
  write("map", encode_value(Map{Tensor::of_strings({1}, {"k"}), {tensor}}, "map"));
  return 0;
}
