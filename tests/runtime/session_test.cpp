// Sessions as a caller sees them, on the CPU and on the reference backend.
#include <atomic>
#include <gtest/gtest.h>
#include <numeric>
#include <thread>

#include "../onnx/builders.h"
#include "runtime/session_impl.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

ValueInfo info(std::string name, DType dtype, std::vector<Dimension> shape) {
  ValueInfo result = value_info(std::move(name));
  result.type.element = dtype;
  result.type.shape = std::move(shape);
  return result;
}
Dimension any(std::string name) { return {std::nullopt, std::move(name)}; }
Dimension fixed(int64_t value) { return {value, {}}; }

Graph typed_graph(std::vector<ValueInfo> inputs, std::vector<Node> nodes, Names outputs) {
  Graph result = graph({}, std::move(nodes), std::move(outputs));
  result.inputs = std::move(inputs);
  return result;
}

Session session(const Graph& graph, SessionOptions options = {}) {
  if (options.threads == 0) options.threads = 2;
  const std::string bytes = encode(model(graph));
  return Session::load(bytes_of(bytes), options);
}

Tensor floats(Shape shape, std::vector<float> values) {
  return Tensor::of<float>(DType::f32, std::move(shape), values);
}
Tensor ints(Shape shape, std::vector<int64_t> values) {
  return Tensor::of<int64_t>(DType::i64, std::move(shape), values);
}
std::vector<float> to_floats(const Value& value) {
  const auto span = value.tensor().as<float>();
  return {span.begin(), span.end()};
}
std::vector<int64_t> to_ints(const Value& value) {
  const auto span = value.tensor().as<int64_t>();
  return {span.begin(), span.end()};
}

class Sessions : public testing::TestWithParam<std::string> {
 protected:
  SessionOptions options() const {
    SessionOptions result;
    result.device = GetParam();
    return result;
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, Sessions, testing::Values("cpu", "reference"));

TEST_P(Sessions, TellWhereTheTimeOfARunGoes) {
  const Session s = session(typed_graph({info("x", DType::f32, {any("n"), fixed(2)})},
                                        {named("first", node("MatMul", {"x", "x"}, {"t"})),
                                         named("second", node("Softmax", {"t"}, {"y"}))},
                                        {"y"}),
                            options());
  const Tensor x = floats({2, 2}, {1, 2, 3, 4});
  for (const bool first : {true, false}) {
    RunProfile profile;
    RunOptions run_options;
    run_options.profile = &profile;
    s.run({{"x", x}}, {}, run_options);
    ASSERT_FALSE(profile.events.empty());
    EXPECT_EQ(profile.events[0].step->kind == "compile", first);
    const auto is_bind = [](const ProfileEvent& event) { return event.step->kind == "bind"; };
    EXPECT_EQ(std::ranges::count_if(profile.events, is_bind), first ? 1 : 0);
    std::vector<std::string> nodes;
    int64_t end = profile.start_ns;
    for (const ProfileEvent& event : profile.events) {
      EXPECT_GE(event.start_ns, end);
      end = event.start_ns + event.duration_ns;
      nodes.insert(nodes.end(), event.step->nodes.begin(), event.step->nodes.end());
    }
    EXPECT_LE(end, profile.start_ns + profile.duration_ns);
    EXPECT_NE(std::find(nodes.begin(), nodes.end(), "first"), nodes.end());
    EXPECT_NE(std::find(nodes.begin(), nodes.end(), "second"), nodes.end());
  }
}

TEST_P(Sessions, ServeSeveralShapesFromOnePlan) {
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n"), fixed(2)})},
                          {node("Add", {"x", "x"}, {"d"}), node("Relu", {"d"}, {"y"})}, {"y"}),
              options());
  EXPECT_EQ(to_floats(s.run({{"x", floats({1, 2}, {1, -1})}})[0]), (std::vector<float>{2, 0}));
  EXPECT_EQ(to_floats(s.run({{"x", floats({2, 2}, {1, 2, -3, 4})}})[0]),
            (std::vector<float>{2, 4, 0, 8}));
  EXPECT_EQ(s.run({{"x", floats({0, 2}, {})}})[0].tensor().shape(), (Shape{0, 2}));
  EXPECT_LE(s.impl().main_scope().plans().size(), 2u);
}

