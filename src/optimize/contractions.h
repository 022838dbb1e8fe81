// Dots and convolutions in one form:
//   - zero padding before a convolution, and padding that cannot win before a window, is theirs
//   - a transposed convolution whose kernel is as large as its stride is a dot, and its result a
//     reshape and a transpose
//   - batch and free axes of extent 1 are dropped, and batch axes that both operands merged are
//   several
//   - reshapes that leave the contracted and batch axes alone come after the dot
#pragma once

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

Graph contractions(Graph graph, const OptimizeOptions& options);

}  // namespace onrush
