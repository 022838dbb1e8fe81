#include "runtime/scope.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/numeric.h"
#include <onrush/device_memory.h>

namespace onrush {
namespace {

bool is_on_host(const Value& value) {
  if (value.is_tensor()) return value.tensor().device() == Device{};
  if (value.is_sequence()) return std::ranges::all_of(value.sequence().elements, is_on_host);
  if (value.is_optional()) return !value.optional().value || is_on_host(*value.optional().value);
  return is_on_host(value.map().keys) && std::ranges::all_of(value.map().values, is_on_host);
}

}  // namespace

Value on_host(const Value& value) {
  if (is_on_host(value)) return value;
  if (value.is_tensor()) return moved_to({}, value.tensor());
  if (value.is_optional())
    return Optional{std::make_shared<Value>(on_host(*value.optional().value))};
  const auto all = [](std::vector<Value> values) {
    for (Value& element : values) element = on_host(element);
    return values;
  };
  if (value.is_sequence()) return Sequence{all(value.sequence().elements)};
  return Map{moved_to({}, value.map().keys), all(value.map().values)};
}

Scope& ScopeShared::body(const onnx::Graph& graph) {
  const std::lock_guard lock(mutex);
  auto& scope = bodies[&graph];
  if (!scope) scope = std::make_unique<Scope>(*this, graph);
  return *scope;
}

// --- plans

namespace {

// A copy without nodes: what matching and running need of a graph once it is compiled.
Graph interface_of(const Graph& graph) {
  Graph copy;
  copy.inputs = graph.inputs;
  copy.shapes = graph.shapes;
  copy.origin_names = graph.origin_names;
  return copy;
}

std::vector<int64_t> symbol_values(const ShapeContext& shapes, std::span<const Tensor> inputs) {
  std::vector<int64_t> values;
  for (const Symbol& symbol : shapes.symbols()) {
    const Tensor& tensor = inputs[static_cast<size_t>(symbol.source.input)];
    const bool extent = symbol.source.kind == SymbolSource::Kind::extent;
    if (!extent && symbol.source.index >= tensor.count()) return {};
    values.push_back(extent ? tensor.shape()[static_cast<size_t>(symbol.source.index)]
                            : load_i64(tensor.dtype(), tensor.data(), symbol.source.index));
  }
  return values;
}

bool shapes_match(const Graph& graph, const SizeTable& sizes, std::span<const Tensor> inputs) {
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t axis = 0; axis < inputs[i].shape().size(); ++axis)
      if (sizes(graph.inputs[i].type.shape[axis]) != inputs[i].shape()[axis]) return false;
  return true;
}

// Extents of all inputs and the elements that became dims: equal keys have equal bindings.
void find_sizes(const ShapeContext& shapes, std::span<const Tensor> inputs,
                std::vector<int64_t>& key) {
  key.clear();
  for (const Tensor& input : inputs)
    key.insert(key.end(), input.shape().begin(), input.shape().end());
  for (const Symbol& symbol : shapes.symbols()) {
    if (symbol.source.kind != SymbolSource::Kind::element) continue;
    const Tensor& tensor = inputs[static_cast<size_t>(symbol.source.input)];
    if (symbol.source.index < tensor.count())
      key.push_back(load_i64(tensor.dtype(), tensor.data(), symbol.source.index));
  }
}

// Lets go of the bytes and keeps the memory of the shapes for the next run.
void release(std::span<Tensor> tensors) {
  static const Tensor nothing;
  for (Tensor& tensor : tensors) tensor = nothing;
}

}  // namespace

CompiledSegment::CompiledSegment(LoweredSegment segment, Backend& backend)
    : segment_(std::move(segment)), outputs_(segment_.graph.outputs.size()) {
  Graph interface = interface_of(segment_.graph);
  executable_ = backend.compile(std::move(segment_.graph));
  segment_.graph = std::move(interface);
  size_t found = 0;
  for (const auto& [name, signature] : segment_.signatures) {
    std::vector<size_t>& held = inputs_of_.emplace_back();
    for (size_t i = 0; i < segment_.inputs.size(); ++i)
      if (segment_.inputs[i].name == name) held.push_back(i);
    found += held.size();
  }
  internal_check(found == segment_.inputs.size(), "every input of a segment has a signature");
  find_inputs_read();
}

void CompiledSegment::find_inputs_read() {
  for (const ContentGuard& guard : segment_.contents)
    read_inputs_.push_back(static_cast<size_t>(guard.input));
  for (const Symbol& symbol : segment_.graph.shapes->symbols())
    if (symbol.source.kind == SymbolSource::Kind::element)
      read_inputs_.push_back(static_cast<size_t>(symbol.source.input));
}

// False if a value has another signature.
bool CompiledSegment::take_inputs(RunState& state, const Environment& environment) const {
  state.inputs.resize(segment_.inputs.size());
  for (size_t i = 0; i < segment_.signatures.size(); ++i) {
    const auto& [name, signature] = segment_.signatures[i];
    const Value* value = environment.find(name);
    if (!value || !has_signature(*value, signature)) return false;
    for (const size_t input : inputs_of_[i])
      state.inputs[input] = tensor_at(*value, segment_.inputs[input]);
  }
  return true;
}