// Exporters compute sizes in floats: to half the height, and to the next multiple of 8.
TEST_P(Sessions, ServeSizesComputedInFloatsFromOnePlan) {
  Graph g = typed_graph(
      {info("x", DType::f32, {any("h")})},
      {node("Shape", {"x"}, {"size"}), node("Cast", {"size"}, {"f"}, {attribute("to", int64_t{1})}),
       node("Mul", {"f", "half"}, {"h1"}), node("Floor", {"h1"}, {"h2"}),
       node("Cast", {"h2"}, {"low"}, {attribute("to", int64_t{7})}),
       node("Slice", {"x", "zero", "low"}, {"first"}), node("Div", {"f", "eight"}, {"e1"}),
       node("Ceil", {"e1"}, {"e2"}), node("Mul", {"e2", "eight"}, {"e3"}),
       node("Cast", {"e3"}, {"whole"}, {attribute("to", int64_t{7})}),
       node("Sub", {"whole", "size"}, {"more"}),
       node("Concat", {"zero", "more"}, {"pads"}, {attribute("axis", int64_t{0})}),
       node("Pad", {"x", "pads"}, {"padded"})},
      {"first", "padded"});
  g.initializers = {
      {"half", floats({1}, {0.5f})}, {"eight", floats({}, {8})}, {"zero", ints({1}, {0})}};
  const Session s = session(g, options());
  for (int64_t size : {5, 7, 8, 16, 33}) {
    const auto out = s.run({{"x", floats({size}, std::vector<float>(size, 1))}});
    EXPECT_EQ(out[0].tensor().shape(), Shape{size / 2});
    EXPECT_EQ(out[1].tensor().shape(), Shape{(size + 7) / 8 * 8});
  }
  EXPECT_EQ(s.impl().main_scope().plans().size(), 1u);
}

// Keys that grow by one row a step, from none on; a step reads all of them.
TEST_P(Sessions, DecodeWithAGrowingCacheFromOnePlan) {
  const Session s = session(
      typed_graph(
          {info("past", DType::f32, {fixed(1), any("past"), fixed(2)}),
           info("x", DType::f32, {fixed(1), any("new"), fixed(2)})},
          {node("Concat", {"past", "x"}, {"keys"}, {attribute("axis", int64_t{1})}),
           node("Transpose", {"keys"}, {"t"}, {attribute("perm", std::vector<int64_t>{0, 2, 1})}),
           node("MatMul", {"x", "t"}, {"scores"}), node("Softmax", {"scores"}, {"p"}),
           node("MatMul", {"p", "keys"}, {"y"})},
          {"y", "keys"}),
      options());
  Tensor keys(DType::f32, {1, 0, 2});
  for (int64_t step = 1; step <= 64; ++step) {
    const auto out = s.run({{"past", keys}, {"x", floats({1, 1, 2}, {1, -1})}});
    EXPECT_EQ(out[0].tensor().shape(), (Shape{1, 1, 2}));
    EXPECT_NEAR(to_floats(out[0])[0], 1, 1e-6);
    keys = out[1].tensor();
    ASSERT_EQ(keys.shape(), (Shape{1, step, 2}));
  }
  EXPECT_LE(s.impl().main_scope().plans().size(), 2u);
}

