// onrush compare --debug-accuracy: where two engines part, and a small model that shows it.
#pragma once

#include <string>

#include "cli/measuring.h"

namespace onrush::cli {

// Writes model.onnx and inputs.npz to `folder`, which is there; gives a sentence on what was found.
// Values are equal that differ by less than `tolerance` of the largest element.
std::string debug_accuracy(const std::string& folder, double tolerance, const MeasuredModel& model,
                           const InputFile& inputs, engines::Contestant& own,
                           engines::Contestant& expected, const engines::ContestOptions& options,
                           const engines::ShowProgress& show);

}  // namespace onrush::cli
