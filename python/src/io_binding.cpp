#include "io_binding.h"

#include <algorithm>
#include <map>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/check.h"
#include "ort_value.h"
#include "session.h"
#include "values.h"
#include <onrush/device_memory.h>

namespace onrush::python {
namespace {

// What a session reads and writes; belongs to one thread at a time.
class IOBinding {
 public:
  // The session must outlive the binding (the caller keeps it alive).
  explicit IOBinding(const PySession& session) : session_(session) {}

  void bind_input(const std::string& name, nb::handle object) {
    inputs_.insert_or_assign(name, session_.value(name, object));
  }
  // Each run makes a new value for the output, on the device.
  void bind_output(const std::string& name, nb::handle device) {
    add_name(name);
    options_.outputs.erase(name);
    made_on_.insert_or_assign(name, device_from(device));
    options_.results_on = {};
    for (const auto& [output, where] : made_on_)
      if (where != Device{}) options_.results_on = where;
  }
  // Runs write the output into the tensor of `value`, whose dtype and shape it must have.
  void bind_ortvalue_output(const std::string& name, const OrtValue& value) {
    add_name(name);
    made_on_.erase(name);
    options_.outputs.insert_or_assign(name, value.tensor("an output's buffer"));
  }
  void clear_inputs() { inputs_.clear(); }
  void clear_outputs() {
    names_.clear();
    made_on_.clear();
    options_ = {};
    results_.clear();
  }

  void run(const CancelFlag* cancel, Profile* profile, bool wait) {
    if (names_.empty()) fail(ErrorCode::invalid_argument, "no output is bound");
    session_.run(inputs_, names_, options_, cancel, profile, results_);
    if (wait) session_.wait();
    if (options_.results_on != Device{}) sort_results();
  }

  std::vector<OrtValue> outputs() const {
    std::vector<OrtValue> values;
    for (const Value& result : results_) values.emplace_back(result);
    return values;
  }

 private:
  void add_name(const std::string& name) {
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
  }

  // Not every output need be wanted on the device on which a run makes them.
  void sort_results() {
    for (size_t i = 0; i < results_.size(); ++i)
      if (const auto place = made_on_.find(names_[i]);
          place != made_on_.end() && results_[i].is_tensor())
        results_[i] = moved_to(place->second, results_[i].tensor());
  }

  const PySession& session_;
  NamedValues inputs_;
  std::vector<std::string> names_;         // of bound outputs, in the order of binding
  std::map<std::string, Device> made_on_;  // of those without memory of the caller's
  RunOptions options_;                     // with the memory of the others
  std::vector<Value> results_;             // of the last run
};

}  // namespace

void bind_io_binding(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<IOBinding>(module, "SessionIOBinding")
      .def(nb::init<const PySession&>(), "session"_a, nb::keep_alive<1, 2>())
      .def("bind_input", &IOBinding::bind_input, "name"_a, "value"_a)
      .def("bind_output", &IOBinding::bind_output, "name"_a, "device"_a = nb::none())
      .def("bind_ortvalue_output", &IOBinding::bind_ortvalue_output, "name"_a, "value"_a)
      .def("clear_binding_inputs", &IOBinding::clear_inputs)
      .def("clear_binding_outputs", &IOBinding::clear_outputs)
      .def("run", &IOBinding::run, "cancel"_a = nb::none(), "profile"_a = nb::none(),
           "wait"_a = true)
      .def("get_outputs", &IOBinding::outputs);
}

}  // namespace onrush::python
