#include "runtime/scope.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/numeric.h"

namespace onrush {

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
std::vector<int64_t> size_key(const ShapeContext& shapes, std::span<const Tensor> inputs) {
  std::vector<int64_t> key;
  for (const Tensor& input : inputs)
    key.insert(key.end(), input.shape().begin(), input.shape().end());
  for (const Symbol& symbol : shapes.symbols()) {
    if (symbol.source.kind != SymbolSource::Kind::element) continue;
    const Tensor& tensor = inputs[static_cast<size_t>(symbol.source.input)];
    if (symbol.source.index < tensor.count())
      key.push_back(load_i64(tensor.dtype(), tensor.data(), symbol.source.index));
  }
  return key;
}

}  // namespace

CompiledSegment::CompiledSegment(LoweredSegment segment, Backend& backend)
    : segment_(std::move(segment)) {
  Graph interface = interface_of(segment_.graph);
  executable_ = backend.compile(std::move(segment_.graph));
  segment_.graph = std::move(interface);
}

std::vector<Tensor> CompiledSegment::inputs(const Environment& environment) const {
  std::vector<Tensor> tensors;
  for (const ValuePath& path : segment_.inputs) tensors.push_back(tensor_at(environment, path));
  return tensors;
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

std::shared_ptr<const Binding> CompiledSegment::match(const Environment& environment,
                                                      size_t max_bindings) {
  for (const auto& [name, signature] : segment_.signatures) {
    const Value* value = environment.find(name);
    if (!value || onrush::signature(*value) != signature) return nullptr;
  }
  const std::vector<Tensor> tensors = inputs(environment);
  if (!contents_match(tensors)) return nullptr;
  const ShapeContext& shapes = *segment_.graph.shapes;
  std::vector<int64_t> key = size_key(shapes, tensors);
  const std::lock_guard lock(mutex_);
  if (const auto found = by_sizes_.find(key); found != by_sizes_.end()) {
    bindings_.splice(bindings_.begin(), bindings_, found->second);
    return bindings_.front().second;
  }
  const std::vector<int64_t> symbols = symbol_values(shapes, tensors);
  if (symbols.size() != shapes.symbols().size()) return nullptr;
  SizeTable sizes = shapes.evaluate(symbols);
  if (!shapes_match(segment_.graph, sizes, tensors)) return nullptr;
  for (const Guard& guard : shapes.guards())
    if (!sizes.holds(guard)) return nullptr;
  bindings_.emplace_front(key, executable_->bind(std::move(sizes)));
  by_sizes_[std::move(key)] = bindings_.begin();
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
  std::vector<Tensor> preset;
  for (const auto& [name, skeleton] : segment_.results) {
    const auto found = presets.find(name);
    if (found == presets.end() || skeleton.kind != Skeleton::Kind::tensor) continue;
    preset.resize(std::max(preset.size(), static_cast<size_t>(skeleton.output) + 1));
    preset[static_cast<size_t>(skeleton.output)] = found->second;
  }
  const std::vector<Tensor> outputs = binding.run(state, inputs(environment), preset);
  for (const auto& [name, skeleton] : segment_.results)
    environment.set(name, assemble(skeleton, outputs));
}

// --- scopes

struct Scope::Position {
  std::vector<NodePtr> nodes;
  std::mutex mutex;
  // Either the first node is a loop that is run here, and `next` follows ...
  std::unique_ptr<Position> next;
  // ... or a segment starts here, and each of its plans has what follows.
  struct Compiled {
    std::unique_ptr<CompiledSegment> plan;
    std::unique_ptr<Position> rest;
  };
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
  position->nodes = std::move(nodes);
  return position;
}

CompiledSegment& Scope::plan_at(Position& position, const Environment& environment,
                                std::shared_ptr<const Binding>& binding) {
  const std::lock_guard lock(position.mutex);
  for (auto it = position.plans.begin(); it != position.plans.end(); ++it) {
    binding = it->plan->match(environment, shared_.bindings_per_plan);
    if (!binding) continue;
    position.plans.splice(position.plans.begin(), position.plans, it);
    return *position.plans.front().plan;
  }
  LoweredSegment segment = lower({shared_.model, position.nodes, outputs_}, environment);
  if (segment.rest.size() == position.nodes.size() && !segment.rest.empty())
    fail(ErrorCode::unsupported, "{} needs a value that cannot be known before it runs",
         describe(*shared_.model, *segment.rest.front()));
  auto plan = std::make_unique<CompiledSegment>(std::move(segment), *shared_.backend);
  auto rest = this->position(plan->rest());
  position.plans.push_front({std::move(plan), std::move(rest)});
  binding = position.plans.front().plan->match(environment, shared_.bindings_per_plan);
  internal_check(binding != nullptr, "a new plan matches the values it was made for");
  return *position.plans.front().plan;
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
    if (!at->nodes.empty() && is_loop(*at->nodes[0]) && ready(*at->nodes[0], environment)) {
      run_loop(shared_, *at->nodes[0], state, environment);
      const std::lock_guard lock(at->mutex);
      if (!at->next) at->next = position({at->nodes.begin() + 1, at->nodes.end()});
      at = at->next.get();
      // What follows the last loop still has outputs to pass on.
      first = at->nodes.empty();
      continue;
    }
    std::shared_ptr<const Binding> binding;
    CompiledSegment& plan = plan_at(*at, environment, binding);
    plan.run(*binding, state, environment, presets);
    const std::lock_guard lock(at->mutex);
    for (const Position::Compiled& compiled : at->plans)
      if (compiled.plan.get() == &plan) {
        at = compiled.rest.get();
        break;
      }
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
