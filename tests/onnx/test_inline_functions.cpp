#include <fmt/format.h>

#include "builders.h"
#include "onnx/inline_functions.h"

namespace onrush::onnx {
namespace {

Function function(std::string name, Names inputs, Names outputs, std::vector<Node> nodes) {
  Function result;
  result.name = std::move(name);
  result.domain = "local";
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  result.nodes = std::move(nodes);
  result.opset_import = {{"", 21}};
  return result;
}

Node call(std::string name, Names inputs, Names outputs, std::vector<Attribute> attributes = {}) {
  return node(std::move(name), std::move(inputs), std::move(outputs), std::move(attributes),
              "local");
}

Model with_functions(Graph graph, std::vector<Function> functions) {
  Model result = model(std::move(graph));
  result.functions = std::move(functions);
  return result;
}

// Through the file and back, so that what is inlined has passed the checks; the result must pass
// them again.
Model inlined(const Model& model) {
  Model result = recode(model);
  inline_functions(result);
  EXPECT_TRUE(result.functions.empty());
  recode(result);
  return result;
}

// "Add(x,y)->z" for each node.
Names lines(const std::vector<Node>& nodes) {
  Names result;
  for (const Node& node : nodes)
    result.push_back(fmt::format("{}({})->{}", node.op_type, fmt::join(node.inputs, ","),
                                 fmt::join(node.outputs, ",")));
  return result;
}
Names lines(const Model& model) { return lines(model.graph.nodes); }

const Graph& graph_of(const Attribute& attribute) {
  return *std::get<std::shared_ptr<const Graph>>(attribute.value);
}

TEST(Inline, RenamesInnerValues) {
  const Model m = inlined(with_functions(
      graph({"x"}, {named("c", call("f", {"x"}, {"y"})), call("f", {"y"}, {"z"})}, {"z"}),
      {function("f", {"a"}, {"b"}, {node("Relu", {"a"}, {"t"}), node("Abs", {"t"}, {"b"})})}));
  EXPECT_EQ(lines(m), (Names{"Relu(x)->c/t", "Abs(c/t)->y", "Relu(y)->f/t", "Abs(f/t)->z"}));
  EXPECT_EQ(m.graph.nodes[0].name, "c/Relu");
}

TEST(Inline, NewNamesAvoidThoseOfTheModel) {
  const Model m = inlined(with_functions(
      graph({"x", "f/t"}, {call("f", {"x"}, {"y"}), call("f", {"f/t"}, {"z"})}, {"y", "z"}),
      {function("f", {"a"}, {"b"}, {node("Relu", {"a"}, {"t"}), node("Abs", {"t"}, {"b"})})}));
  EXPECT_EQ(lines(m),
            (Names{"Relu(x)->f/t_1", "Abs(f/t_1)->y", "Relu(f/t)->f_1/t", "Abs(f_1/t)->z"}));
}

TEST(Inline, NestedCalls) {
  const Model m = inlined(with_functions(
      graph({"x"}, {named("c", call("outer", {"x"}, {"y"}))}, {"y"}),
      {function("outer", {"a"}, {"b"},
                {named("i", call("inner", {"a"}, {"t"})), node("Abs", {"t"}, {"b"})}),
       function("inner", {"p"}, {"q"}, {node("Relu", {"p"}, {"s"}), node("Neg", {"s"}, {"q"})})}));
  EXPECT_EQ(lines(m), (Names{"Relu(x)->c/i/s", "Neg(c/i/s)->c/t", "Abs(c/t)->y"}));
}

TEST(Inline, AbsentInputsAndOutputs) {
  const Model m = inlined(with_functions(
      graph({"x"}, {call("f", {"x"}, {"", "y"}), call("f", {"x", "", "x"}, {"u"})}, {"y", "u"}),
      {function("f", {"a", "low", "high"}, {"p", "q"},
                {node("Clip", {"a", "low", "high"}, {"p"}), node("Abs", {"p"}, {"q"})})}));
  EXPECT_EQ(lines(m), (Names{"Clip(x,,)->f/p", "Abs(f/p)->y", "Clip(x,,x)->u", "Abs(u)->f_1/q"}));
}

TEST(Inline, InputAsOutput) {
  const Model m = inlined(with_functions(graph({"x"}, {call("f", {"x"}, {"y"})}, {"y"}),
                                         {function("f", {"a"}, {"a"}, {})}));
  EXPECT_EQ(lines(m), (Names{"Identity(x)->y"}));
  expect_error(ErrorCode::invalid_model, "returns an optional input that the call leaves out", [] {
    inlined(with_functions(graph({}, {call("f", {}, {"y"})}, {"y"}),
                           {function("f", {"a"}, {"a"}, {})}));
  });
}

TEST(Inline, Attributes) {
  Function f = function("f", {"a"}, {"b"},
                        {node("Op", {"a"}, {"b"},
                              {reference("given", "p"), reference("defaulted", "q"),
                               reference("dropped", "r"), attribute("own", int64_t{4})})});
  f.attributes = {"p", "r"};
  f.attribute_defaults = {attribute("q", 2.0f)};
  const Model m = inlined(with_functions(
      graph({"x"}, {call("f", {"x"}, {"y"}, {attribute("p", int64_t{1})})}, {"y"}), {f}));
  const Node& op = m.graph.nodes[0];
  EXPECT_EQ(std::get<int64_t>(op.find("given")->value), 1);
  EXPECT_EQ(std::get<float>(op.find("defaulted")->value), 2.0f);
  EXPECT_EQ(op.find("dropped"), nullptr);
  EXPECT_EQ(std::get<int64_t>(op.find("own")->value), 4);
}

TEST(Inline, AttributesThroughTwoCalls) {
  Function inner =
      function("inner", {"a"}, {"b"}, {node("Op", {"a"}, {"b"}, {reference("axis", "i")})});
  inner.attributes = {"i"};
  Function outer =
      function("outer", {"a"}, {"b"}, {call("inner", {"a"}, {"b"}, {reference("i", "o")})});
  outer.attributes = {"o"};
  const Model m = inlined(with_functions(
      graph({"x"}, {call("outer", {"x"}, {"y"}, {attribute("o", int64_t{7})})}, {"y"}),
      {outer, inner}));
  EXPECT_EQ(std::get<int64_t>(m.graph.nodes[0].find("axis")->value), 7);
}

TEST(Inline, SubgraphsOfTheBody) {
  const Graph branch = graph({}, {node("Relu", {"t"}, {"r"}), call("g", {"r"}, {"s"})}, {"s"});
  const Model m = inlined(with_functions(
      graph({"x"}, {named("c", call("f", {"x"}, {"y"}))}, {"y"}),
      {function("f", {"a"}, {"b"},
                {node("Neg", {"a"}, {"t"}),
                 node("If", {"a"}, {"b"},
                      {subgraph("then_branch", branch), subgraph("else_branch", branch)})}),
       function("g", {"p"}, {"q"}, {node("Abs", {"p"}, {"q"})})}));
  const Node& branching = m.graph.nodes[1];
  EXPECT_EQ(lines(graph_of(branching.attributes[0]).nodes),
            (Names{"Relu(c/t)->c/r", "Abs(c/r)->c/s"}));
  EXPECT_EQ(graph_of(branching.attributes[0]).outputs[0].name, "c/s");
  EXPECT_EQ(lines(graph_of(branching.attributes[1]).nodes),
            (Names{"Relu(c/t)->c/r_1", "Abs(c/r_1)->c/s_1"}));
}

TEST(Inline, CallsInSubgraphsOfTheModel) {
  const Graph branch = graph({}, {call("f", {"x"}, {"r"})}, {"r"});
  const Model m = inlined(with_functions(
      graph({"x"}, {node("If", {"x"}, {"y"}, {subgraph("then_branch", branch)})}, {"y"}),
      {function("f", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})})}));
  EXPECT_EQ(lines(graph_of(m.graph.nodes[0].attributes[0]).nodes), (Names{"Relu(x)->r"}));
}

