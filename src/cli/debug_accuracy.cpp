#include "cli/debug_accuracy.h"

#include <fmt/format.h>
#include <fstream>

#include "base/check.h"
#include "engines/accuracy.h"
#include "npy/npy.h"
#include "onnx/decode.h"
#include "onnx/encode.h"

namespace onrush::cli {
namespace {

std::string shown(const engines::Difference& d) {
  if (!d.mismatch.empty()) return d.mismatch;
  if (!d.first_nan.empty()) return "NaN at " + d.first_nan;
  return fmt::format("by {:.2g} ({:.2g} of the largest element)", d.absolute, d.relative);
}

}  // namespace

std::string debug_accuracy(const std::string& folder, double tolerance, const MeasuredModel& model,
                           const InputFile& inputs, engines::Contestant& own,
                           engines::Contestant& expected, const engines::ContestOptions& options,
                           const engines::ShowProgress& show) {
  if (expected.name.starts_with("pytorch"))
    fail(ErrorCode::invalid_argument,
         "--debug-accuracy needs an engine that runs ONNX models: choose one with --against");
  engines::NamedTensors tensors;
  const NpzFile file(inputs.path);
  for (const Argument& input : model.inputs)
    tensors.emplace_back(input.name, file.read(input.name, input.dtype));
  const auto runner = [&](engines::Contestant& contestant) -> engines::RunModel {
    return [&](const onnx::Model& part, const engines::NamedTensors& values) {
      return engines::run_other_model(contestant, part, values, options);
    };
  };
  const auto culprit = engines::bisect(onnx::load(model.path), tensors, runner(own),
                                       runner(expected), tolerance, show);
  if (!culprit)
    return fmt::format(
        "{} and {} agree in all values of the model (to {:g} of the largest element).", own.name,
        expected.name, tolerance);
  const std::string model_path = folder + "/model.onnx";
  const std::string inputs_path = folder + "/inputs.npz";
  if (!(std::ofstream(model_path, std::ios::binary) << onnx::encode(culprit->model)))
    fail(ErrorCode::invalid_argument, "cannot write {}", model_path);
  write_npz(inputs_path, culprit->inputs);
  const size_t nodes = culprit->model.graph.nodes.size();
  std::string text =
      fmt::format("{} and {} first part at {}, in '{}': {}. ", own.name, expected.name,
                  culprit->node, culprit->value, shown(culprit->in_model));
  if (nodes > 1)
    text += fmt::format("The node alone does not show it; the last {} nodes do. ", nodes);
  return text +
         fmt::format("{} and {} show it: {}.", model_path, inputs_path, shown(culprit->in_part));
}

}  // namespace onrush::cli
