// The kernels of a schedule in their order of execution, for all sizes.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "codegen/loops.h"
#include "fuse/schedule.h"
#include <onrush/profile.h>

namespace onrush {

// softmax(scores) values: three groups as one. The scores' epilogue stores to buffer -1, and the
// values' left operand is not used.
struct Attention {
  Contraction scores, values;
  bool nan_to_zero;  // rows of the softmax that are no numbers count as zeros
};

// A primitive that the backend has kernels of its own for.
struct DevicePrimitive {
  NodeId node;
};

// One group of the schedule (which must outlive it) as kernels. NodeId: a primitive that the host
// evaluates by itself.
struct Step {
  const Group* group;
  std::variant<std::vector<Loops>, Contraction, NodeId, Attention, DevicePrimitive> kernel;
  std::shared_ptr<const ProfiledStep> profiled;  // how profiles call it
};

Step make_step(const Schedule& schedule, const Group& group);
// A concatenation whose parts are written by those who make them.
bool does_nothing(const Step& step);

// The values whose memory a step reads or writes, besides those it makes itself; with repetitions.
std::vector<NodeId> memory_of(const Graph& graph, const Step& step);

// A seed that no other call in this process gives.
uint64_t fresh_seed();
// The node, with a seed of its own where the model gives none: for random_bits, which then differ
// from run to run.
Node with_fresh_seed(const Node& node);

std::string to_string(const Schedule& schedule, const Step& step);

}  // namespace onrush
