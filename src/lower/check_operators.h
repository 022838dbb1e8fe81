// Whether the nodes of a model are ones that ONNX allows, before anything is compiled.
#pragma once

#include "onnx/model.h"

namespace onrush {

// Control flow included.
bool is_supported(const onnx::Node& node);

// Throws an Error that names file, node and remedy for the first node, in the graph or in a body,
// - whose operator is not supported: invalid_model if its operator set has none of that name, else
//   unsupported;
// - that has too many or too few inputs or outputs, lacks an attribute that its operator must have,
//   or has one that it has not or of another type: invalid_model.
// REQUIRES: functions are inlined.
void check_operators(const onnx::Model& model);

}  // namespace onrush
