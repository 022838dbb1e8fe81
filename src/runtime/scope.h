// Executes one ONNX graph (the model's, or the body of a loop) segment by segment, and keeps what
// was compiled for it.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "lower/lower.h"

namespace onrush {

class Scope;

// The value with all tensors in host memory.
Value on_host(const Value& value);

// What all scopes of a session share.
struct ScopeShared {
  const onnx::Model* model = nullptr;
  Backend* backend = nullptr;
  Device device;
  size_t bindings_per_plan = 64;  // least recently used ones beyond that are dropped

  // The scope of a loop body, made on first use.
  Scope& body(const onnx::Graph& graph);
  std::mutex mutex;
  std::map<const onnx::Graph*, std::unique_ptr<Scope>> bodies;
};

// Results by name that are to be written to the caller's memory.
using Presets = std::map<std::string, Tensor>;

// A compiled segment and its bindings. Thread safe but for match().
class CompiledSegment {
 public:
  CompiledSegment(LoweredSegment segment, Backend& backend);

  // The binding for the environment's values, or null if a guard does not hold. Leaves the
  // segment's inputs in `state`. One thread at a time.
  std::shared_ptr<const Binding> match(RunState& state, const Environment& environment,
                                       size_t max_bindings);
  // Takes the inputs that match() left.
  void run(const Binding& binding, RunState& state, Environment& environment,
           const Presets& presets) const;
  const std::vector<NodePtr>& rest() const { return segment_.rest; }
  const Graph& graph() const { return segment_.graph; }
  const Executable& executable() const { return *executable_; }

 private:
  bool take_inputs(RunState& state, const Environment& environment) const;
  bool contents_match(std::span<const Tensor> inputs) const;
  void find_inputs_read();
  std::shared_ptr<const Binding> known_binding(const std::vector<int64_t>& sizes);
  std::shared_ptr<const Binding> bind(RunState& state, SizeTable sizes) const;

  LoweredSegment segment_;  // its graph keeps inputs and shapes; nodes go to the backend
  size_t outputs_;          // of the graph
  std::vector<std::vector<size_t>> inputs_of_;  // that the value of a signature holds
  std::vector<size_t> read_inputs_;             // whose elements match() reads
  std::shared_ptr<const Executable> executable_;
  std::list<std::pair<std::vector<int64_t>, std::shared_ptr<const Binding>>>
      bindings_;  // recent first
  std::map<std::vector<int64_t>, decltype(bindings_)::iterator> by_sizes_;
};

class Scope {
 public:
  Scope(ScopeShared& shared, const onnx::Graph& graph);
  ~Scope();

  // Runs the graph; on return the environment holds its outputs (and more).
  void run(RunState& state, Environment& environment, const Presets& presets);

  // The type that an output will have for the environment's values, with sizes as far as they are
  // known without running anything. Throws Error{unsupported} if not even the rest is.
  TensorType type_of(const Environment& environment, const std::string& output) const;

  // Plans compiled so far, in the order of execution.
  std::vector<const CompiledSegment*> plans() const;
  const onnx::Graph& graph() const { return graph_; }

 private:
  struct Position;
  struct Compiled;
  std::unique_ptr<Position> position(std::vector<NodePtr> nodes) const;
  LoweredSegment lower_at(const Position& position, const Environment& environment) const;
  template <class Work>
  void name_file(const Work& work) const;
  std::unique_ptr<CompiledSegment> compile(const Position& position, RunState& state,
                                           const Environment& environment) const;
  Compiled& plan_at(Position& position, RunState& state, const Environment& environment,
                    std::shared_ptr<const Binding>& binding);

  ScopeShared& shared_;
  const onnx::Graph& graph_;
  std::vector<std::string> outputs_;
  std::unique_ptr<Position> start_;
};

// Runs a Loop, Scan or SequenceMap node whose inputs are in the environment.
void run_loop(ScopeShared& shared, const onnx::Node& node, RunState& state,
              Environment& environment);

}  // namespace onrush
