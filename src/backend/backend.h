// What runs graphs: the one place with virtual functions. A backend compiles a lowered graph into
// an Executable for all sizes that meet the graph's guards; binding gives it concrete sizes.
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <vector>

#include "ir/graph.h"
#include <onrush/tensor.h>

namespace onrush {

// What one run may use; belongs to one thread at a time. Kept for further runs, it saves them the
// allocations.
struct RunState {
  const std::atomic<bool>* cancel = nullptr;
  // Of the segment at hand.
  std::vector<Tensor> inputs, outputs;
  std::vector<int64_t> sizes;
  // Throws Error{cancelled} if the caller asked to stop. Steps call it between pieces of work.
  void check_cancelled() const;
};

// An executable at concrete sizes. Immutable; run() may be called from several threads.
class Binding {
 public:
  virtual ~Binding() = default;
  // inputs: one tensor each graph input, of the bound shape. outputs: one tensor each graph output;
  // a non-null one is the memory to write that output to, and must fit it, a null one is set.
  virtual void run(RunState& state, std::span<const Tensor> inputs,
                   std::span<Tensor> outputs) const = 0;
};

// Immutable and shared.
class Executable {
 public:
  virtual ~Executable() = default;
  virtual std::shared_ptr<const Binding> bind(SizeTable sizes) const = 0;
};

// Throws Error{invalid_argument} unless the memory that was given for an output fits it.
void check_given(const std::string& output, const Tensor& given, DType dtype, const Shape& shape);

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::shared_ptr<const Executable> compile(Graph graph) = 0;
};

}  // namespace onrush
