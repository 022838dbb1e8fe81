// Stands in for cuDNN's graph interface: it computes nothing, but puts a kernel on the stream and
// says what it was asked to compute. FAKE_CUDNN_VERSION: what it says it is; FAKE_CUDNN_INCOMPLETE:
// it lacks a function.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/cudnn_api.h"

#ifndef FAKE_CUDNN_VERSION
#define FAKE_CUDNN_VERSION 91900
#endif

namespace {

namespace cudnn = onrush::cuda::cudnn;

constexpr int kBad = 2000, kNotSupported = 3000;

struct Object;
using ObjectPtr = std::shared_ptr<Object>;
struct Object {
  int kind;
  bool finished = false;
  std::map<int, std::vector<int64_t>> numbers;
  std::map<int, std::vector<ObjectPtr>> objects;
  std::map<int, std::vector<void*>> pointers;

  int64_t number(int attribute) const { return numbers.at(attribute).at(0); }
  const Object& object(int attribute) const { return *objects.at(attribute).at(0); }
};
struct Handle {
  ObjectPtr object;
};

std::mutex mutex;  // of all below
int live = 0;
std::map<std::string, int> settings;
std::string executed;
void* stream_in_use;

struct Engine {
  std::vector<int> notes;
  std::map<int, int64_t> knobs;
  int64_t workspace;
};
const std::map<int64_t, Engine> kEngines = {
    {1, {{cudnn::tensor_core}, {{2, 0}, {14, 3}}, 0}},
    {2, {{cudnn::tensor_core, cudnn::down_convert_inputs}, {}, 0}},
    {3, {{cudnn::winograd}, {}, 0}},
    {4, {{}, {}, int64_t{64} << 20}},
    {5, {{}, {{24, 7}}, 1000}},
    {6, {{}, {}, 0}},  // takes no graph
    {7, {{cudnn::nondeterministic}, {}, 0}},
    {8, {{cudnn::reduced_precision_reduction}, {}, 0}},
    {9, {{cudnn::tensor_core}, {}, 0}},
};

ObjectPtr config_of(int64_t index) {
  const Engine& engine = kEngines.at(index);
  auto config = std::make_shared<Object>(Object{cudnn::engine_config, true, {}, {}, {}});
  auto of = std::make_shared<Object>(Object{cudnn::engine, true, {}, {}, {}});
  of->numbers[cudnn::engine_index] = {index};
  of->numbers[cudnn::engine_notes].assign(engine.notes.begin(), engine.notes.end());
  config->objects[cudnn::config_engine] = {of};
  for (const auto& [type, value] : engine.knobs) {
    auto knob = std::make_shared<Object>(Object{cudnn::knob_choice, true, {}, {}, {}});
    knob->numbers = {{cudnn::knob_type, {type}}, {cudnn::knob_value, {value}}};
    config->objects[cudnn::config_knobs].push_back(knob);
  }
  return config;
}

std::string list(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t number : numbers) text += (text.empty() ? "" : ",") + std::to_string(number);
  return text;
}

// "2[1,8,9,9 648,1,72,8 as 2 by 16]".
std::string tensor_text(const Object& tensor) {
  const bool is_virtual = tensor.numbers.contains(cudnn::tensor_is_virtual),
             is_value = tensor.numbers.contains(cudnn::tensor_is_value);
  const std::string id = is_virtual ? "v" : std::to_string(tensor.number(cudnn::tensor_id));
  return (is_value ? "value " : "") + id + "[" + list(tensor.numbers.at(cudnn::tensor_extents)) +
         " " + list(tensor.numbers.at(cudnn::tensor_strides)) + " as " +
         std::to_string(tensor.number(cudnn::tensor_type)) + " by " +
         std::to_string(tensor.number(cudnn::tensor_alignment)) + "]";
}

std::string operation_text(const Object& operation) {
  if (operation.kind == cudnn::convolution_operation) {
    const Object& windows = operation.object(cudnn::convolution_descriptor);
    return "convolution " + list(windows.numbers.at(cudnn::convolution_strides)) + " " +
           list(windows.numbers.at(cudnn::convolution_dilations)) + " " +
           list(windows.numbers.at(cudnn::convolution_before)) + " " +
           list(windows.numbers.at(cudnn::convolution_after)) + " " +
           tensor_text(operation.object(cudnn::convolution_x)) + " " +
           tensor_text(operation.object(cudnn::convolution_w)) + " -> " +
           tensor_text(operation.object(cudnn::convolution_y)) + "\n";
  }
  const int64_t mode = operation.object(cudnn::pointwise_descriptor).number(cudnn::pointwise_mode);
  std::string text = mode == cudnn::add ? "add" : mode == cudnn::mul ? "mul" : "relu";
  if (operation.objects.contains(cudnn::pointwise_b))
    text += " " + tensor_text(operation.object(cudnn::pointwise_b));
  return text + " -> " + tensor_text(operation.object(cudnn::pointwise_y)) + "\n";
}

