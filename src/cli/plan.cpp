// onrush plan: what the stages of the compiler make of a model, as text.

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "base/check.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/placeholders.h"
#include "cli/print_model.h"
#include "cli/text.h"
#include "codegen/emit.h"
#include "fuse/fuse.h"
#include "lower/lower.h"
#include "onnx/decode.h"
#include "optimize/pipeline.h"
#include "runtime/session_impl.h"

namespace onrush::cli {
namespace {

// --- the model

onnx::Model load_model(const PlanCommand& command) {
  onnx::LoadOptions options;
  options.verify_checksums = false;
  options.allow_missing_external_data = !command.execute;
  onnx::Model model = onnx::load(command.model, options);
  if (command.stage == "model") return model;
  if (const uint64_t bytes = fill_missing_weights(model))
    fmt::print(stderr, "onrush: {}: {} of weights are not there; planned with placeholders\n",
               command.model, human_bytes(bytes));
  return model;
}

void print_model(const Session::Impl& session) {
  fmt::print("model {}\n", session.model().path);
  for (const Argument& input : session.inputs()) fmt::print("input {}\n", argument_text(input));
  for (const Argument& output : session.outputs()) fmt::print("output {}\n", argument_text(output));
  fmt::print("\n{}", body_text(session.model().graph));
}

// --- one segment

std::string symbol_text(const Symbol& symbol, size_t index, const Graph& graph) {
  const std::string& input = graph.inputs[static_cast<size_t>(symbol.source.input)].name;
  const bool extent = symbol.source.kind == SymbolSource::Kind::extent;
  return fmt::format("size s{} is {}, {} {} of input {}, here {}", index, symbol.name,
                     extent ? "extent" : "element", symbol.source.index, input, symbol.value);
}

// Which nodes of the graph the buffers of a kernel are: "b0=%3 b1=%7".
std::string buffer_text(const Loops& loops) {
  std::vector<std::string> buffers;
  for (size_t i = 0; i < loops.buffers.size(); ++i)
    buffers.push_back(fmt::format("b{}=%{}", i, loops.buffers[i].node.index));
  return fmt::format("{}", fmt::join(buffers, " "));
}

std::string kernel_text(const Schedule& schedule, const Group& group) {
  if (group.kind == Group::Kind::host) return "evaluated by itself\n";
  if (group.kind == Group::Kind::contraction) {
    const Contraction contraction = emit_contraction(schedule, group);
    return fmt::format("lhs {}, rhs {}, epilogue {}\n{}", buffer_text(contraction.lhs),
                       buffer_text(contraction.rhs), buffer_text(contraction.epilogue),
                       to_string(contraction));
  }
  std::string text;
  for (const Loops& loops : emit_loops(schedule, group))
    text += fmt::format("{}\n{}", buffer_text(loops), to_string(loops));
  return text;
}

std::string step_text(const Schedule& schedule, size_t index) {
  const Group& group = schedule.groups[index];
  const Graph& graph = schedule.graph;
  Origins origins;
  std::vector<std::string> outputs, names;
  for (NodeId member : group.members) merge(origins, graph[member].origins);
  for (NodeId output : group.outputs)
    outputs.push_back(fmt::format("%{} : {}", output.index, to_string(graph[output].type)));
  for (uint32_t origin : origins) names.push_back((*graph.origin_names)[origin]);
  return fmt::format("{} {} -> {}  # {}\n{}\n", group.time == Time::prepare ? "prepare" : "step",
                     index, fmt::join(outputs, ", "), fmt::join(names, ", "),
                     kernel_text(schedule, group));
}

void print_plan(const Schedule& schedule) {
  const ShapeContext& shapes = *schedule.graph.shapes;
  for (size_t i = 0; i < shapes.symbols().size(); ++i)
    fmt::print("{}\n", symbol_text(shapes.symbols()[i], i, schedule.graph));
  for (const Guard& guard : shapes.guards()) fmt::print("guard {}\n", to_string(guard));
  fmt::print("\n");
  for (size_t i = 0; i < schedule.groups.size(); ++i) fmt::print("{}", step_text(schedule, i));
}

void print_segment(Graph graph, int number, const PlanCommand& command) {
  fmt::print("segment {}\n", number);
  if (command.stage == "graph") return fmt::print("{}\n", to_string(graph));
  if (command.stage == "kernels")
    return fmt::print("{}", cuda_kernels_text(std::move(graph), {.optimize = command.optimize,
                                                                 .precision = command.precision}));
  if (command.optimize) graph = optimize(std::move(graph));
  if (command.stage == "optimized") return fmt::print("{}\n", to_string(graph));
  const Schedule schedule = fuse(std::move(graph));
  if (command.stage == "schedule") return fmt::print("{}\n", to_string(schedule));
  print_plan(schedule);
}

// --- all segments

Environment constants_of(const onnx::Model& model) {
  Environment constants;
  for (const onnx::Initializer& initializer : model.graph.initializers)
    constants.set_constant(initializer.name, initializer.tensor);
  return constants;
}

Environment environment_of(const Session::Impl& session, const NamedValues& values,
                           const Environment& constants) {
  Environment environment(&constants);
  for (const Argument& input : session.inputs()) environment.set(input.name, Optional{});
  for (const auto& [name, value] : values) environment.set(name, value);
  return environment;
}

void plan_first_segment(const Session::Impl& session, const Environment& environment,
                        const PlanCommand& command) {
  const onnx::Model& model = session.model();
  SegmentRequest request{&model, {}, {}};
  for (const onnx::Node& node : model.graph.nodes)
    request.nodes.push_back(NodePtr(NodePtr(), &node));  // owned by the model
  for (const onnx::ValueInfo& output : model.graph.outputs) request.wanted.push_back(output.name);
  LoweredSegment segment = lower(request, environment);
  print_segment(std::move(segment.graph), 1, command);
  if (!segment.rest.empty())
    fmt::print("{} nodes wait for values that only a run gives, from {} on; --run plans them too\n",
               segment.rest.size(), describe(model, *segment.rest.front()));
}

// Prints what it is given to compile.
class PrintingBackend final : public Backend {
 public:
  explicit PrintingBackend(const PlanCommand& command)
      : command_(command), backend_(make_cpu_backend({.optimize = command.optimize})) {}

  std::shared_ptr<const Executable> compile(Graph graph) override {
    print_segment(graph, ++segments_, command_);
    return backend_->compile(std::move(graph));
  }

 private:
  const PlanCommand& command_;
  std::unique_ptr<Backend> backend_;
  int segments_ = 0;
};

void plan_all_segments(const Session::Impl& session, Environment& environment,
                       const PlanCommand& command) {
  PrintingBackend backend(command);
  ScopeShared shared;
  shared.model = &session.model();
  shared.backend = &backend;
  RunState state;
  Scope(shared, session.model().graph).run(state, environment, {});
}

}  // namespace

void plan(const PlanCommand& command) {
  const InputChoices choices = parse(command.inputs);
  SessionOptions options;
  options.threads = 1;
  // A session answers what the inputs are; it compiles nothing before its first run.
  const Session::Impl session(load_model(command), options);
  if (command.stage == "model") return print_model(session);
  const Inputs inputs = make_inputs(session.inputs(), choices);
  const Environment constants = constants_of(session.model());
  Environment environment = environment_of(session, inputs.values, constants);
  try {
    if (command.execute) plan_all_segments(session, environment, command);
    else plan_first_segment(session, environment, command);
  } catch (const Error& error) {
    throw explain(error, inputs);
  }
}

}  // namespace onrush::cli
