// Linear quantisation for operators of several files.
#pragma once

#include <optional>

#include "lower/op_context.h"

namespace onrush {

// y in units of the scale, rounded and shifted by the zero point, as `dtype`; out of range becomes
// the nearest end. Float formats have no zero point. REQUIRES: zero_point broadcasts against y.
NodeId quantize(Builder& b, NodeId y, std::optional<NodeId> zero_point, DType dtype,
                bool saturate = true);

}  // namespace onrush