// What each operation takes is what the one before gives.
bool is_chain(const std::vector<ObjectPtr>& operations) {
  const Object* last = nullptr;
  for (const ObjectPtr& operation : operations) {
    const bool first = operation->kind == cudnn::convolution_operation;
    if (first != (last == nullptr)) return false;
    if (!first && &operation->object(cudnn::pointwise_x) != last) return false;
    last = &operation->object(first ? int{cudnn::convolution_y} : int{cudnn::pointwise_y});
  }
  return last && !last->numbers.contains(cudnn::tensor_is_virtual);
}

// Whether the extents of the result are those that windows give.
bool fits(const Object& operation) {
  const Object& windows = operation.object(cudnn::convolution_descriptor);
  const auto& x = operation.object(cudnn::convolution_x).numbers.at(cudnn::tensor_extents);
  const auto& w = operation.object(cudnn::convolution_w).numbers.at(cudnn::tensor_extents);
  const auto& y = operation.object(cudnn::convolution_y).numbers.at(cudnn::tensor_extents);
  const auto at = [&](int attribute, size_t i) { return windows.numbers.at(attribute).at(i); };
  bool all = x[0] == y[0] && w[0] == y[1] && x[1] % w[1] == 0;
  for (size_t i = 0; i + 2 < x.size(); ++i) {
    const int64_t window = (w[i + 2] - 1) * at(cudnn::convolution_dilations, i) + 1;
    const int64_t room =
        x[i + 2] + at(cudnn::convolution_before, i) + at(cudnn::convolution_after, i) - window;
    all = all && room >= 0 && room / at(cudnn::convolution_strides, i) + 1 == y[i + 2];
  }
  return all;
}

int finish(Object& object) {
  if (object.kind == cudnn::operation_graph)
    return settings["fail_graph"] || !is_chain(object.objects.at(cudnn::graph_operations))
               ? kNotSupported
               : 0;
  if (object.kind == cudnn::convolution_operation) return fits(object) ? 0 : kBad;
  if (object.kind == cudnn::heuristics) {
    const bool is_a = object.number(cudnn::heuristics_mode) == cudnn::mode_a;
    if (is_a && settings["fail_mode_a"]) return kNotSupported;
    for (const int64_t engine :
         is_a ? std::vector<int64_t>{2, 1, 3, 4, 5, 6, 1, 7, 8} : std::vector<int64_t>{9, 5})
      object.objects[cudnn::heuristics_results].push_back(config_of(engine));
  }
  if (object.kind == cudnn::engine)
    return kEngines.contains(object.number(cudnn::engine_index)) ? 0 : kBad;
  if (object.kind == cudnn::execution_plan) {
    const Object& engine = object.object(cudnn::plan_config).object(cudnn::config_engine);
    const int64_t index = engine.number(cudnn::engine_index);
    if (index == 6) return kNotSupported;
    ++settings["plans"];
    object.numbers[cudnn::plan_workspace] = {kEngines.at(index).workspace};
  }
  return 0;
}

}  // namespace

