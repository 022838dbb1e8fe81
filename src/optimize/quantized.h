// Quantised networks as they are written: integers are dequantised to f32, worked on, and quantised
// again. With real = (integer - zero) * scale,
//   - a dot or convolution of two such operands of 8 bits is one of the integers, summed as i32,
//     whose sums are scaled: exact but for the one rounding, where sums of f32 round each term
//   - the maximum of a window is that of the integers, and what is gathered is integers
//   - what is dequantised, moved about and quantised alike is the integers
// A scale must be one number along whatever is summed over.
#pragma once

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

Graph quantized(Graph graph, const OptimizeOptions& options);

}  // namespace onrush
