// The session behind the public API.
#pragma once

#include "onnx/model.h"
#include "runtime/scope.h"
#include <onrush/session.h>

namespace onrush {

// What a model takes and gives. Inputs that have a default, an initializer of the same name, are
// `overridable`.
struct Arguments {
  std::vector<Argument> inputs, outputs, overridable;
};
Arguments arguments_of(const onnx::Graph& graph);

// The number of the GPU: 0 of "cuda", N of "cuda:N"; none for other devices.
std::optional<int> cuda_ordinal(const std::string& device);

class Session::Impl {
 public:
  Impl(onnx::Model model, const SessionOptions& options);

  void run(const NamedValues& inputs, std::span<const std::string> outputs,
           const RunOptions& options, std::vector<Value>& results);
  const std::vector<Argument>& inputs() const { return arguments_.inputs; }
  const std::vector<Argument>& outputs() const { return arguments_.outputs; }
  const std::vector<Argument>& overridable_initializers() const { return arguments_.overridable; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  MemoryUse memory_use() const { return backend_->memory_use(); }
  const onnx::Model& model() const { return model_; }
  Device device() const { return device_; }
  const Scope& main_scope() const { return *main_; }

 private:
  // What a run works with, kept for the next one.
  struct Context {
    RunState state;
    Environment environment;
  };
  class ContextOfRun;

  const Argument& check_input(const std::string& name, const Value& value) const;
  bool reaches(const Tensor& tensor) const;

  onnx::Model model_;
  Device device_;
  std::unique_ptr<Backend> backend_;
  ScopeShared shared_;
  std::unique_ptr<Scope> main_;
  Environment constants_;
  Arguments arguments_;
  std::map<std::string, std::string> metadata_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_;
};

}  // namespace onrush
