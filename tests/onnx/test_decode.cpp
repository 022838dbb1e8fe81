#include <filesystem>
#include <fstream>

#include "builders.h"

namespace onrush::onnx {
namespace {

Model identity_model() {
  return model(graph({"x"}, {named("id", node("Identity", {"x"}, {"y"}))}, {"y"}));
}

void expect_damaged(const std::string& bytes, const std::string& text) {
  expect_error(ErrorCode::invalid_model, text, [&] { decode_text(bytes); });
}

TEST(Decode, EmptyFile) { expect_damaged("", "model.onnx: the file is empty; fetch or export"); }

TEST(Decode, NamesAModelInMemory) {
  expect_error(ErrorCode::invalid_model, "model in memory: the file is empty",
               [] { decode(Bytes{}); });
}

TEST(Decode, GitLfsPointer) {
  expect_damaged("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull");
}

TEST(Decode, Text) { expect_damaged("<html>not found</html>", "model.onnx: protobuf field"); }

TEST(Decode, OtherProtobuf) {
  std::string bytes;
  Writer(bytes).add_int64(proto::model_ir_version, 8);
  expect_damaged(bytes, "the file holds no graph");
}

TEST(Decode, EveryTruncationIsAnError) {
  Model m = identity_model();
  m.graph.initializers.push_back({"w", tensor<float>(DType::f32, {2}, {1, 2})});
  const std::string bytes = encode(m);
  int errors = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    try {
      decode_text(bytes.substr(0, size));
    } catch (const Error&) {
      ++errors;
    }
  }
  EXPECT_EQ(errors, static_cast<int>(bytes.size()));
  expect_damaged(bytes.substr(0, 60), "the file is cut short or damaged");
}

TEST(Decode, EveryFlippedByteIsAnErrorOrAModel) {
  const std::string bytes = encode(identity_model());
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0xff);
    try {
      decode_text(damaged);
    } catch (const Error&) {
    }
  }
}

TEST(Decode, WrongWireType) {
  std::string bytes;
  Writer(bytes).add_string(proto::model_ir_version, "ten");
  expect_damaged(bytes, "model.onnx: protobuf field 1 has wire type 2 where 0 is due");
}

TEST(Decode, ForbiddenWireTypeAndFieldNumber) {
  expect_damaged(std::string("\xfb\x01", 2), "protobuf field 31 has unknown wire type 3");
  expect_damaged(std::string("\x00\x01", 2), "malformed protobuf field number");
}

TEST(Decode, EndlessVarint) {
  expect_damaged("\x08" + std::string(11, '\xff'), "malformed number after protobuf field 1");
}

TEST(Decode, LengthBeyond32Bits) {
  // Field 7 (graph), length 2^32 + 1: must not be taken for 1.
  expect_damaged("\x3a\x81\x80\x80\x80\x10" + std::string(8, '\0'),
                 "protobuf field 7 needs 4294967297 bytes but 8 are left");
}

TEST(Decode, UnknownFieldsAreSkipped) {
  std::string bytes = encode(identity_model());
  Writer writer(bytes);
  writer.add_int64(1000, 1);
  writer.add_fixed32(1001, 2);
  writer.add_fixed64(1002, 3);
  writer.add_string(1003, "text");
  EXPECT_EQ(decode_text(bytes).graph.nodes.size(), 1u);
}

TEST(Decode, ErrorNamesNodeAndAttribute) {
  std::string bytes;
  Writer model_writer(bytes);
  {
    Writer graph_writer(model_writer, proto::model_graph);
    Writer node_writer(graph_writer, proto::graph_node);
    node_writer.add_string(proto::node_name, "conv1");
    node_writer.add_string(proto::node_op_type, "Conv");
    Writer attribute_writer(node_writer, proto::node_attribute);
    attribute_writer.add_string(proto::attribute_name, "value");
    attribute_writer.add_int64(proto::attribute_i, 1);
    attribute_writer.add_int32(proto::attribute_type, 1);
  }
  expect_damaged(bytes,
                 "model.onnx: node 'conv1' (Conv): attribute 'value': the attribute's value is not "
                 "of its type (1)");
}

std::string attribute_model(const std::string& attribute_bytes) {
  std::string bytes = encode(model(graph({}, {}, {})));
  Writer model_writer(bytes);
  {
    Writer graph_writer(model_writer, proto::model_graph);
    Writer node_writer(graph_writer, proto::graph_node);
    node_writer.add_string(proto::node_op_type, "Op");
    node_writer.add_message(proto::node_attribute, attribute_bytes);
  }
  return bytes;
}

TEST(Decode, AttributeWithTwoValues) {
  std::string bytes;
  Writer writer(bytes);
  writer.add_int64(proto::attribute_i, 1);
  writer.add_float(proto::attribute_f, 1);
  expect_damaged(attribute_model(bytes), "values of two kinds");
}

