// Steps that are bound together, with all of them that does not depend on sizes.
#pragma once

#include <span>
#include <vector>

#include "plan/placement.h"
#include "plan/steps.h"

namespace onrush::cpu {

class CpuExecutable;

struct StepList {
  struct Range {
    size_t begin = 0, end = 0;
  };
  struct Entry {
    const Step* step;
    const Tensor* packed;  // the right operand of a contraction, if it is known; else null
    size_t twin;           // the first step that is equal but for the memory it works on
    Range memory = {};     // of all its buffers, among those of all steps
    std::vector<Range> kernels = {};  // of its Loops
    Range lhs = {}, rhs = {}, epilogue = {};
  };

  // packed, twins: by step, as above. The executable's prepared values are fixed. in_place: see
  // PlacementPlan.
  StepList(const CpuExecutable& executable, std::span<const Step* const> steps,
           std::span<const Tensor* const> packed, std::span<const size_t> twins,
           std::span<const std::optional<NodeId>> in_place);

  // Brings what binding reads into the cache, all at once: it lies in thousands of places, and runs
  // leave little of it there.
  void prefetch() const;

  std::vector<Entry> entries;
  std::vector<NodeId> sizes;  // nodes that are tensors of sizes
  PlacementPlan placement;
  std::vector<Place> memory;  // of all buffers of all kernels, in the order of the steps

 private:
  std::vector<const void*> lines_;  // of the cache
  std::vector<Place> known_places(const CpuExecutable& executable);
  Range add(const Loops& loops);
};

}  // namespace onrush::cpu
