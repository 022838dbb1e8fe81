#include "builders.h"

namespace onrush::onnx {
namespace {

// A model with something in every field.
Model full_model() {
  Type sequence{.kind = Type::Kind::sequence,
                .nested = std::make_shared<const Type>(value_info("").type)};
  Type map{.kind = Type::Kind::map,
           .element = DType::i64,
           .nested = std::make_shared<const Type>(sequence)};
  Type sparse{.kind = Type::Kind::sparse_tensor, .element = DType::f16};
  Type optional{.kind = Type::Kind::optional, .nested = std::make_shared<const Type>(map)};

  const Tensor numbers = tensor<float>(DType::f32, {2}, {1, 2});
  const Tensor strings = Tensor::of_strings({2}, {"a", ""});
  const auto branch = std::make_shared<const Graph>(graph({}, {}, {"x"}));
  Node everything = named(
      "n", node("Op", {"x", "", "w"}, {"y"},
                {attribute("f", 1.5f), attribute("i", int64_t{-3}),
                 attribute("s", std::string("s")), attribute("t", strings), attribute("g", branch),
                 attribute("tp", optional), attribute("fs", std::vector<float>{1, 2}),
                 attribute("is", std::vector<int64_t>{-1, int64_t{1} << 40}),
                 attribute("ss", std::vector<std::string>{"a", ""}),
                 attribute("ts", std::vector<Tensor>{numbers, strings}),
                 attribute("gs", std::vector<std::shared_ptr<const Graph>>{branch, branch}),
                 attribute("tps", std::vector<Type>{map, sequence}),
                 attribute("empty", std::vector<int64_t>{})},
                "com.x"));
  everything.overload = "o";
  everything.doc_string = "node doc";
  everything.metadata = {{"k", "v"}};

  Model m = model(graph({"x"}, {everything}, {"y"}));
  m.opset_import.emplace_back("com.x", 2);
  m.producer_name = "producer";
  m.producer_version = "1.0";
  m.domain = "domain";
  m.model_version = 5;
  m.doc_string = "doc";
  m.metadata = {{"key", "value"}, {"other", ""}};
  m.graph.doc_string = "graph doc";
  m.graph.metadata = {{"a", "b"}};
  m.graph.initializers.push_back({"w", numbers});
  m.graph.inputs[0].type.shape = {Dimension{2, ""}, Dimension{{}, "n"}, Dimension{}};
  m.graph.inputs[0].doc_string = "input doc";
  m.graph.inputs[0].metadata = {{"c", "d"}};
  m.graph.value_info.push_back(value_info("y"));
  m.graph.value_info[0].type = sparse;

  Function function;
  function.name = "f";
  function.domain = "com.x";
  function.overload = "v";
  function.doc_string = "function doc";
  function.inputs = {"a"};
  function.outputs = {"b"};
  function.attributes = {"p"};
  function.attribute_defaults = {attribute("q", int64_t{1})};
  function.nodes = {node("Relu", {"a"}, {"b"}, {reference("alpha", "p")})};
  function.opset_import = {{"", 13}};
  m.functions.push_back(function);
  return m;
}

TEST(Encode, RoundTripsEveryField) {
  const Model original = full_model();
  const std::string bytes = encode(original);
  const Model decoded = decode_text(bytes);
  EXPECT_EQ(encode(decoded), bytes);

  const Node& node = decoded.graph.nodes[0];
  ASSERT_EQ(node.attributes.size(), original.graph.nodes[0].attributes.size());
  for (size_t i = 0; i < node.attributes.size(); ++i)
    EXPECT_EQ(node.attributes[i].value.index(), original.graph.nodes[0].attributes[i].value.index())
        << node.attributes[i].name;
  EXPECT_EQ(std::get<Tensor>(node.find("t")->value).strings()[0], "a");
  EXPECT_EQ(std::get<Type>(node.find("tp")->value).nested->nested->nested->element, DType::f32);
  EXPECT_EQ(node.inputs, (Names{"x", "", "w"}));
  EXPECT_EQ(node.overload, "o");
  EXPECT_EQ(node.metadata, original.graph.nodes[0].metadata);
  EXPECT_EQ(decoded.metadata, original.metadata);
  EXPECT_EQ(decoded.model_version, 5);
  EXPECT_EQ(decoded.graph.inputs[0].type.shape->size(), 3u);
  EXPECT_EQ((*decoded.graph.inputs[0].type.shape)[1].param, "n");
  EXPECT_EQ(decoded.graph.value_info[0].type.kind, Type::Kind::sparse_tensor);
  EXPECT_EQ(decoded.functions[0].nodes[0].attributes[0].ref_attr_name, "p");
  EXPECT_EQ(decoded.functions[0].opset_import, original.functions[0].opset_import);
}

TEST(Encode, KeepsEmptyMessages) {
  Model m = model(graph({"scalar", "unknown_dims", "unknown_rank"}, {}, {}));
  m.graph.inputs[0].type.shape.emplace();
  m.graph.inputs[1].type.shape = {Dimension{}, Dimension{}};
  const Model decoded = recode(m);
  EXPECT_EQ(decoded.graph.inputs[0].type.shape->size(), 0u);
  EXPECT_EQ(decoded.graph.inputs[1].type.shape->size(), 2u);
  EXPECT_FALSE(decoded.graph.inputs[2].type.shape);

  const Value value = Sequence{{Sequence{}, Sequence{}}};
  const std::string bytes = encode_value(value);
  EXPECT_EQ(
      decode_value(bytes_of(bytes), {.kind = Type::Kind::sequence}).sequence().elements.size(), 2u);
}

TEST(Encode, TensorsWithoutHostData) {
  expect_error(ErrorCode::invalid_argument, "tensor 'w' has no data to write",
               [] { encode_tensor(Tensor(DType::f32, {2}, nullptr), "w"); });
  float value = 0;
  const Tensor remote(DType::f32, {1}, &value, {}, Device{Device::Kind::cuda, 0});
  expect_error(ErrorCode::invalid_argument, "is not in host memory",
               [&] { encode_tensor(remote, "w"); });
}

TEST(Encode, EmptyTensors) {
  for (const DType dtype : {DType::f32, DType::string})
    EXPECT_EQ(decode_tensor(bytes_of(encode_tensor(Tensor(dtype, {0, 2})))).shape(), (Shape{0, 2}));
}

}  // namespace
}  // namespace onrush::onnx