TEST(Decode, AttributeWithoutTypeTakesThatOfItsValue) {
  std::string bytes;
  Writer writer(bytes);
  writer.add_string(proto::attribute_name, "axes");
  const std::vector<int64_t> values = {1, -2};
  writer.add_packed_int64(proto::attribute_ints, values.begin(), values.end());
  const Model m = decode_text(attribute_model(bytes));
  EXPECT_EQ(std::get<std::vector<int64_t>>(m.graph.nodes[0].find("axes")->value), values);
}

TEST(Decode, AttributeWithTypeButNoValue) {
  std::string bytes;
  Writer writer(bytes);
  writer.add_string(proto::attribute_name, "a");
  writer.add_int32(proto::attribute_type, 7);  // INTS
  const Model m = decode_text(attribute_model(bytes));
  EXPECT_TRUE(std::get<std::vector<int64_t>>(m.graph.nodes[0].attributes[0].value).empty());
  std::string tensor_bytes;
  Writer(tensor_bytes).add_int32(proto::attribute_type, 4);  // TENSOR
  expect_damaged(attribute_model(tensor_bytes), "the attribute has no value");
}

TEST(Decode, UnknownAttributeType) {
  std::string bytes;
  Writer(bytes).add_int32(proto::attribute_type, 15);
  expect_error(ErrorCode::unsupported, "attribute type 15 is unknown",
               [&] { decode_text(attribute_model(bytes)); });
}

TEST(Decode, GraphsNestedTooDeep) {
  Graph inner = graph({}, {}, {});
  for (int i = 0; i < 70; ++i)
    inner = graph({}, {node("If", {}, {}, {subgraph("then_branch", std::move(inner))})}, {});
  expect_invalid(model(std::move(inner)), "graphs nest more than 64 levels deep");
}

TEST(Decode, TypesNestedTooDeep) {
  Type type = value_info("x").type;
  for (int i = 0; i < 70; ++i)
    type = {.kind = Type::Kind::sequence, .nested = std::make_shared<const Type>(std::move(type))};
  Model m = model(graph({"x"}, {}, {}));
  m.graph.inputs[0].type = std::move(type);
  expect_invalid(m, "graph input 'x': types nest more than 64 levels deep");
}

TEST(Decode, NamesInMessagesAreShortenedAndEscaped) {
  const std::string name = "a\n" + std::string(500, 'b');
  try {
    recode(model(graph({}, {node("Relu", {name}, {"y"})}, {})));
    FAIL();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("'a\\x0ab"), std::string::npos) << message;
    EXPECT_LT(message.size(), 400u);
  }
}

TEST(Decode, DomainIsNormalised) {
  Model m = identity_model();
  m.opset_import = {{"ai.onnx", 21}};
  m.graph.nodes[0].domain = "ai.onnx";
  const Model decoded = recode(m);
  EXPECT_EQ(decoded.graph.nodes[0].domain, "");
  EXPECT_EQ(decoded.opset(""), 21);
  EXPECT_EQ(decoded.opset("ai.onnx"), 21);
  EXPECT_EQ(decoded.opset("com.example"), 0);
}

TEST(Decode, NegativeDimensionIsUnknown) {
  Model m = identity_model();
  m.graph.inputs[0].type.shape = {Dimension{-1, ""}, Dimension{3, ""}, Dimension{{}, "n"}};
  const Model decoded = recode(m);
  const auto& shape = *decoded.graph.inputs[0].type.shape;
  EXPECT_FALSE(shape[0].value);
  EXPECT_EQ(shape[1].value, 3);
  EXPECT_EQ(shape[2].param, "n");
}

TEST(Load, MissingFile) {
  expect_error(ErrorCode::not_found, "/nonexistent/m.onnx: cannot be opened: No such file",
               [] { load("/nonexistent/m.onnx"); });
}

TEST(Load, Directory) {
  expect_error(ErrorCode::invalid_argument, "is no regular file",
               [] { load(std::filesystem::temp_directory_path().string()); });
}

TEST(Load, WeightsAreViewsThatKeepTheMappingAlive) {
  const auto path = std::filesystem::path(testing::TempDir()) / "onrush_views.onnx";
  Model m = model(graph({}, {}, {}));
  m.graph.initializers.push_back({"w", tensor<uint8_t>(DType::u8, {3}, {1, 2, 3})});
  std::ofstream(path, std::ios::binary) << encode(m);
  Tensor weight;
  {
    const Model loaded = load(path.string());
    EXPECT_EQ(loaded.path, path.string());
    weight = loaded.graph.initializers[0].tensor;
  }
  std::filesystem::remove(path);
  EXPECT_EQ(weight.as<uint8_t>()[2], 3);
}

}  // namespace
}  // namespace onrush::onnx
