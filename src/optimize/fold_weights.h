// Arithmetic with weights moved into weights, where it is done once per session: the product of a
// weight and a factor is a node over constants.
//
//   - conv(x, w) * c, dot(x, w) * c and their sums with a bias, c depending on weights only and one
//     number an output channel: w * c; also through reshapes and transposes that keep channels
//     apart, and through slices and concats where c is one number
//   - conv(x * c, w), dot(x * c, w): w * c
//   - (x + b) + d: x + (b + d)
//   - a number that scales dot(a, b): into what computes a or b, else it stays behind the product
//
// A weight that somebody else uses as well is left alone; so is a scaled value that is used twice.
#pragma once

#include "ir/graph.h"
#include "optimize/options.h"

namespace onrush {

Graph fold_weights(Graph graph, const OptimizeOptions& options);

}  // namespace onrush