TEST_P(Sessions, FollowAConditionThatDataDecides) {
  const Graph then_branch = graph({}, {node("Neg", {"x"}, {"t"})}, {"t"});
  const Graph else_branch = graph({}, {node("Identity", {"x"}, {"e"})}, {"e"});
  const Session s = session(
      typed_graph(
          {info("x", DType::f32, {any("n")})},
          {node("ReduceSum", {"x"}, {"sum"}, {attribute("keepdims", int64_t{0})}),
           node("Constant", {}, {"zero"}, {attribute("value", floats({}, {0}))}),
           node("Less", {"sum", "zero"}, {"negative"}),
           node("If", {"negative"}, {"y"},
                {subgraph("then_branch", then_branch), subgraph("else_branch", else_branch)})},
          {"y"}),
      options());
  EXPECT_EQ(to_floats(s.run({{"x", floats({2}, {1, -3})}})[0]), (std::vector<float>{-1, 3}));
  EXPECT_EQ(to_floats(s.run({{"x", floats({2}, {1, 3})}})[0]), (std::vector<float>{1, 3}));
}

// The carried value grows by one element in every iteration.
TEST_P(Sessions, LoopOverAGrowingValue) {
  const Graph body =
      typed_graph({info("i", DType::i64, {}), info("go", DType::boolean, {}),
                   info("so_far", DType::i64, {any("n")})},
                  {node("Constant", {}, {"axis"}, {attribute("value", ints({1}, {0}))}),
                   node("Unsqueeze", {"i", "axis"}, {"next"}),
                   node("Concat", {"so_far", "next"}, {"longer"}, {attribute("axis", int64_t{0})}),
                   node("Identity", {"go"}, {"go_on"}), node("Mul", {"i", "i"}, {"square"})},
                  {"go_on", "longer", "square"});
  const Session s = session(
      typed_graph(
          {info("trips", DType::i64, {}), info("start", DType::i64, {any("n")})},
          {node("Loop", {"trips", "", "start"}, {"all", "squares"}, {subgraph("body", body)})},
          {"all", "squares"}),
      options());
  const auto out = s.run({{"trips", ints({}, {4})}, {"start", ints({1}, {7})}});
  EXPECT_EQ(to_ints(out[0]), (std::vector<int64_t>{7, 0, 1, 2, 3}));
  EXPECT_EQ(to_ints(out[1]), (std::vector<int64_t>{0, 1, 4, 9}));

  RunOptions run;
  const Tensor mine(DType::i64, {4});
  run.outputs["squares"] = mine;
  const auto given = s.run({{"trips", ints({}, {4})}, {"start", ints({1}, {7})}}, {}, run);
  EXPECT_EQ(given[1].tensor().data(), mine.data());
  EXPECT_EQ(to_ints(mine), (std::vector<int64_t>{0, 1, 4, 9}));
  run.outputs["squares"] = Tensor(DType::i64, {3});
  EXPECT_THROW(s.run({{"trips", ints({}, {4})}, {"start", ints({1}, {7})}}, {}, run), Error);
}

TEST_P(Sessions, GoOnAfterASizeThatDataDecides) {
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n")})},
                          {node("NonZero", {"x"}, {"where"}), node("Shape", {"where"}, {"shape"}),
                           node("Add", {"where", "where"}, {"twice"})},
                          {"twice", "shape"}),
              options());
  auto out = s.run({{"x", floats({4}, {0, 1, 0, 2})}});
  EXPECT_EQ(to_ints(out[0]), (std::vector<int64_t>{2, 6}));
  EXPECT_EQ(to_ints(out[1]), (std::vector<int64_t>{1, 2}));
  out = s.run({{"x", floats({4}, {5, 1, 0, 2})}});
  EXPECT_EQ(to_ints(out[0]), (std::vector<int64_t>{0, 2, 6}));
}

