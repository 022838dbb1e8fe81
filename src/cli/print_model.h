// The weights and nodes of an ONNX graph as text, one a line, subgraphs indented below their node:
//
//   weight w : float [8,8]
//   y, mask = Dropout(x, ratio) {seed=3}  # drop1
//   z = If(y)
//     then_branch() -> (t):
//       t = Identity(w)
#pragma once

#include <string>

#include "onnx/model.h"

namespace onrush::cli {

std::string body_text(const onnx::Graph& graph, int indent = 0);

}  // namespace onrush::cli
