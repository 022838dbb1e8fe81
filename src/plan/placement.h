// Where the bytes of every value are during a run at concrete sizes.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "ir/graph.h"
#include "plan/steps.h"

namespace onrush {

struct Place {
  enum class Kind : uint8_t {
    none,
    fixed,   // known before the run: a weight, or a tensor of dims
    input,   // of the graph, by index
    output,  // of the graph, by index: written in place
    arena,   // at an offset
    tensor,  // made by a host step, by index
  };
  Kind kind = Kind::none;
  int index = 0;
  int64_t offset = 0;
  void* data = nullptr;
};

struct Placement {
  std::vector<Place> places;      // by node
  std::vector<Place> workspaces;  // by step; anywhere where the step needs no memory of its own
  int64_t arena_bytes = 0;
  std::vector<int64_t> live_bytes;  // by step: of the arena, what holds a value
  int tensors = 0;
};

// `storage`: the dtype of each node in memory. `places` has the fixed ones filled in; inputs,
// results of the steps and workspaces (bytes by step) are placed here. Values share memory where
// their lives do not meet. `in_place`: by step, the operand whose memory its result takes if that
// is the last to read it; empty: of none.
Placement place(const Schedule& schedule, std::span<const Step* const> steps,
                const SizeTable& sizes, std::span<const DType> storage, std::vector<Place> places,
                std::span<const int64_t> workspace_bytes,
                std::span<const std::optional<NodeId>> in_place = {});

Shape concrete_shape(const Dims& dims, const SizeTable& sizes);
// The sizes that the graph was lowered with.
SizeTable sizes_at_hand(const ShapeContext& shapes);

}  // namespace onrush