TEST_P(Sessions, ReshapeToAnInputsValues) {
  const Session s = session(
      typed_graph({info("x", DType::f32, {any("n")}), info("shape", DType::i64, {fixed(2)})},
                  {node("Reshape", {"x", "shape"}, {"y"})}, {"y"}),
      options());
  const Tensor x = floats({6}, {0, 1, 2, 3, 4, 5});
  EXPECT_EQ(s.run({{"x", x}, {"shape", ints({2}, {2, 3})}})[0].tensor().shape(), (Shape{2, 3}));
  EXPECT_EQ(s.run({{"x", x}, {"shape", ints({2}, {3, -1})}})[0].tensor().shape(), (Shape{3, 2}));
  EXPECT_EQ(s.run({{"x", x}, {"shape", ints({2}, {6, 1})}})[0].tensor().shape(), (Shape{6, 1}));
}

TEST_P(Sessions, BuildSequences) {
  const Session s = session(
      typed_graph({info("x", DType::f32, {any("n")})},
                  {node("SequenceConstruct", {"x", "x"}, {"pair"}),
                   node("ConcatFromSequence", {"pair"}, {"y"}, {attribute("axis", int64_t{0})})},
                  {"y"}),
      options());
  EXPECT_EQ(to_floats(s.run({{"x", floats({2}, {1, 2})}})[0]), (std::vector<float>{1, 2, 1, 2}));
}

TEST_P(Sessions, WriteIntoTheCallersMemory) {
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n")})}, {node("Neg", {"x"}, {"y"})}, {"y"}),
              options());
  const Tensor mine = floats({2}, {0, 0});
  RunOptions run;
  run.outputs["y"] = mine;
  const auto out = s.run({{"x", floats({2}, {1, 2})}}, {}, run);
  EXPECT_EQ(out[0].tensor().data(), mine.data());
  EXPECT_EQ(to_floats(mine), (std::vector<float>{-1, -2}));
}

TEST_P(Sessions, StopWhenCancelled) {
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n")})}, {node("Neg", {"x"}, {"y"})}, {"y"}),
              options());
  const std::atomic<bool> cancel = true;
  RunOptions run;
  run.cancel = &cancel;
  expect_error(ErrorCode::cancelled, "cancelled", [&] {
    s.run({{"x", floats({1}, {1})}}, {}, run);
  });
}