extern "C" {

void fake_cudnn_set(const char* name, int value) {
  const std::lock_guard lock(mutex);
  settings[name] = value;
}
int fake_cudnn_get(const char* name) {
  const std::lock_guard lock(mutex);
  return std::string(name) == "live" ? live : settings[name];
}
// What was executed last.
const char* fake_cudnn_executed() { return executed.c_str(); }

size_t cudnnGetVersion() { return FAKE_CUDNN_VERSION; }
const char* cudnnGetErrorString(int) { return "FAKE_CUDNN_ERROR"; }
int cudnnCreate(void** handle) {
  const std::lock_guard lock(mutex);
  *handle = new int;
  ++live;
  return 0;
}
int cudnnDestroy(void* handle) {
  const std::lock_guard lock(mutex);
  delete static_cast<int*>(handle);
  --live;
  return 0;
}
int cudnnSetStream(void*, void* stream) {
  const std::lock_guard lock(mutex);
  stream_in_use = stream;
  return 0;
}

int cudnnBackendCreateDescriptor(int kind, void** handle) {
  const std::lock_guard lock(mutex);
  *handle = new Handle{std::make_shared<Object>(Object{kind, false, {}, {}, {}})};
  ++live;
  return 0;
}
int cudnnBackendDestroyDescriptor(void* handle) {
  const std::lock_guard lock(mutex);
  delete static_cast<Handle*>(handle);
  --live;
  return 0;
}
int cudnnBackendFinalize(void* handle) {
  const std::lock_guard lock(mutex);
  Object& object = *static_cast<Handle*>(handle)->object;
  const int status = finish(object);
  object.finished = status == 0;
  return status;
}

int cudnnBackendSetAttribute(void* handle, int attribute, int type, int64_t count,
                             const void* elements) {
  const std::lock_guard lock(mutex);
  Object& object = *static_cast<Handle*>(handle)->object;
  if (object.finished || count < 1) return kBad;
  for (int64_t i = 0; i < count; ++i) {
    const auto at = [&](auto value) {
      std::memcpy(&value,
                  static_cast<const char*>(elements) + static_cast<size_t>(i) * sizeof value,
                  sizeof value);
      return value;
    };
    if (type == cudnn::type_descriptor) {
      const ObjectPtr& other = static_cast<Handle*>(at(static_cast<void*>(nullptr)))->object;
      if (!other->finished) return kBad;
      object.objects[attribute].push_back(other);
    } else if (type == cudnn::type_pointer || type == cudnn::type_handle) {
      object.pointers[attribute].push_back(at(static_cast<void*>(nullptr)));
    } else {
      object.numbers[attribute].push_back(type == cudnn::type_int64     ? at(int64_t{})
                                          : type == cudnn::type_boolean ? int64_t{at(bool{})}
                                          : type == cudnn::type_float
                                              ? static_cast<int64_t>(at(float{}))
                                              : int64_t{at(int{})});
    }
  }
  return 0;
}

int cudnnBackendGetAttribute(void* handle, int attribute, int type, int64_t requested,
                             int64_t* count, void* elements) {
  const std::lock_guard lock(mutex);
  const Object& object = *static_cast<Handle*>(handle)->object;
  if (!object.finished) return kBad;
  if (type == cudnn::type_descriptor) {
    const auto found = object.objects.find(attribute);
    *count = found == object.objects.end() ? 0 : static_cast<int64_t>(found->second.size());
    for (int64_t i = 0; i < std::min(*count, requested); ++i)
      static_cast<Handle**>(elements)[i]->object = found->second[static_cast<size_t>(i)];
    return 0;
  }
  const auto found = object.numbers.find(attribute);
  if (found == object.numbers.end()) return kBad;
  *count = static_cast<int64_t>(found->second.size());
  for (int64_t i = 0; i < std::min(*count, requested); ++i) {
    const int64_t number = found->second[static_cast<size_t>(i)];
    if (type == cudnn::type_int64) static_cast<int64_t*>(elements)[i] = number;
    else static_cast<int*>(elements)[i] = static_cast<int>(number);
  }
  return 0;
}

#ifdef FAKE_CUDNN_INCOMPLETE
#define cudnnBackendExecute cudnnBackendExecuteUnderAnotherName
#endif
int cudnnBackendExecute(void*, void* plan_handle, void* pack_handle) {
  const std::lock_guard lock(mutex);
  const Object& plan = *static_cast<Handle*>(plan_handle)->object;
  const Object& pack = *static_cast<Handle*>(pack_handle)->object;
  const Object& config = plan.object(cudnn::plan_config);
  const Object& engine = config.object(cudnn::config_engine);
  executed = "engine " + std::to_string(engine.number(cudnn::engine_index));
  if (const auto knobs = config.objects.find(cudnn::config_knobs); knobs != config.objects.end())
    for (const ObjectPtr& knob : knobs->second)
      executed += " " + std::to_string(knob->number(cudnn::knob_type)) + "=" +
                  std::to_string(knob->number(cudnn::knob_value));
  executed += "\n";
  for (const ObjectPtr& operation :
       engine.object(cudnn::engine_graph).objects.at(cudnn::graph_operations))
    executed += operation_text(*operation);
  for (size_t i = 0; i < pack.numbers.at(cudnn::pack_ids).size(); ++i) {
    const int64_t id = pack.numbers.at(cudnn::pack_ids)[i];
    void* const at = pack.pointers.at(cudnn::pack_pointers)[i];
    executed +=
        std::to_string(id) + " at " + std::to_string(reinterpret_cast<uintptr_t>(at)) + "\n";
  }
  executed +=
      "workspace at " +
      std::to_string(reinterpret_cast<uintptr_t>(pack.pointers.at(cudnn::pack_workspace).at(0))) +
      "\n";
  // One kernel.
  static const auto launch = reinterpret_cast<int (*)(const void*, void*, void**, void**)>(
      dlsym(dlopen(std::getenv("ONRUSH_LIBCUDA"), RTLD_NOW), "cuLaunchKernelEx"));
  char shape[8 * sizeof(unsigned) + sizeof(void*)] = {};  // the stream follows seven sizes
  std::memcpy(shape + 8 * sizeof(unsigned), &stream_in_use, sizeof stream_in_use);
  return launch(shape, nullptr, nullptr, nullptr);
}
}
