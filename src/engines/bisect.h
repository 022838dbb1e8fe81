// The first operator at which two engines part.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/accuracy.h"
#include "onnx/model.h"

namespace onrush::engines {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Runs a model on an engine: its outputs in order. Throws a std::runtime_error where the engine
// fails; anything else that it throws ends the search.
using RunModel =
    std::function<std::vector<Tensor>(const onnx::Model& model, const NamedTensors& inputs)>;

struct Culprit {
  std::string node;     // "conv1 (Conv)"
  std::string value;    // its output in which they differ
  Difference in_model;  // there, in the whole model
  // The smallest part of the model around the node that shows a difference by itself, with inputs
  // that the second engine computed.
  onnx::Model model;
  NamedTensors inputs;
  Difference in_part;
};

// Outputs are different beyond `tolerance`: in relation to the output's largest element.
bool parts(const Difference& difference, double tolerance);

// None if no value of the model differs by more than `tolerance`. All values are made outputs
// first; where that hides a difference, as one that comes from fusing operators, models that end at
// one value are tried in turn. `show` gets a line on each step. Throws Error{unsupported} if the
// engines can give no value of the model as an output.
std::optional<Culprit> bisect(const onnx::Model& model, const NamedTensors& inputs,
                              const RunModel& own, const RunModel& expected, double tolerance,
                              const std::function<void(std::string_view)>& show);

}  // namespace onrush::engines
