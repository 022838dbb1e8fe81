#include "io_binding.h"

#include <algorithm>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/check.h"
#include "ort_value.h"
#include "session.h"
#include "values.h"

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
  // Each run makes a new value for the output.
  void bind_output(const std::string& name) {
    if (std::find(names_.begin(), names_.end(), name) == names_.end()) names_.push_back(name);
    options_.outputs.erase(name);
  }
  // Runs write the output into the tensor of `value`, whose dtype and shape it must have.
  void bind_ortvalue_output(const std::string& name, const OrtValue& value) {
    bind_output(name);
    options_.outputs.insert_or_assign(name, value.tensor("an output's buffer"));
  }
  void clear_inputs() { inputs_.clear(); }
  void clear_outputs() {
    names_.clear();
    options_.outputs.clear();
    results_.clear();
  }

  void run(const CancelFlag* cancel, Profile* profile) {
    if (names_.empty()) fail(ErrorCode::invalid_argument, "no output is bound");
    session_.run(inputs_, names_, options_, cancel, profile, results_);
  }

  std::vector<OrtValue> outputs() const {
    std::vector<OrtValue> values;
    for (const Value& result : results_) values.emplace_back(result);
    return values;
  }

 private:
  const PySession& session_;
  NamedValues inputs_;
  std::vector<std::string> names_;  // of bound outputs, in the order of binding
  RunOptions options_;              // with the outputs that have memory of the caller's
  std::vector<Value> results_;      // of the last run
};

}  // namespace

void bind_io_binding(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<IOBinding>(module, "SessionIOBinding")
      .def(nb::init<const PySession&>(), "session"_a, nb::keep_alive<1, 2>())
      .def("bind_input", &IOBinding::bind_input, "name"_a, "value"_a)
      .def("bind_output", &IOBinding::bind_output, "name"_a)
      .def("bind_ortvalue_output", &IOBinding::bind_ortvalue_output, "name"_a, "value"_a)
      .def("clear_binding_inputs", &IOBinding::clear_inputs)
      .def("clear_binding_outputs", &IOBinding::clear_outputs)
      .def("run", &IOBinding::run, "cancel"_a = nb::none(), "profile"_a = nb::none())
      .def("get_outputs", &IOBinding::outputs);
}

}  // namespace onrush::python