bool CompiledSegment::contents_match(std::span<const Tensor> inputs) const {
  for (const ContentGuard& guard : segment_.contents) {
    const Tensor& input = inputs[static_cast<size_t>(guard.input)];
    if (input.shape() != guard.content.shape()) return false;
    const bool equal = input.dtype() == DType::string
                           ? std::equal(input.strings().begin(), input.strings().end(),
                                        guard.content.strings().begin())
                           : input.count() == 0 || std::memcmp(input.data(), guard.content.data(),
                                                               input.bytes()) == 0;
    if (!equal) return false;
  }
  return true;
}

std::shared_ptr<const Binding> CompiledSegment::known_binding(const std::vector<int64_t>& sizes) {
  if (!bindings_.empty() && bindings_.front().first == sizes) return bindings_.front().second;
  const auto found = by_sizes_.find(sizes);
  if (found == by_sizes_.end()) return nullptr;
  bindings_.splice(bindings_.begin(), bindings_, found->second);
  return bindings_.front().second;
}

std::shared_ptr<const Binding> CompiledSegment::bind(RunState& state, SizeTable sizes) const {
  static const auto profiled =
      std::make_shared<const ProfiledStep>(ProfiledStep{"bind", "bind", {}});
  const ProfileTimer timer(state, profiled);
  return executable_->bind(std::move(sizes));
}

std::shared_ptr<const Binding> CompiledSegment::match(RunState& state,
                                                      const Environment& environment,
                                                      size_t max_bindings) {
  if (!take_inputs(state, environment)) return nullptr;
  for (size_t i : read_inputs_) state.inputs[i] = moved_to({}, state.inputs[i]);
  const std::span<const Tensor> inputs = state.inputs;
  if (!contents_match(inputs)) return nullptr;
  const ShapeContext& shapes = *segment_.graph.shapes;
  find_sizes(shapes, inputs, state.sizes);
  if (auto binding = known_binding(state.sizes)) return binding;
  const std::vector<int64_t> symbols = symbol_values(shapes, inputs);
  if (symbols.size() != shapes.symbols().size()) return nullptr;
  SizeTable sizes = shapes.evaluate(symbols);
  if (!shapes_match(segment_.graph, sizes, inputs)) return nullptr;
  for (const Guard& guard : shapes.guards())
    if (!sizes.holds(guard)) return nullptr;
  bindings_.emplace_front(state.sizes, bind(state, std::move(sizes)));
  by_sizes_[state.sizes] = bindings_.begin();
  if (bindings_.size() > max_bindings) {
    by_sizes_.erase(bindings_.back().first);
    bindings_.pop_back();
  }
  return bindings_.front().second;
}

namespace {

Value assemble(const Skeleton& skeleton, std::span<const Tensor> outputs) {
  switch (skeleton.kind) {
    case Skeleton::Kind::tensor: return outputs[static_cast<size_t>(skeleton.output)];
    case Skeleton::Kind::sequence: {
      Sequence sequence;
      for (const Skeleton& child : skeleton.children)
        sequence.elements.push_back(assemble(child, outputs));
      return sequence;
    }
    case Skeleton::Kind::optional:
      return Optional{std::make_shared<Value>(assemble(skeleton.children[0], outputs))};
    case Skeleton::Kind::empty_optional:
    case Skeleton::Kind::absent: return Optional{};
  }
  internal_error("unknown skeleton");
}

}  // namespace

void CompiledSegment::run(const Binding& binding, RunState& state, Environment& environment,
                          const Presets& presets) const {
  state.outputs.resize(outputs_);
  for (const auto& [name, skeleton] : segment_.results) {
    if (presets.empty() || skeleton.kind != Skeleton::Kind::tensor) continue;
    if (const auto found = presets.find(name); found != presets.end())
      state.outputs[static_cast<size_t>(skeleton.output)] = found->second;
  }
  binding.run(state, state.inputs, state.outputs);
  for (const auto& [name, skeleton] : segment_.results)
    if (skeleton.kind == Skeleton::Kind::tensor)
      environment.set(name, state.outputs[static_cast<size_t>(skeleton.output)]);
    else environment.set(name, assemble(skeleton, state.outputs));
  release(state.inputs);
  release(state.outputs);
}

// --- scopes

struct Scope::Compiled {
  std::unique_ptr<CompiledSegment> plan;
  std::unique_ptr<Position> rest;
};

struct Scope::Position {
  std::vector<NodePtr> nodes;
  bool begins_with_loop;
  std::mutex mutex;
  // Either the first node is a loop that is run here, and `next` follows ...
  std::unique_ptr<Position> next;
  // ... or a segment starts here, and each of its plans has what follows.
  std::list<Compiled> plans;  // most recently used first
};