TEST_P(Sessions, RunFromSeveralThreads) {
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n")})},
                          {node("Exp", {"x"}, {"e"}),
                           node("Softmax", {"e"}, {"y"}, {attribute("axis", int64_t{0})})},
                          {"y"}),
              options());
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 1; i < 40; ++i) {
        const int64_t n = (t * 7 + i) % 30 + 1;
        const auto y = to_floats(
            s.run({{"x", floats({n}, std::vector<float>(static_cast<size_t>(n), 0.5f))}})[0]);
        const float sum = std::accumulate(y.begin(), y.end(), 0.0f);
        if (std::abs(sum - 1) > 1e-4f) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

// --- errors

Graph one_input() {
  return typed_graph({info("x", DType::f32, {any("n"), fixed(2)})}, {node("Neg", {"x"}, {"y"})},
                     {"y"});
}

TEST(SessionErrors, NameTheInput) {
  const Session s = session(one_input());
  const auto invalid = [&](const std::string& text, const NamedValues& inputs) {
    expect_error(ErrorCode::invalid_argument, text, [&] { s.run(inputs); });
  };
  invalid("no input 'z'; it has 'x'", {{"z", floats({1, 2}, {1, 2})}});
  invalid("input 'x' of type tensor(float) is missing", {});
  invalid("must have shape [n,2], not [2]", {{"x", floats({2}, {1, 2})}});
  invalid("must have shape [n,2], not [1,3]", {{"x", floats({1, 3}, {1, 2, 3})}});
  invalid("must have element type float, not int64", {{"x", ints({1, 2}, {1, 2})}});
  const std::vector<std::string> unknown = {"w"};
  expect_error(ErrorCode::invalid_argument, "no output 'w'; it has 'y'", [&] {
    s.run({{"x", floats({1, 2}, {1, 2})}}, unknown);
  });
}

TEST(SessionErrors, NameTheNode) {
  const Graph graph = typed_graph({info("x", DType::f32, {any("n")})},
                                  {named("odd", node("Frobnicate", {"x"}, {"y"}))}, {"y"});
  expect_error(ErrorCode::invalid_model, "node 'odd' (Frobnicate)", [&] { session(graph); });
}

// Before anything is run, whether the node is in the graph or in a body.
TEST(SessionErrors, SayWhatANodeMayNotBe) {
  const auto refused = [&](const std::string& text, Node bad) {
    Graph g = typed_graph({info("x", DType::f32, {any("n")}), info("i", DType::i64, {any("n")}),
                           info("c", DType::boolean, {})},
                          {}, {"y"});
    bad.name = "bad";
    Graph body = graph({}, {bad}, {"y"});
    g.nodes = {bad};
    const std::string expected = "node 'bad' (" + bad.op_type + "): " + text;
    expect_error(ErrorCode::invalid_model, expected, [&] { session(g); });
    g.nodes = {
        node("If", {"c"}, {"y"}, {subgraph("then_branch", body), subgraph("else_branch", body)})};
    expect_error(ErrorCode::invalid_model, expected, [&] { session(g); });
  };
  const auto axis = attribute("axis", int64_t{0});
  refused("it has 3 inputs, and Add of opset 21 has at most 2: A, B",
          node("Add", {"x", "x", "x"}, {"y"}));
  refused("it has 1 inputs, and Add of opset 21 has at least 2: A, B", node("Add", {"x"}, {"y"}));
  refused("input 0 (A) is missing", node("Add", {"", "x"}, {"y"}));
  refused("input 1 is missing, and Concat of opset 21 allows no gaps among 'inputs'",
          node("Concat", {"x", ""}, {"y"}, {axis}));
  refused("it has 2 outputs, and Add of opset 21 has at most 1: C",
          node("Add", {"x", "x"}, {"y", "z"}));
  refused("Add of opset 21 has no attribute 'axis'", node("Add", {"x", "x"}, {"y"}, {axis}));
  refused("attribute 'axis' is missing", node("Concat", {"x", "x"}, {"y"}));
  refused("attribute 'axis' is of type float, and must be of type int",
          node("Concat", {"x", "x"}, {"y"}, {attribute("axis", 0.f)}));
  refused("inputs 'x' and 'i' must have one type, and are tensor(float) and tensor(int64)",
          node("Add", {"x", "i"}, {"y"}));
  refused("input 'i' (X) is tensor(int64), and LeakyRelu of opset 21 takes",
          node("LeakyRelu", {"i"}, {"y"}));
  refused("operator 'Scatter' is no longer in opset 21", node("Scatter", {"x", "i", "x"}, {"y"}));
  refused("opset 21 has no operator 'Swish', which came with opset 24",
          node("Swish", {"x"}, {"y"}));
}

TEST(SessionErrors, SayWhatBodiesAndDeclarationsDisagreeOn) {
  Graph g = typed_graph({info("x", DType::f32, {any("n")})}, {node("Shape", {"x"}, {"y"})}, {"y"});
  g.outputs = {info("y", DType::f32, {any("n")})};
  expect_error(ErrorCode::invalid_model,
               "output 'y' is tensor(int64), and the model declares it as tensor(float)",
               [&] { session(g); });
  Graph body = typed_graph({info("i", DType::i64, {}), info("go", DType::boolean, {}),
                            info("state", DType::f64, {any("n")})},
                           {node("Identity", {"go"}, {"on"}), node("Neg", {"state"}, {"next"})},
                           {"on", "next"});
  body.outputs = {info("on", DType::boolean, {}), info("next", DType::undefined, {})};
  const auto loop = [&](Names inputs, Names outputs) {
    g.nodes = {node("Loop", std::move(inputs), std::move(outputs), {subgraph("body", body)})};
    return [&] { session(g); };
  };
  expect_error(ErrorCode::invalid_model, "its body has 3 inputs, and the node gives it 2",
               loop({"", ""}, {"y"}));
  expect_error(ErrorCode::invalid_model,
               "input 'state' of its body is tensor(double), and the node gives it tensor(float)",
               loop({"", "", "x"}, {"y"}));
  body.inputs[2] = info("state", DType::f32, {any("n")});
  expect_error(ErrorCode::invalid_model, "it has 2 outputs, and its body 'body' gives 1",
               loop({"", "", "x"}, {"y", "z"}));
}

TEST(SessionErrors, ReportAnIndexOutOfRangeAndGoOn) {
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n")}), info("i", DType::i64, {any("k")})},
                          {node("Gather", {"x", "i"}, {"y"})}, {"y"}));
  const Tensor x = floats({3}, {1, 2, 3});
  expect_error(ErrorCode::invalid_argument, "index", [&] {
    s.run({{"x", x}, {"i", ints({100}, std::vector<int64_t>(100, 7))}});
  });
  EXPECT_EQ(to_floats(s.run({{"x", x}, {"i", ints({1}, {2})}})[0]), (std::vector<float>{3}));
}