TEST(Inline, GraphOfTheCallerKeepsItsNames) {
  Function f = function(
      "f", {"x"}, {"b"},
      {node("Neg", {"x"}, {"t"}), node("If", {"x"}, {"b"}, {reference("then_branch", "body")})});
  f.attributes = {"body"};
  const Graph body = graph({}, {node("Relu", {"t"}, {"r"})}, {"r"});
  const Model m = inlined(with_functions(
      graph({"x", "t"}, {call("f", {"x"}, {"y"}, {subgraph("body", body)})}, {"y"}), {f}));
  EXPECT_EQ(lines(graph_of(m.graph.nodes[1].attributes[0]).nodes), (Names{"Relu(t)->r"}));
}

TEST(Inline, OpsetVersions) {
  Function old = function("old", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})});
  old.opset_import = {{"", 13}};
  Function custom = function("custom", {"a"}, {"b"}, {node("Op", {"a"}, {"b"}, {}, "com.x")});
  custom.opset_import = {{"com.x", 3}};
  const Model m = inlined(with_functions(
      graph({"x"},
            {call("old", {"x"}, {"y"}), call("custom", {"y"}, {"z"}), node("Abs", {"z"}, {"w"})},
            {"w"}),
      {old, custom}));
  EXPECT_EQ(m.graph.nodes[0].opset_version, 13);
  EXPECT_EQ(m.opset_of(m.graph.nodes[0]), 13);
  EXPECT_EQ(m.opset_of(m.graph.nodes[1]), 3);
  EXPECT_EQ(m.opset_of(m.graph.nodes[2]), 21);
}

