// onrush._core: the typed layer below the Python module. Its functions are documented in
// onrush/_core.pyi; everything users see is made of it in Python.
#include <cstdio>
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "backend/cuda/cuda_backend.h"
#include "cli/program.h"
#include "gil.h"
#include "io_binding.h"
#include "ort_value.h"
#include "session.h"
#include <onrush/device_memory.h>
#include <onrush/error.h>

namespace onrush::python {
namespace {

// onrush::Error becomes onrush.errors.Error, which is written in Python.
void translate(const std::exception_ptr& exception, void* /*payload*/) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    const nb::object type = nb::module_::import_("onrush.errors").attr("Error");
    PyErr_SetObject(type.ptr(), type(to_string(error.code()), error.what()).ptr());
  }
}

int program(std::vector<std::string> arguments) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);  // as main() has it
  const ReleasedGil release;
  const int exit_code = cli::program(static_cast<int>(arguments.size()), pointers.data());
  std::fflush(stdout);
  return exit_code;
}

// Where pip has put packages for this interpreter.
std::vector<std::string> package_folders() {
  std::vector<std::string> folders;
  for (nb::handle entry : nb::module_::import_("sys").attr("path"))
    if (std::string folder; nb::try_cast(entry, folder) && folder.ends_with("-packages"))
      folders.push_back(folder);
  return folders;
}

NB_MODULE(_core, module) {
  // An interpreter that ends drops nothing that its daemon threads work with: no leak to report.
  nb::set_leak_warnings(false);
  import_numpy();
  add_wheel_folders(package_folders());
  nb::register_exception_translator(&translate);
  bind_ort_value(module);
  bind_session(module);
  bind_io_binding(module);
  module.def("dtype_from_numpy",
             [](nb::handle dtype) { return static_cast<int>(dtype_from_numpy(dtype)); });
  module.def("program", &program);
  module.def("why_no_cuda", &why_no_cuda, nb::call_guard<ReleasedGil>());
  module.def("cuda_device_count", &cuda_device_count);
  module.def("synchronize", [](nb::handle device) {
    const Device where = device_from(device);
    const ReleasedGil release;
    synchronize(where);
  });
  module.attr("version") = version();
}

}  // namespace
}  // namespace onrush::python
