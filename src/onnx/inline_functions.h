// Calls of a model's own functions replaced by the functions' bodies.
#pragma once

#include <cstdint>

#include "onnx/model.h"

namespace onrush::onnx {

// Functions that call functions grow a model exponentially; these bounds keep a small file from
// filling the memory.
struct InlineLimits {
  int64_t nodes = 10'000'000;        // visited or made while inlining
  int64_t bytes = int64_t{4} << 30;  // of names and attribute values copied into bodies
};

// Afterwards no node calls a function of the model and `functions` is empty. A function takes
// precedence over an operator of the same domain and name.
// - Values of a body are renamed to "<call>/<name>", made unique across the model; nodes are named
//   alike. Nodes stay in topological order.
// - A reference to an attribute of the caller becomes its value, else the function's default, else
//   the attribute goes.
// - An absent optional input is absent wherever the body uses it. An input that is also an output
//   passes through an Identity.
// - Node::opset_version is set where the function imports another version than the model; domains
//   that only functions import are added to the model's.
//
// REQUIRES: a model that passes check_model. Throws Error{invalid_model} for functions that call
// each other in a circle, Error{unsupported} beyond the limits or a nesting of 128 calls and
// graphs; the model is then unchanged.
void inline_functions(Model& model, const InlineLimits& limits = {});

}  // namespace onrush::onnx
