#include "explain/first_nan.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <set>

#include "base/numeric.h"
#include "runtime/session_impl.h"

namespace onrush::explain {
namespace {

bool has_nan(const Value& value) {
  if (!value.is_tensor() || !is_float(value.tensor().dtype())) return false;
  const Tensor& tensor = value.tensor();
  for (int64_t i = 0; i < tensor.count(); ++i)
    if (std::isnan(load_f64(tensor.dtype(), tensor.data(), i))) return true;
  return false;
}

std::string range_of(const Tensor& tensor) {
  if (!is_float(tensor.dtype()) || tensor.count() == 0) return "";
  double low = INFINITY, high = -INFINITY;
  for (int64_t i = 0; i < tensor.count(); ++i) {
    const double x = load_f64(tensor.dtype(), tensor.data(), i);
    low = std::min(low, x), high = std::max(high, x);
  }
  return fmt::format(" in [{:.4g}, {:.4g}]", low, high);
}

// The model with every tensor of its main graph as an output.
onnx::Model with_all_outputs(onnx::Model model) {
  std::set<std::string> known;
  for (const onnx::ValueInfo& output : model.graph.outputs) known.insert(output.name);
  for (const onnx::Node& node : model.graph.nodes)
    for (const std::string& output : node.outputs)
      if (!output.empty() && known.insert(output).second) {
        onnx::ValueInfo info;
        info.name = output;
        model.graph.outputs.push_back(std::move(info));
      }
  return model;
}

// Every tensor of the main graph that a run on the CPU, without fusion, gives.
std::map<std::string, Value> all_values(const onnx::Model& model, const NamedValues& inputs) {
  onnx::Model wide = with_all_outputs(model);
  std::vector<std::string> names;
  for (const onnx::ValueInfo& output : wide.graph.outputs) names.push_back(output.name);
  Session::Impl session(std::move(wide), {.optimization_level = 0});
  std::vector<Value> results;
  session.run(inputs, names, {}, results);
  std::map<std::string, Value> values(inputs.begin(), inputs.end());
  for (const onnx::Initializer& weight : model.graph.initializers)
    values.insert({weight.name, weight.tensor});
  for (size_t i = 0; i < names.size(); ++i) values.insert({names[i], results[i]});
  return values;
}

std::string culprit(const onnx::Model& model, const std::map<std::string, Value>& values) {
  for (const auto& [name, value] : values) {
    const bool weight =
        std::ranges::count(model.graph.initializers, name, &onnx::Initializer::name);
    const bool input = std::ranges::count(model.graph.inputs, name, &onnx::ValueInfo::name);
    if ((weight || input) && has_nan(value))
      return fmt::format("{} '{}' holds some itself", weight ? "weight" : "input", name);
  }
  for (const onnx::Node& node : model.graph.nodes) {
    const bool bad = std::ranges::any_of(node.outputs, [&](const std::string& output) {
      const auto found = values.find(output);
      return found != values.end() && has_nan(found->second);
    });
    if (!bad) continue;
    std::vector<std::string> operands;
    for (const std::string& input : node.inputs)
      if (const auto found = values.find(input); found != values.end() && found->second.is_tensor())
        operands.push_back(fmt::format("'{}'{}", input, range_of(found->second.tensor())));
    return fmt::format("the first are made by node '{}' ({}) of {}",
                       node.name.empty() ? node.outputs[0] : node.name, node.op_type,
                       fmt::join(operands, ", "));
  }
  return "a run in fp32 on the CPU has none: the precision of this run is too small for the model";
}

}  // namespace

std::string first_nan(const Session& session, const NamedValues& inputs) {
  const std::vector<Value> outputs = session.run(inputs);
  std::vector<std::string> bad;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (has_nan(outputs[i])) bad.push_back(fmt::format("'{}'", session.outputs()[i].name));
  if (bad.empty()) return "";
  const onnx::Model& model = session.impl().model();
  return fmt::format("Output {} holds NaN, so times say little: {}.", fmt::join(bad, ", "),
                     culprit(model, all_values(model, inputs)));
}

}  // namespace onrush::explain
