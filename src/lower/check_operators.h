// Whether the operators of a model are known, before anything is compiled.
#pragma once

#include "onnx/model.h"

namespace onrush {

// Control flow included.
bool is_supported(const onnx::Node& node);

// For the first node, in the graph or in a body, whose operator is not supported, throws an Error
// that names file, node and remedy: invalid_model if ai.onnx has no operator of that name, else
// unsupported. REQUIRES: functions are inlined.
void check_operators(const onnx::Model& model);

}  // namespace onrush
