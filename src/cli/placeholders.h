// Stand-ins for weights whose file is not there, good enough to compile with.
#pragma once

#include <cstdint>

#include "onnx/model.h"

namespace onrush::cli {

// Gives every tensor without data (see LoadOptions::allow_missing_external_data) elements of its
// own: floats are positive and without a pattern, so that no pass takes them for constants like 0
// and 1 or for each other; all others are 1. Returns the bytes filled.
uint64_t fill_missing_weights(onnx::Model& model);

}  // namespace onrush::cli
