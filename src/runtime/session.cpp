#include <algorithm>
#include <set>

#include "backend/cpu/cpu_backend.h"
#include "backend/cuda/cuda_backend.h"
#include "backend/reference/reference_backend.h"
#include "base/check.h"
#include "lower/check_operators.h"
#include "lower/check_types.h"
#include "onnx/decode.h"
#include "onnx/inline_functions.h"
#include "runtime/session_impl.h"
#include <onrush/device_memory.h>

namespace onrush {
namespace {

std::string type_text(const onnx::Type& type) {
  using Kind = onnx::Type::Kind;
  const auto nested = [&] { return type.nested ? type_text(*type.nested) : std::string("?"); };
  switch (type.kind) {
    case Kind::tensor: return fmt::format("tensor({})", onnx_name(type.element));
    case Kind::sparse_tensor: return fmt::format("sparse_tensor({})", onnx_name(type.element));
    case Kind::sequence: return "seq(" + nested() + ")";
    case Kind::optional: return "optional(" + nested() + ")";
    case Kind::map: return fmt::format("map({},{})", onnx_name(type.element), nested());
    case Kind::undefined: return "undefined";
  }
  internal_error("unknown type kind");
}

Argument argument(const onnx::ValueInfo& info) {
  Argument result{info.name, type_text(info.type), DType::undefined, std::nullopt};
  if (info.type.kind != onnx::Type::Kind::tensor) return result;
  result.dtype = info.type.element;
  if (!info.type.shape) return result;
  result.shape.emplace();
  for (const auto& dim : *info.type.shape) result.shape->push_back({dim.value, dim.param});
  return result;
}

std::string shape_text(const std::vector<ArgumentDim>& shape) {
  std::vector<std::string> dims;
  for (const ArgumentDim& dim : shape)
    dims.push_back(dim.value ? std::to_string(*dim.value) : dim.name.empty() ? "?" : dim.name);
  return fmt::format("[{}]", fmt::join(dims, ","));
}

std::string names(const std::vector<Argument>& arguments) {
  std::vector<std::string> names;
  for (const Argument& argument : arguments) names.push_back("'" + argument.name + "'");
  return fmt::format("{}", fmt::join(names, ", "));
}

const Argument* find(const std::vector<Argument>& arguments, const std::string& name) {
  const auto found = std::find_if(arguments.begin(), arguments.end(),
                                  [&](const Argument& a) { return a.name == name; });
  return found == arguments.end() ? nullptr : &*found;
}

std::unique_ptr<Backend> make_backend(const SessionOptions& options) {
  if (options.tune && !cuda_ordinal(options.device))
    fail(ErrorCode::invalid_argument, "tuning is for GPUs: leave it out, or use device \"cuda\"");
  if (options.threads < 0)
    fail(ErrorCode::invalid_argument, "{} threads: give a number, or 0 for one a processor",
         options.threads);
  if (options.device == "reference") return make_reference_backend();
  if (options.device == "cpu" && options.precision == Precision::fp16)
    fail(ErrorCode::unsupported, "the CPU does not compute in fp16: use fp32 or bf16");
  if (options.device == "cpu")
    return make_cpu_backend({options.threads, options.optimization_level > 0, options.memory_limit,
                             options.precision == Precision::bf16});
  if (const auto ordinal = cuda_ordinal(options.device))
    return make_cuda_backend({*ordinal, options.optimization_level > 0, options.precision,
                              options.memory_limit, options.cache_folder, options.tune,
                              options.progress});
  fail(ErrorCode::invalid_argument,
       "unknown device '{}': use \"cpu\", \"cuda\", \"cuda:1\" ... or \"reference\"",
       options.device);
}

}  // namespace

std::optional<int> cuda_ordinal(const std::string& device) {
  if (device == "cuda") return 0;
  if (!device.starts_with("cuda:") || device.size() < 6 || device.size() > 8) return std::nullopt;
  if (device.find_first_not_of("0123456789", 5) != std::string::npos) return std::nullopt;
  return std::stoi(device.substr(5));
}

Arguments arguments_of(const onnx::Graph& graph) {
  std::set<std::string> initialized;
  for (const auto& initializer : graph.initializers) initialized.insert(initializer.name);
  Arguments result;
  for (const auto& input : graph.inputs)
    (initialized.contains(input.name) ? result.overridable : result.inputs)
        .push_back(argument(input));
  for (const auto& output : graph.outputs) result.outputs.push_back(argument(output));
  return result;
}

Session::Impl::Impl(onnx::Model model, const SessionOptions& options) : model_(std::move(model)) {
  onnx::inline_functions(model_);
  check_operators(model_);
  check_types(model_);
  backend_ = make_backend(options);
  if (const auto ordinal = cuda_ordinal(options.device)) device_ = {Device::Kind::cuda, *ordinal};
  shared_.model = &model_;
  shared_.backend = backend_.get();
  shared_.device = device_;
  for (const auto& initializer : model_.graph.initializers)
    constants_.set_constant(initializer.name, initializer.tensor);
  arguments_ = arguments_of(model_.graph);
  for (const auto& [key, value] : model_.metadata) metadata_[key] = value;
  main_ = std::make_unique<Scope>(shared_, model_.graph);
}

const Argument& Session::Impl::check_input(const std::string& name, const Value& value) const {
  const Argument* argument = find(arguments_.inputs, name);
  if (!argument) argument = find(arguments_.overridable, name);
  if (!argument)
    fail(ErrorCode::invalid_argument, "the model has no input '{}'; it has {}", name,
         names(arguments_.inputs));
  if (argument->dtype == DType::undefined) return *argument;
  if (!value.is_tensor()) fail(ErrorCode::invalid_argument, "input '{}' must be a tensor", name);
  const Tensor& tensor = value.tensor();
  if (tensor.dtype() != argument->dtype)
    fail(ErrorCode::invalid_argument, "input '{}' must have element type {}, not {}", name,
         onnx_name(argument->dtype), onnx_name(tensor.dtype()));
  if (!argument->shape) return *argument;
  bool fits = argument->shape->size() == tensor.shape().size();
  for (size_t i = 0; fits && i < tensor.shape().size(); ++i)
    fits = !(*argument->shape)[i].value || *(*argument->shape)[i].value == tensor.shape()[i];
  if (!fits)
    fail(ErrorCode::invalid_argument, "input '{}' must have shape {}, not {}", name,
         shape_text(*argument->shape), to_string(tensor.shape()));
  return *argument;
}

// A context for the duration of one run.
class Session::Impl::ContextOfRun {
 public:
  explicit ContextOfRun(Impl& session) : session_(session) {
    const std::lock_guard lock(session_.mutex_);
    if (session_.idle_.empty()) {
      context_ = std::make_unique<Context>();
      context_->environment = Environment(&session_.constants_);
      return;
    }
    context_ = std::move(session_.idle_.back());
    session_.idle_.pop_back();
  }
  ~ContextOfRun() {
    context_->environment.clear();
    // What a run that failed has left.
    for (std::vector<Tensor>* tensors : {&context_->state.inputs, &context_->state.outputs})
      for (Tensor& tensor : *tensors)
        if (tensor) tensor = {};
    const std::lock_guard lock(session_.mutex_);
    session_.idle_.push_back(std::move(context_));
  }
  ContextOfRun(const ContextOfRun&) = delete;
  ContextOfRun& operator=(const ContextOfRun&) = delete;
  Context* operator->() const { return context_.get(); }

