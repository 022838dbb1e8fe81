#include "builders.h"

namespace onrush::onnx {
namespace {

void expect_unsupported(const Model& model, const std::string& text) {
  expect_error(ErrorCode::unsupported, text, [&] { recode(model); });
}

Names op_types(const Graph& graph) {
  Names names;
  for (const Node& node : graph.nodes) names.push_back(node.op_type);
  return names;
}

TEST(Check, Versions) {
  Model m = model(graph({}, {}, {}));
  m.ir_version = 0;
  expect_invalid(m, "model.onnx: the model states no IR version");
  m.ir_version = 15;
  expect_unsupported(m, "IR version 15 is newer than 14");
  m.ir_version = 14;
  m.opset_import = {{"", 29}};
  expect_unsupported(m, "ai.onnx opset 29 is newer than 28, the newest this build runs");
  m.opset_import = {{"", 28}};
  recode(m);
  m.opset_import = {{"", 0}};
  expect_invalid(m, "imported with version 0");
  m.opset_import = {{"", 20}, {"ai.onnx", 21}};
  expect_invalid(m, "operator set 'ai.onnx' is imported twice");
  m.opset_import = {};
  expect_invalid(m, "imports no operator set");
  m.ir_version = 2;
  EXPECT_EQ(recode(m).opset(""), 1);
}

TEST(Check, DomainNotImported) {
  expect_invalid(model(graph({}, {named("n", node("Gelu", {}, {}, {}, "com.microsoft"))}, {})),
                 "model.onnx: node 'n' (Gelu): operator set 'com.microsoft' is not imported");
}

TEST(Check, MissingInput) {
  expect_invalid(
      model(graph({}, {named("conv1", node("Conv", {"x"}, {"y"}))}, {"y"})),
      "model.onnx: node 'conv1' (Conv): input 'x' is produced by no node and is no graph "
      "input or initializer; the file is incomplete");
}

TEST(Check, MissingOutput) {
  expect_invalid(model(graph({"x"}, {}, {"y"})),
                 "model.onnx: graph output 'y': no node produces it");
}

TEST(Check, NodeWithoutOperator) {
  expect_invalid(model(graph({}, {node("", {}, {})}, {})), "model.onnx: node 0: the node names no");
}

TEST(Check, NamesDefinedTwice) {
  expect_invalid(model(graph({"x"}, {node("Relu", {"x"}, {"y"}), node("Abs", {"x"}, {"y"})}, {})),
                 "node 1 (Abs): output 'y' has a name that is taken");
  expect_invalid(model(graph({"x"}, {node("Relu", {"x"}, {"x2", "x2"})}, {})), "'x2'");
  expect_invalid(model(graph({"x", "x"}, {}, {})), "input 'x' has a name that is taken");
  expect_invalid(model(graph({""}, {}, {})), "an input has no name");
  Model m = model(graph({"w"}, {}, {}));
  m.graph.initializers.assign(1, {"w", tensor<float>(DType::f32, {}, {1})});
  recode(m);  // an initializer may be the default of an input
  m.graph.initializers.push_back(m.graph.initializers[0]);
  expect_invalid(m, "initializer 'w' has a name that is taken");
}

TEST(Check, AttributeTwice) {
  const auto axis = attribute("axis", int64_t{1});
  expect_invalid(model(graph({}, {node("Concat", {}, {}, {axis, axis})}, {})),
                 "node 0 (Concat): attribute 'axis': the node has two attributes of this name");
}

TEST(Check, ReferenceOutsideFunction) {
  expect_invalid(model(graph({}, {node("Concat", {}, {}, {reference("axis", "a")})}, {})),
                 "attribute 'axis': ref_attr_name 'a' stands outside a function");
}

TEST(Check, AbsentInputsAndOutputs) {
  recode(model(graph({"x"}, {node("Clip", {"x", "", ""}, {"y", ""})}, {"y"})));
}

TEST(Check, SubgraphsSeeOuterNames) {
  const Graph branch = graph({}, {node("Add", {"x", "late"}, {"r"})}, {"r"});
  const Model m = recode(model(graph(
      {"x", "c"},
      {node("If", {"c"}, {"y"}, {subgraph("then_branch", branch), subgraph("else_branch", branch)}),
       node("Relu", {"x"}, {"late"})},
      {"y"})));
  EXPECT_EQ(op_types(m.graph), (Names{"Relu", "If"}));
}

TEST(Check, SubgraphNamesAreNotSeenOutside) {
  const Graph branch = graph({}, {node("Relu", {"x"}, {"inner"})}, {"inner"});
  expect_invalid(model(graph({"x"},
                             {node("If", {"x"}, {"y"}, {subgraph("then_branch", branch)}),
                              node("Abs", {"inner"}, {"z"})},
                             {"z"})),
                 "node 1 (Abs): input 'inner' is produced by no node");
}

TEST(Check, MissingInputInSubgraph) {
  const Graph branch = graph({}, {named("in", node("Relu", {"nowhere"}, {"r"}))}, {"r"});
  expect_invalid(
      model(graph({}, {named("if", node("If", {}, {}, {subgraph("then_branch", branch)}))}, {})),
      "model.onnx: node 'if' (If): attribute 'then_branch': node 'in' (Relu): input 'nowhere'");
}

TEST(Sort, KeepsSortedOrder) {
  const Model m = recode(model(graph({"x"},
                                     {node("B", {"x"}, {"b"}), node("A", {"x"}, {"a"}),
                                      node("C", {"a", "b"}, {"c"}), node("D", {}, {})},
                                     {"c"})));
  EXPECT_EQ(op_types(m.graph), (Names{"B", "A", "C", "D"}));
}

TEST(Sort, MovesUsersBehindProducers) {
  const Model m = recode(model(graph({"x"},
                                     {node("C", {"a", "b", "b"}, {"c"}), node("B", {"x"}, {"b"}),
                                      node("A", {"b"}, {"a"}), node("D", {"x"}, {"d"})},
                                     {"c"})));
  EXPECT_EQ(op_types(m.graph), (Names{"B", "A", "C", "D"}));
}

TEST(Sort, LongChainBackwards) {
  std::vector<Node> nodes;
  for (int i = 20000; i-- > 0;)
    nodes.push_back(node("Relu", {"v" + std::to_string(i)}, {"v" + std::to_string(i + 1)}));
  const Model m = recode(model(graph({"v0"}, std::move(nodes), {"v20000"})));
  EXPECT_EQ(m.graph.nodes.front().inputs[0], "v0");
  EXPECT_EQ(m.graph.nodes.back().outputs[0], "v20000");
}

TEST(Sort, Circle) {
  expect_invalid(model(graph({"x"},
                             {named("start", node("Relu", {"x"}, {"s"})),
                              named("a", node("Add", {"s", "q"}, {"p"})),
                              named("b", node("Relu", {"p"}, {"q"}))},
                             {"q"})),
                 "model.onnx: nodes depend on each other in a circle: 'a' (Add) uses 'b' (Relu) "
                 "uses 'a' (Add); a model must be acyclic");
  expect_invalid(model(graph({}, {node("Relu", {"p"}, {"p"})}, {})), "0 (Relu) uses 0 (Relu)");
}

TEST(Sort, CircleThroughSubgraph) {
  const Graph branch = graph({}, {node("Relu", {"y"}, {"r"})}, {"r"});
  expect_invalid(
      model(graph({"c"}, {node("If", {"c"}, {"y"}, {subgraph("then_branch", branch)})}, {"y"})),
      "in a circle");
}

TEST(Sort, WithinSubgraphsAndFunctions) {
  const std::vector<Node> unsorted = {node("B", {"a"}, {"b"}), node("A", {"x"}, {"a"})};
  Model m = model(graph(
      {"x"}, {node("If", {"x"}, {"y"}, {subgraph("then_branch", graph({}, unsorted, {"b"}))})},
      {"y"}));
  Function function;
  function.name = "f";
  function.domain = "local";
  function.inputs = {"x"};
  function.outputs = {"b"};
  function.nodes = unsorted;
  m.functions.push_back(function);
  const Model decoded = recode(m);
  const auto& value = decoded.graph.nodes[0].attributes[0].value;
  EXPECT_EQ(op_types(*std::get<std::shared_ptr<const Graph>>(value)), (Names{"A", "B"}));
  EXPECT_EQ(decoded.functions[0].nodes[0].op_type, "A");
}

}  // namespace
}  // namespace onrush::onnx