Scope::Scope(ScopeShared& shared, const onnx::Graph& graph) : shared_(shared), graph_(graph) {
  for (const auto& output : graph.outputs) outputs_.push_back(output.name);
  std::vector<NodePtr> nodes;
  for (const onnx::Node& node : graph.nodes)
    nodes.push_back(NodePtr(NodePtr(), &node));  // owned by the model, which outlives the scope
  start_ = position(std::move(nodes));
}

Scope::~Scope() = default;

std::unique_ptr<Scope::Position> Scope::position(std::vector<NodePtr> nodes) const {
  auto position = std::make_unique<Position>();
  position->begins_with_loop = !nodes.empty() && is_loop(*nodes[0]);
  position->nodes = std::move(nodes);
  return position;
}

LoweredSegment Scope::lower_at(const Position& position, const Environment& environment) const {
  const auto on_host = [](const Tensor& tensor) { return moved_to({}, tensor); };
  return lower({shared_.model, position.nodes, outputs_, on_host}, environment);
}

TensorType Scope::type_of(const Environment& environment, const std::string& output) const {
  const LoweredSegment segment = lower_at(*start_, environment);
  for (const auto& [name, skeleton] : segment.results)
    if (name == output && skeleton.kind == Skeleton::Kind::tensor)
      return segment.graph.type(segment.graph.outputs[static_cast<size_t>(skeleton.output)].node);
  fail(ErrorCode::unsupported, "the type of '{}' is neither declared nor known before it runs",
       output);
}

// Lowering names the file itself; so does this, for what fails while a plan is made, bound or run.
template <class Work>
void Scope::name_file(const Work& work) const {
  try {
    work();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) throw;
    const std::string& path = shared_.model->path;
    fail(error.code(), "{}: {}", path.empty() ? "model" : path, error.what());
  }
}

std::unique_ptr<CompiledSegment> Scope::compile(const Position& position, RunState& state,
                                                const Environment& environment) const {
  static const auto profiled =
      std::make_shared<const ProfiledStep>(ProfiledStep{"compile", "compile", {}});
  const ProfileTimer timer(state, profiled);
  // Its inputs are read, which are not there yet.
  if (state.stream && is_capturing(shared_.device, state.stream))
    fail(ErrorCode::invalid_argument,
         "a stream that captures can only run what a plan is there for: run the model once with "
         "such inputs before");
  LoweredSegment segment = lower_at(position, environment);
  if (segment.rest.size() == position.nodes.size() && !segment.rest.empty())
    fail(ErrorCode::unsupported, "{} needs a value that cannot be known before it runs",
         describe(*shared_.model, *segment.rest.front()));
  std::unique_ptr<CompiledSegment> plan;
  name_file(
      [&] { plan = std::make_unique<CompiledSegment>(std::move(segment), *shared_.backend); });
  return plan;
}

Scope::Compiled& Scope::plan_at(Position& position, RunState& state, const Environment& environment,
                                std::shared_ptr<const Binding>& binding) {
  const std::lock_guard lock(position.mutex);
  for (auto it = position.plans.begin(); it != position.plans.end(); ++it) {
    name_file([&] { binding = it->plan->match(state, environment, shared_.bindings_per_plan); });
    if (!binding) continue;
    position.plans.splice(position.plans.begin(), position.plans, it);
    return position.plans.front();
  }
  auto plan = compile(position, state, environment);
  auto rest = this->position(plan->rest());
  position.plans.push_front({std::move(plan), std::move(rest)});
  Compiled& compiled = position.plans.front();
  name_file([&] { binding = compiled.plan->match(state, environment, shared_.bindings_per_plan); });
  internal_check(binding != nullptr, "a new plan matches the values it was made for");
  return compiled;
}

namespace {
bool ready(const onnx::Node& node, const Environment& environment) {
  for (const std::string& name : names_read(node))
    if (!environment.contains(name)) return false;
  return true;
}
}  // namespace

void Scope::run(RunState& state, Environment& environment, const Presets& presets) {
  Position* at = start_.get();
  bool first = true;
  while (first || !at->nodes.empty()) {
    first = false;
    state.check_cancelled();
    if (at->begins_with_loop && ready(*at->nodes[0], environment)) {
      run_loop(shared_, *at->nodes[0], state, environment);
      const std::lock_guard lock(at->mutex);
      if (!at->next) at->next = position({at->nodes.begin() + 1, at->nodes.end()});
      at = at->next.get();
      // What follows the last loop still has outputs to pass on.
      first = at->nodes.empty();
      continue;
    }
    std::shared_ptr<const Binding> binding;
    Compiled& compiled = plan_at(*at, state, environment, binding);
    name_file([&] { compiled.plan->run(*binding, state, environment, presets); });
    at = compiled.rest.get();
  }
}

std::vector<const CompiledSegment*> Scope::plans() const {
  std::vector<const CompiledSegment*> result;
  std::vector<Position*> open = {start_.get()};
  while (!open.empty()) {
    Position* position = open.back();
    open.pop_back();
    const std::lock_guard lock(position->mutex);
    if (position->next) open.push_back(position->next.get());
    for (const auto& compiled : position->plans) {
      result.push_back(compiled.plan.get());
      open.push_back(compiled.rest.get());
    }
  }
  return result;
}

}  // namespace onrush
