// What ONNX asks of a model apart from the meaning of its operators.
#pragma once

#include "onnx/model.h"

namespace onrush::onnx {

inline constexpr int64_t kNewestIrVersion = 14;
inline constexpr int64_t kNewestOpset = 28;  // of ai.onnx

// Throws Error{invalid_model} unless
// - IR version and operator sets are stated (old IR versions 1 and 2 imply opset 1), and every
//   node's domain is imported or belongs to a function of the model;
// - inputs, initializers and node outputs of a graph are named, each name once (an initializer may
//   share an input's name: it is its default);
// - every name a node or graph output uses is defined before it, in the graph or one around it;
// - attributes of a node and functions of a model are distinct, and only functions, for attributes
//   they declare, refer to attributes of their caller;
// - at most 1000 operator sets are imported, each once.
// Throws Error{unsupported} for an IR version or ai.onnx opset newer than the constants above.
//
// REQUIRES: nodes in topological order (sort_nodes), graphs nested no deeper than the stack allows.
void check_model(const Model& model);

}  // namespace onrush::onnx
