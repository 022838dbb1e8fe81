// Models loaded for Python: onrush::Session with numpy in and out.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <nanobind/nanobind.h>
#include <string>
#include <unordered_map>
#include <vector>

#include "runtime/session_impl.h"

namespace onrush::python {

namespace nb = nanobind;

// A request to stop runs; may be set and read from any thread.
struct CancelFlag {
  std::atomic<bool> requested{false};
};

// Where the time of runs went; thread safe.
class Profile {
 public:
  void add(RunProfile run);
  // (thread, start, duration, [(kind, name, nodes, start, duration)]) of each run; times in ns.
  nb::list runs() const;

 private:
  struct Run {
    RunProfile profile;
    int64_t thread;  // the system's number of it
  };
  mutable std::mutex mutex_;
  std::vector<Run> runs_;
};

// How a model is loaded.
struct LoadOptions {
  onrush::SessionOptions session;
  void* stream = nullptr;                                // RunOptions::stream of all runs
  std::unordered_map<std::string, int64_t> dims;         // sizes of named dims of the inputs
  std::unordered_map<std::string, Tensor> initializers;  // replace those of the model
};

// Thread safe. The GIL is held when a function is called, and released while models load and run.
class PySession {
 public:
  // `source`: a path (str) or the model itself (bytes, whose memory is shared).
  PySession(nb::handle source, const LoadOptions& options);
  // In a process that was forked from the session's own, nothing of it is freed: its threads, which
  // would have to end first, are not there.
  ~PySession();

  // A value for each of `feed` (a dict by name of input); see value_from_object. `arrays_on` is set
  // to the device of those that are arrays of other libraries on a GPU.
  NamedValues values(nb::handle feed, Device& arrays_on) const;
  Value value(const std::string& input, nb::handle object) const;

  // The values of `outputs` into `results`. `options.outputs` are where some of them go; the others
  // share no memory with `inputs`, and lie where `options.results_on` says. A run on the stream
  // given when loading may go on when this returns, if all outputs are in the caller's memory on
  // the GPU. No `outputs`: all of them, of which none has a place to go. The rest of `options` is
  // set here. `cancel` and `profile` may be null.
  void run(const NamedValues& inputs, const std::vector<std::string>& outputs, RunOptions& options,
           const CancelFlag* cancel, Profile* profile, std::vector<Value>& results) const;

  // Waits for such runs.
  void wait() const;

  const Session::Impl& impl() const { return *impl_; }

 private:
  void check_process() const;

  std::unique_ptr<Session::Impl> impl_;
  void* stream_;
  std::unordered_map<std::string, const onnx::Type*> input_types_;
  int process_generation_;
};

// Throws nb::type_error unless `names` is None (gives {}) or a list of str.
std::vector<std::string> output_names(nb::handle names);

void bind_session(nb::module_& module);

}  // namespace onrush::python
