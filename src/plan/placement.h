// Where the bytes of every value are during a run at concrete sizes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "ir/graph.h"
#include "plan/memory.h"
#include "plan/steps.h"

namespace onrush {

struct Place {
  enum class Kind : uint8_t {
    none,
    fixed,   // known before the run
    sizes,   // made of sizes when they are known, by index
    input,   // of the graph, by index
    output,  // of the graph, by index: written in place
    arena,   // by index among ArenaLayout::lives
    tensor,  // made by a host step, by index
  };
  Kind kind = Kind::none;
  int index = 0;
  void* data = nullptr;  // fixed
};

// The arena at concrete sizes.
struct ArenaLayout {
  std::vector<BufferLife> lives;    // of values, then of workspaces
  std::vector<int64_t> workspaces;  // by step: offset; anything where the step needs no memory
  int64_t bytes = 0;

  // By step: what holds a value.
  std::vector<int64_t> live_bytes() const;
};

// The placement of values as far as it does not depend on sizes.
class PlacementPlan {
 public:
  // `storage`: the dtype of each node in memory. `places`, by node, has those filled in that need
  // no placing (fixed, sizes); inputs and results of the steps are placed here. `in_place`: by
  // step, the operand whose memory its result takes if that is the last to read it; empty: of none.
  PlacementPlan(const Schedule& schedule, std::span<const Step* const> steps,
                std::span<const DType> storage, std::vector<Place> places,
                std::span<const std::optional<NodeId>> in_place = {});

  const Place& operator[](NodeId node) const { return places_[node.index]; }
  int tensors() const { return tensors_; }  // how many places are of that kind

  // Values share memory where their lives do not meet. workspace_bytes: by step.
  ArenaLayout arena(const SizeTable& sizes, std::span<const int64_t> workspace_bytes) const;

 private:
  class Maker;

  struct Life {
    int first, last;
    DType dtype;
    size_t rank;
  };
  struct Join {
    int from, to;  // lives
    int step;
  };
  std::vector<Place> places_;  // by node
  std::vector<Life> lives_;
  Dims extents_;             // of all lives, in their order
  std::vector<Join> joins_;  // in the order of the steps
  int tensors_ = 0;
};

Shape concrete_shape(const Dims& dims, const SizeTable& sizes);
// The sizes that the graph was lowered with.
SizeTable sizes_at_hand(const ShapeContext& shapes);

}  // namespace onrush
