#include "session.h"

#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unordered_map.h>
#include <nanobind/stl/vector.h>
#include <pthread.h>
#include <unistd.h>

#include "arrays.h"
#include "base/check.h"
#include "gil.h"
#include "onnx/decode.h"
#include "ort_value.h"
#include "runtime/precision.h"
#include "values.h"
#include <onrush/device_memory.h>

namespace onrush::python {
namespace {

// Counts the forks that led to this process. Threads of a session do not survive one.
std::atomic<int> process_generation{0};

void count_forks() {
  pthread_atfork(nullptr, nullptr, [] { ++process_generation; });
}

// Runs the handlers of signals that have come; true if one raised an exception, which is then set.
// Python handles signals on the main thread only.
bool interrupted() {
  if (gettid() != getpid()) return false;
  const nb::gil_scoped_acquire gil;
  return PyErr_CheckSignals() < 0;
}

onnx::Model load(nb::handle source, const onnx::LoadOptions& options) {
  if (PyUnicode_Check(source.ptr())) {
    const auto path = nb::cast<std::string>(source);
    const ReleasedGil release;
    return onnx::load(path, options);
  }
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(source.ptr(), &data, &size) < 0) throw nb::python_error();
  const onnx::Bytes bytes{{reinterpret_cast<const std::byte*>(data), static_cast<size_t>(size)},
                          keep_alive(nb::borrow(source))};
  const ReleasedGil release;
  return onnx::decode(bytes, options);
}

void fix_dims(std::vector<onnx::ValueInfo>& values,
              const std::unordered_map<std::string, int64_t>& dims) {
  for (onnx::ValueInfo& value : values) {
    if (!value.type.shape) continue;
    for (onnx::Dimension& dim : *value.type.shape)
      if (const auto found = dims.find(dim.param); found != dims.end() && !dim.value)
        dim = {found->second, {}};
  }
}

void replace_initializers(onnx::Graph& graph,
                          const std::unordered_map<std::string, Tensor>& replacements) {
  std::unordered_map<std::string, onnx::Initializer*> by_name;
  for (onnx::Initializer& initializer : graph.initializers)
    by_name[initializer.name] = &initializer;
  for (const auto& [name, tensor] : replacements) {
    onnx::Initializer* found = by_name[name];
    if (!found)
      fail(ErrorCode::invalid_argument, "the model has no initializer '{}' to replace", name);
    if (found->tensor.dtype() != tensor.dtype() || found->tensor.shape() != tensor.shape())
      fail(ErrorCode::invalid_argument, "initializer '{}' is {}{} and cannot become {}{}", name,
           onnx_name(found->tensor.dtype()), to_string(found->tensor.shape()),
           onnx_name(tensor.dtype()), to_string(tensor.shape()));
    found->tensor = tensor;
  }
  for (const onnx::Initializer& initializer : graph.initializers)
    if (!initializer.tensor.data() && initializer.tensor.count())
      fail(ErrorCode::not_found, "the data of initializer '{}' is in a file that is not there",
           initializer.name);
}

Precision precision(const std::string& name) {
  if (const auto found = precision_of(name)) return *found;
  fail(ErrorCode::invalid_argument,
       "unknown precision '{}': use \"standard\", \"fp32\", \"tf32\", \"fp16\" or \"bf16\"", name);
}

std::string as_string(nb::handle object, const char* what) {
  if (PyUnicode_Check(object.ptr())) return nb::cast<std::string>(object);
  throw nb::type_error((std::string(what) + " are str").c_str());
}

// Any mapping, as a dict.
nb::dict as_dict(nb::handle mapping) {
  if (PyDict_Check(mapping.ptr())) return nb::borrow<nb::dict>(mapping);
  if (!nb::hasattr(mapping, "keys"))
    throw nb::attribute_error(fmt::format("inputs are a dict of names and values, not a {}",
                                          nb::cast<std::string>(nb::repr(mapping.type())))
                                  .c_str());
  return nb::borrow<nb::dict>(nb::handle(reinterpret_cast<PyObject*>(&PyDict_Type))(mapping));
}

nb::object shape_object(const std::optional<std::vector<ArgumentDim>>& shape) {
  if (!shape) return nb::none();
  nb::list dims;
  for (const ArgumentDim& dim : *shape) {
    if (dim.value) dims.append(*dim.value);
    else if (dim.name.empty()) dims.append(nb::none());
    else dims.append(dim.name);
  }
  return dims;
}

nb::list described(const std::vector<Argument>& arguments) {
  nb::list result;
  for (const Argument& argument : arguments)
    result.append(nb::make_tuple(argument.name, argument.type, shape_object(argument.shape)));
  return result;
}

// Kind, name, and ONNX nodes.
nb::tuple described(const ProfiledStep& step) {
  return nb::make_tuple(step.kind, step.name, nb::tuple(nb::cast(step.nodes)));
}

// Of each plan so far: the sizes that may vary, the conditions that they must meet, and the steps.
nb::list plans(const PySession& self) {
  nb::list result;
  for (const CompiledSegment* plan : self.impl().main_scope().plans()) {
    const Graph& graph = plan->graph();
    nb::list sizes, guards, steps;
    for (size_t i = 0; i < graph.shapes->symbols().size(); ++i) {
      const SymbolSource& source = graph.shapes->symbols()[i].source;
      const bool extent = source.kind == SymbolSource::Kind::extent;
      sizes.append(fmt::format("s{}: {} {} of {}", i, extent ? "extent" : "element", source.index,
                               graph.inputs[static_cast<size_t>(source.input)].name));
    }
    for (const Guard& guard : graph.shapes->guards()) guards.append(to_string(guard));
    for (const auto& step : plan->executable().profiled_steps()) steps.append(described(*step));
    result.append(nb::make_tuple(std::move(sizes), std::move(guards), std::move(steps)));
  }
  return result;
}

nb::dict model_info(const PySession& self) {
  const onnx::Model& model = self.impl().model();
  nb::dict info;
  info["producer_name"] = model.producer_name;
  info["graph_name"] = model.graph.name;
  info["domain"] = model.domain;
  info["description"] = model.doc_string;
  info["graph_description"] = model.graph.doc_string;
  info["version"] = model.model_version;
  return info;
}

// The values of one run that is given no memory for its results. These stay on a GPU on which the
// caller has arrays of another library.
std::vector<Value> run_once(const PySession& self, nb::handle feed, nb::handle outputs,
                            const CancelFlag* cancel, Profile* profile) {
  RunOptions options;
  const NamedValues inputs = self.values(feed, options.results_on);
  std::vector<Value> results;
  self.run(inputs, output_names(outputs), options, cancel, profile, results);
  return results;
}

// A tensor on a GPU becomes an onrush.OrtValue, which other libraries read by DLPack.
nb::object result_object(const Value& value) {
  if (!value.is_tensor() || value.tensor().device() == Device{}) return object_from_value(value);
  return nb::module_::import_("onrush.ort.values").attr("OrtValue")(OrtValue(value));
}

nb::list run(const PySession& self, nb::handle feed, nb::handle outputs, const CancelFlag* cancel,
             Profile* profile) {
  nb::list results;
  for (const Value& value : run_once(self, feed, outputs, cancel, profile))
    results.append(result_object(value));
  return results;
}

nb::list run_values(const PySession& self, nb::handle feed, nb::handle outputs,
                    const CancelFlag* cancel, Profile* profile) {
  nb::list results;
  for (Value& value : run_once(self, feed, outputs, cancel, profile))
    results.append(OrtValue(std::move(value)));
  return results;
}

}  // namespace

