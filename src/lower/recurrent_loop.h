// A loop primitive from a function that writes one trip.
#pragma once

#include <functional>
#include <vector>

#include "ir/builder.h"

namespace onrush {

// Operands of a loop outside, and what stands for them inside its body.
struct LoopValues {
  std::vector<NodeId> carried;   // inside: the value left by the trip before
  std::vector<NodeId> scanned;   // axis 0 counts the trips; inside: one trip's element
  std::vector<NodeId> captured;  // the same in every trip
};
struct LoopResults {
  std::vector<NodeId> carried;  // of the trip; of the last one outside
  std::vector<NodeId> stacked;  // of the trip; of all trips along a new axis 0 outside
};
using LoopBody = std::function<LoopResults(Builder& body, const LoopValues& values)>;

// If `reverse`, trips run from the last scanned element to the first; stacked results still stand
// where the elements stand that they belong to.
// Throws Error{invalid_model} where a carried value changes its shape or scanned ones differ in
// length. REQUIRES: carried values keep their dtypes.
LoopResults build_loop(Builder& b, Dim trips, bool reverse, const LoopValues& values,
                       const LoopBody& body);

}  // namespace onrush