 private:
  Impl& session_;
  std::unique_ptr<Context> context_;
};

// Whether the backend can read and write the tensor's memory.
bool Session::Impl::reaches(const Tensor& tensor) const {
  return tensor.device() == device_ || tensor.device() == Device{};
}

namespace {

// Brings a result where the caller wants it, unless it is there: those of loops, those that are
// weights or inputs, and those wanted on a device that the backend does not reach are not.
void deliver(const std::string& output, Value& result, const RunOptions& options) {
  const Tensor& tensor = result.tensor();
  const auto given = options.outputs.find(output);
  if (given == options.outputs.end()) {
    if (tensor.device() != options.results_on) result = moved_to(options.results_on, tensor);
    return;
  }
  if (tensor.data() == given->second.data()) return;
  check_given(output, given->second, tensor.dtype(), tensor.shape());
  copy(tensor, given->second);
  result = given->second;
}

}  // namespace

void Session::Impl::run(const NamedValues& inputs, std::span<const std::string> outputs,
                        const RunOptions& options, std::vector<Value>& results) {
  // Starts before the clock does.
  const std::unique_ptr<Profiler> profiler =
      options.profile && options.profile->device ? backend_->profiler() : nullptr;
  const int64_t start = options.profile ? now_ns() : 0;
  const ContextOfRun context(*this);
  Environment& environment = context->environment;
  for (const auto& [name, value] : inputs) {
    const Argument& argument = check_input(name, value);
    if (value.is_tensor() && reaches(value.tensor()))
      environment.set(argument.name, value.tensor());
    else environment.set(argument.name, on_host(value));
  }
  // Every name is one of the model's, so as many as it has are all.
  const bool complete = arguments_.overridable.empty() && inputs.size() == arguments_.inputs.size();
  for (size_t i = 0; i < arguments_.inputs.size() && !complete; ++i) {
    const Argument& input = arguments_.inputs[i];
    if (inputs.contains(input.name)) continue;
    if (!input.type.starts_with("optional"))
      fail(ErrorCode::invalid_argument, "input '{}' of type {} is missing", input.name, input.type);
    environment.set(input.name, Optional{});
  }
  for (const std::string& name : outputs)
    if (!find(arguments_.outputs, name))
      fail(ErrorCode::invalid_argument, "the model has no output '{}'; it has {}", name,
           names(arguments_.outputs));
  if (options.stream && device_.kind != Device::Kind::cuda)
    fail(ErrorCode::invalid_argument, "a stream was given, but the session does not run on a GPU");
  context->state.begin(options, profiler.get());
  context->state.results_on = options.results_on == device_ ? device_ : Device{};
  if (std::ranges::all_of(options.outputs, [this](const auto& o) { return reaches(o.second); }))
    main_->run(context->state, environment, options.outputs);
  else main_->run(context->state, environment, {});
  const auto collect = [&](const std::string& name, Value& result) {
    const Value* value = environment.find(name);
    if (value) result = *value;
    else result = *environment.find_constant(name);
    if (result.is_tensor()) deliver(name, result, options);
  };
  results.resize(outputs.empty() ? arguments_.outputs.size() : outputs.size());
  for (size_t i = 0; i < results.size(); ++i)
    collect(outputs.empty() ? arguments_.outputs[i].name : outputs[i], results[i]);
  if (options.profile) {
    options.profile->start_ns = start;
    options.profile->duration_ns = now_ns() - start;
    if (profiler) profiler->finish(*options.profile);
  }
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

Session Session::load(const std::string& path, const SessionOptions& options) {
  return Session(std::make_unique<Impl>(onnx::load(path), options));
}
Session Session::load(std::span<const std::byte> model, const SessionOptions& options) {
  return Session(std::make_unique<Impl>(onnx::decode({model}), options));
}

const std::vector<Argument>& Session::inputs() const { return impl_->inputs(); }
const std::vector<Argument>& Session::outputs() const { return impl_->outputs(); }
const std::map<std::string, std::string>& Session::metadata() const { return impl_->metadata(); }

std::vector<Value> Session::run(const NamedValues& inputs, std::span<const std::string> outputs,
                                const RunOptions& options) const {
  std::vector<Value> results;
  impl_->run(inputs, outputs, options, results);
  return results;
}
void Session::run(const NamedValues& inputs, std::span<const std::string> outputs,
                  const RunOptions& options, std::vector<Value>& results) const {
  impl_->run(inputs, outputs, options, results);
}

MemoryUse Session::memory_use() const { return impl_->memory_use(); }

const char* version() { return ONRUSH_VERSION; }

}  // namespace onrush
