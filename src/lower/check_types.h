// Whether the values that operators are given have types that they take, as far as types are known
// without running anything.
#pragma once

#include "lower/op_schema.h"

namespace onrush {

// Throws Error{invalid_model} that names file and node where
// - an operator is given a type that it does not take, or several where it wants one;
// - a value has another type than the model declares;
// - a loop's body has not as many inputs, or other ones, than the node gives it, or a node's body
// not
//   as many outputs as the node.
//
// REQUIRES: check_operators has passed.
void check_types(const onnx::Model& model);

}  // namespace onrush