TEST(Inline, OverloadsAreDistinct) {
  Function one = function("f", {"a"}, {"b"}, {node("One", {"a"}, {"b"})});
  Function two = function("f", {"a"}, {"b"}, {node("Two", {"a"}, {"b"})});
  two.overload = "v2";
  Node second = call("f", {"y"}, {"z"});
  second.overload = "v2";
  const Model m =
      inlined(with_functions(graph({"x"}, {call("f", {"x"}, {"y"}), second}, {"z"}), {one, two}));
  EXPECT_EQ(lines(m), (Names{"One(x)->y", "Two(y)->z"}));
}

TEST(Inline, Circles) {
  const Graph main = graph({"x"}, {call("f", {"x"}, {"y"})}, {"y"});
  const auto f = function("f", {"a"}, {"b"}, {call("g", {"a"}, {"b"})});
  const auto g = function("g", {"a"}, {"b"}, {call("f", {"a"}, {"b"})});
  expect_error(ErrorCode::invalid_model,
               "model.onnx: functions call each other in a circle: 'f' calls 'g' calls 'f'", [&] {
                 inlined(with_functions(main, {f, g}));
               });
  const auto self = function("f", {"a"}, {"b"}, {call("f", {"a"}, {"b"})});
  expect_error(ErrorCode::invalid_model, "'f' calls 'f'; a model must not recurse",
               [&] { inlined(with_functions(main, {self})); });
  const auto hidden =
      function("f", {"a"}, {"b"},
               {node("If", {"a"}, {"b"},
                     {subgraph("then_branch", graph({}, {call("f", {"a"}, {"r"})}, {"r"}))})});
  expect_error(ErrorCode::invalid_model, "'f' calls 'f'",
               [&] { inlined(with_functions(main, {hidden})); });
}

// Function i calls function i + 1 `width` times in a row.
Model tower(int height, int width) {
  std::vector<Function> functions;
  for (int level = 0; level < height; ++level) {
    std::vector<Node> nodes;
    std::string value = "a";
    for (int i = 0; i < width; ++i) {
      const std::string next = i + 1 == width ? "b" : "t" + std::to_string(i);
      nodes.push_back(level + 1 == height ? node("Relu", {value}, {next})
                                          : call("f" + std::to_string(level + 1), {value}, {next}));
      value = next;
    }
    functions.push_back(function("f" + std::to_string(level), {"a"}, {"b"}, std::move(nodes)));
  }
  return with_functions(graph({"x"}, {call("f0", {"x"}, {"y"})}, {"y"}), std::move(functions));
}

TEST(Inline, ExponentialGrowthIsLimited) {
  Model m = recode(tower(40, 2));
  expect_error(ErrorCode::unsupported, "gives more than 5000 nodes",
               [&] { inline_functions(m, {.nodes = 5000}); });
  EXPECT_EQ(m.functions.size(), 40u);  // unchanged
  expect_error(ErrorCode::unsupported, "copies more than 100000 bytes",
               [&] { inline_functions(m, {.bytes = 100000}); });
}

TEST(Inline, DepthIsLimited) {
  EXPECT_EQ(inlined(tower(100, 1)).graph.nodes.size(), 1u);
  expect_error(ErrorCode::unsupported, "more than 128 levels deep",
               [] { inlined(tower(100000, 1)); });
}

TEST(Inline, CallWithTooManyInputs) {
  expect_error(
      ErrorCode::invalid_model, "node 'c' (f): the call has 2 inputs where the function declares 1",
      [] {
        inlined(with_functions(graph({"x"}, {named("c", call("f", {"x", "x"}, {"y"}))}, {"y"}),
                               {function("f", {"a"}, {"b"}, {node("Relu", {"a"}, {"b"})})}));
      });
}

TEST(CheckFunction, Defects) {
  const auto expect = [](Function f, const std::string& text) {
    expect_invalid(with_functions(graph({}, {}, {}), {std::move(f)}), text);
  };
  expect(function("", {}, {}, {}), "function 0: the function has no name");
  expect(function("f", {"a", "a"}, {}, {}), "function 'f': input 'a' has a name that is taken");
  expect(function("f", {}, {"b"}, {}), "function 'f': output 'b' is produced by no node");
  expect(function("f", {}, {}, {node("Relu", {"q"}, {"r"})}), "input 'q' is produced by no node");
  expect(function("f", {"x"}, {}, {node("Op", {}, {}, {reference("k", "m")})}),
         "ref_attr_name 'm' is no attribute that the function declares");
  expect(function("f", {}, {}, {node("Op", {}, {}, {}, "com.x")}), "'com.x' is not imported");
  expect_invalid(
      with_functions(graph({}, {}, {}), {function("f", {}, {}, {}), function("f", {}, {}, {})}),
      "two functions of this name");
}

}  // namespace
}  // namespace onrush::onnx