void Profile::add(RunProfile run) {
  const std::lock_guard lock(mutex_);
  runs_.push_back({std::move(run), gettid()});
}

nb::list Profile::runs() const {
  const std::lock_guard lock(mutex_);
  nb::list runs;
  for (const auto& [profile, thread] : runs_) {
    nb::list events;
    for (const auto& [step, start, duration] : profile.events)
      events.append(nb::make_tuple(described(*step), start, duration));
    runs.append(nb::make_tuple(thread, profile.start_ns, profile.duration_ns, std::move(events)));
  }
  return runs;
}

PySession::PySession(nb::handle source, const LoadOptions& options)
    : stream_(options.stream), process_generation_(process_generation) {
  // Data that is to be replaced need not be there.
  const bool replaced = !options.initializers.empty();
  onnx::Model model = load(source, {.allow_missing_external_data = replaced});
  fix_dims(model.graph.inputs, options.dims);
  fix_dims(model.graph.outputs, options.dims);
  if (replaced) replace_initializers(model.graph, options.initializers);
  {
    const ReleasedGil release;
    impl_ = std::make_unique<Session::Impl>(std::move(model), options.session);
  }
  for (const onnx::ValueInfo& input : impl_->model().graph.inputs)
    input_types_.emplace(input.name, &input.type);
}

PySession::~PySession() {
  if (process_generation_ != process_generation) static_cast<void>(impl_.release());
}

void PySession::check_process() const {
  if (process_generation_ != process_generation)
    fail(ErrorCode::invalid_argument,
         "this session was made before the process forked, and its threads are in the parent; "
         "make sessions after the fork, or start processes with multiprocessing's \"spawn\"");
}

Value PySession::value(const std::string& input, nb::handle object) const {
  const auto found = input_types_.find(input);
  // The session refuses an unknown name, whatever its value.
  return found == input_types_.end() ? Value{} : value_from_object(object, *found->second, input);
}