// Memory given for an output must fit it, whether a kernel writes it or it is an input or a weight.
TEST_P(Sessions, RefuseMemoryThatDoesNotFit) {
  Graph g = typed_graph({info("x", DType::f32, {any("n")})},
                        {node("Neg", {"x"}, {"kernel"}), node("Identity", {"x"}, {"input"}),
                         node("Identity", {"w"}, {"weight"}), node("NonZero", {"x"}, {"host"})},
                        {"kernel", "input", "weight", "host"});
  g.initializers = {{"w", floats({2}, {1, 2})}};
  const Session s = session(g, options());
  const Tensor x = floats({2}, {1, 1});
  for (const char* name : {"kernel", "input", "weight", "host"}) {
    RunOptions run;
    run.outputs[name] = Tensor(DType::f32, {3});
    expect_error(ErrorCode::invalid_argument, std::string("output '") + name + "'", [&] {
      s.run({{"x", x}}, {}, run);
    });
  }
  EXPECT_EQ(to_floats(s.run({{"x", x}})[0]), (std::vector<float>{-1, -1}));
}

TEST(SessionErrors, RespectTheMemoryLimit) {
  SessionOptions options;
  options.memory_limit = 1 << 16;
  const Session s =
      session(typed_graph({info("x", DType::f32, {any("n")})},
                          {node("CumSum", {"x", "zero"}, {"c"}),
                           node("Constant", {}, {"zero"}, {attribute("value", ints({}, {0}))}),
                           node("Exp", {"c"}, {"e"}), node("ReduceSum", {"e"}, {"s"}),
                           node("Div", {"e", "s"}, {"d"}), node("CumSum", {"d", "zero"}, {"y"})},
                          {"y"}),
              options);
  EXPECT_EQ(s.run({{"x", floats({2}, {0, 0})}})[0].tensor().count(), 2);
  const Tensor large(DType::f32, {1 << 20});
  std::fill(large.as<float>().begin(), large.as<float>().end(), 1e-6f);
  expect_error(ErrorCode::out_of_memory, "limit", [&] { s.run({{"x", large}}); });
  EXPECT_EQ(s.run({{"x", floats({2}, {0, 0})}})[0].tensor().count(), 2);
}

TEST(SessionErrors, UnknownDevice) {
  SessionOptions options;
  options.device = "tpu";
  expect_error(ErrorCode::invalid_argument, "unknown device 'tpu'",
               [&] { session(one_input(), options); });
}

TEST(SessionErrors, TuningIsForGpus) {
  SessionOptions options;
  options.tune = true;
  expect_error(ErrorCode::invalid_argument, "tuning is for GPUs",
               [&] { session(one_input(), options); });
}

}  // namespace
}  // namespace onrush::onnx
