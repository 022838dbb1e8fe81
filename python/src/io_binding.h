// onnxruntime's IOBinding: inputs and outputs fixed ahead of runs.
#pragma once

#include <nanobind/nanobind.h>

namespace onrush::python {

void bind_io_binding(nanobind::module_& module);

}  // namespace onrush::python