NamedValues PySession::values(nb::handle feed, Device& arrays_on) const {
  NamedValues values;
  for (auto [key, object] : as_dict(feed)) {
    std::string name = as_string(key, "names of inputs");
    const nb::object kept = nb::borrow(object);  // converting it may run code that changes `feed`
    Value value = this->value(name, kept);
    if (value.is_tensor() && value.tensor().device() != Device{} && !find_ort_value(kept))
      arrays_on = value.tensor().device();
    values.insert_or_assign(std::move(name), std::move(value));
  }
  // Producers order their work before that of the default stream.
  if (stream_ && arrays_on == impl_->device()) stream_follows(arrays_on, stream_, nullptr);
  return values;
}

void PySession::run(const NamedValues& inputs, const std::vector<std::string>& outputs,
                    RunOptions& options, const CancelFlag* cancel, Profile* profile,
                    std::vector<Value>& results) const {
  check_process();
  RunProfile times;
  options.cancel = cancel ? &cancel->requested : nullptr;
  options.interrupted = &interrupted;
  options.profile = profile ? &times : nullptr;
  options.stream = stream_;
  try {
    const ReleasedGil release;
    impl_->run(inputs, outputs, options, results);
    for (size_t i = 0; i < results.size(); ++i)
      if (options.outputs.empty() || !options.outputs.contains(outputs[i]))
        detach(results[i], inputs);
    if (profile) profile->add(std::move(times));
  } catch (const Error&) {
    if (PyErr_Occurred()) throw nb::python_error();  // of a signal's handler
    throw;
  }
}

void PySession::wait() const {
  if (!stream_) return;
  const ReleasedGil release;
  synchronize_stream(impl_->device(), stream_);
}

std::vector<std::string> output_names(nb::handle names) {
  if (names.is_none()) return {};
  if (PyUnicode_Check(names.ptr()))
    throw nb::type_error("names of outputs are a list of str, not one str");
  std::vector<std::string> result;
  for (nb::handle name : names) result.push_back(as_string(name, "names of outputs"));
  return result;
}

void bind_session(nb::module_& module) {
  using namespace nb::literals;
  count_forks();

  nb::class_<CancelFlag>(module, "CancelFlag")
      .def(nb::init<>())
      .def_prop_rw(
          "requested", [](const CancelFlag& self) { return self.requested.load(); },
          [](CancelFlag& self, bool requested) { self.requested = requested; });

  nb::class_<Profile>(module, "Profile").def(nb::init<>()).def("runs", &Profile::runs);

  nb::class_<PySession>(module, "Session")
      .def(
          "__init__",
          [](PySession* self, nb::handle source, int threads, const std::string& device,
             const std::string& precision_name, int optimization_level, size_t memory_limit,
             const std::string& cache_folder, bool tune, uintptr_t stream,
             std::unordered_map<std::string, int64_t> dims, const nb::dict& initializers) {
            LoadOptions options;
            options.session = {threads,      precision(precision_name),
                               device,       optimization_level,
                               memory_limit, cache_folder,
                               tune};
            // NOLINTNEXTLINE(performance-no-int-to-ptr): Python passes handles as numbers
            options.stream = reinterpret_cast<void*>(stream);
            options.dims = std::move(dims);
            for (auto [name, value] : initializers)
              options.initializers.emplace(
                  nb::cast<std::string>(name),
                  value_from_object(value, {}, nb::cast<std::string>(name)).tensor());
            new (self) PySession(source, options);
          },
          "source"_a, nb::kw_only(), "threads"_a = 0, "device"_a = "cpu",
          "precision"_a = "standard", "optimization_level"_a = 1, "memory_limit"_a = 0,
          "cache_folder"_a = "", "tune"_a = false, "stream"_a = 0, "dims"_a = nb::dict(),
          "initializers"_a = nb::dict())
      .def_prop_ro("inputs", [](const PySession& self) { return described(self.impl().inputs()); })
      .def_prop_ro("outputs",
                   [](const PySession& self) { return described(self.impl().outputs()); })
      .def_prop_ro(
          "overridable_initializers",
          [](const PySession& self) { return described(self.impl().overridable_initializers()); })
      .def_prop_ro("metadata", [](const PySession& self) { return self.impl().metadata(); })
      .def_prop_ro("model_info", &model_info)
      .def("plans", &plans)
      .def("run", &run, "feed"_a.none(), "outputs"_a = nb::none(), "cancel"_a = nb::none(),
           "profile"_a = nb::none())
      .def("run_values", &run_values, "feed"_a.none(), "outputs"_a = nb::none(),
           "cancel"_a = nb::none(), "profile"_a = nb::none());
}

}  // namespace onrush::python
