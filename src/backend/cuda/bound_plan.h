// The steps of a plan at concrete sizes: where their values lie, and what is launched for them.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backend/cuda/cuda_executable.h"
#include "backend/cuda/kernel_launch.h"
#include "backend/cuda/library_shape.h"

namespace onrush::cuda {

class BoundPlan;

// What kernels of one kind, by one variant, have in common at concrete sizes.
struct KernelAtSizes {
  struct Pass {
    LaunchShape shape;
    std::vector<int64_t> sizes;  // arguments
  };
  const KernelVariant* variant;
  std::vector<Pass> passes;  // the kernel is launched once for each
  std::vector<BoundMap> maps;
};

// A launch of a kernel at concrete sizes.
struct BoundKernel {
  const StepKernel* source;
  std::shared_ptr<const KernelAtSizes> at;
  const KernelAtSizes::Pass* pass;  // of `at`
  Function function;
  std::vector<NodeId> buffers;  // not valid(): packed weights, or the workspace
  int64_t workspace;            // offset in the arena
  // Where a library computes it: instead of the function, from the left and right operands, the
  // addend and the result, in this order in `buffers`.
  std::shared_ptr<const LibraryKernel> library = nullptr;
};

// A loop at concrete sizes: as many launches of its body's kernels as it has trips. Carried values
// alternate between two slots of the workspace. Elements of scanned and stacked values are used in
// place, or by way of a slot where they are not aligned as kernels need.
struct BoundLoop {
  std::shared_ptr<const BoundPlan> body;
  int64_t trips;
  Tensor numbers;  // of the trips, on the device, kVectorBytes apart
  Function copy;
  // Offsets in the arena.
  int64_t arena = 0;                            // of the body's values
  std::vector<std::array<int64_t, 2>> carried;  // by carried value
  std::vector<int64_t> scanned, stacked;        // by scanned value, by stacked result
};

struct BoundStep {
  const CudaStep* step;
  std::vector<BoundKernel> kernels;
  std::optional<BoundLoop> loop;
};

// Where the graph's inputs and outputs are during a run, as its kernels see them.
using Addresses = std::vector<CUdeviceptr>;  // inputs, then outputs

// Where a run works.
struct RunMemory {
  Addresses addresses;
  CUdeviceptr arena, words;  // of what FrameLayout lays out, of RunWords
};

// The memory of a run.
struct FrameLayout {
  std::vector<size_t> inputs, outputs;  // bytes of those that kernels read and write
  // Offsets in device memory, where the arena comes first, of what host steps make.
  std::vector<size_t> results;
  std::vector<size_t> host_inputs, host_outputs;  // offsets in host memory
  size_t bytes = 0, host_bytes = 0;
};

// pass: of `at`.
BoundKernel bind_kernel(const StepKernel& source, std::shared_ptr<const KernelAtSizes> at,
                        const KernelAtSizes::Pass& pass, Function function);

constexpr size_t kAlignment = 256;  // of what a frame holds
constexpr size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}
// Outputs of up to so many bytes pass through the frame's host memory: a copy on the host is
// nothing.
constexpr size_t kSmallOutput = 64 << 10;

// Immutable.
class BoundPlan {
 public:
  // known: values on the device that these steps read and did not prepare, or that they are to
  // write there. The executable must outlive it; its context is current.
  BoundPlan(const CudaExecutable& executable, SizeTable sizes,
            const std::vector<const CudaStep*>& steps, std::map<NodeId, Tensor> known);

  const CudaExecutable& executable() const { return executable_; }
  const Graph& graph() const { return executable_.graph(); }
  const ContextPtr& context() const { return executable_.shared().context; }
  const SizeTable& sizes() const { return sizes_; }
  const std::vector<BoundStep>& steps() const { return steps_; }
  const FrameLayout& layout() const { return layout_; }
  int results() const { return placement_->tensors(); }                    // of host steps, as many
  std::vector<int64_t> live_bytes() const { return arena_.live_bytes(); }  // by step
  bool has_host_steps() const { return host_steps_; }
  bool checks_indices() const { return checks_indices_; }  // kernels may find one out of range

  const TensorType& type(NodeId node) const { return graph().type(node); }
  Shape shape(NodeId node) const { return concrete_shape(type(node).shape, sizes_); }
  const Place& place_of(NodeId node) const { return (*placement_)[node]; }
  size_t bytes(NodeId node) const;  // on the device; strings stay on the host
  size_t input_bytes(size_t i) const;

  // Whether kernels stand in for others that are being compiled, and whether these may be there.
  bool stands_in() const { return stands_in_; }
  bool may_improve() const {
    return stands_in_ && executable_.shared().compiled_behind != compiled_behind_;
  }

  // Whether an output is written by kernels; the others are known to the host, or have a size that
  // only it knows.
  bool on_device(NodeId node) const;
  CUdeviceptr address(NodeId node, const RunMemory& memory) const;
  // Calls use(launch) for every kernel that the step launches, in order.
  using Use = std::function<void(const KernelLaunch&)>;
  void each_launch(const BoundStep& step, const RunMemory& memory, const Use& use) const;
  // Whether a step reads or writes an input or output whose address is another now.
  bool moved(const BoundStep& step, const Addresses& from, const Addresses& to) const;

  // How a contraction is computed; empty for others.
  std::string way_of(const BoundStep& step) const;

  // For tuning.
  const KernelVariant& variant(const StepKernel& kernel) const {
    return *kinds_[kernel.kind]->variant;
  }
  std::shared_ptr<const KernelAtSizes> at_sizes(const KernelVariant& variant) const;
  bool is_wide(const StepKernel& kernel, const KernelVariant& variant) const;
  BoundKernel bind_library(const StepKernel& source, const LibraryForm& form,
                           std::shared_ptr<const LibraryKernel> kernel) const;
  // A form at the sizes of the binding; nothing where these leave nothing to do, or a library has
  // no word for how an operand lies.
  std::optional<LibraryShape> library_shape(const LibraryForm& form) const;

 private:
  bool known_size(NodeId node) const;
  int64_t count(NodeId node) const;  // of elements; 0 where only the run tells
  void resolve(const std::vector<const CudaStep*>& steps);
  const KernelVariant& choose(const StepKernel& kernel, std::vector<size_t>& wanted) const;
  void place_values(const std::vector<const CudaStep*>& steps);
  void lay_out_memory();
  void bind_steps(const std::vector<const CudaStep*>& steps);
  std::optional<ProductShape> product_shape(const MatrixProduct& product) const;
  CUdeviceptr bias_of(DType dtype, NodeId node, int64_t offset) const;
  std::shared_ptr<const LibraryKernel> library_kernel(const StepKernel& kernel) const;
  int64_t workspace_of(const CudaStep& step, bool wide, BoundLoop* loop) const;
  std::optional<BoundLoop> bind_loop(const CudaStep& step) const;
  int64_t lay_out_loop(const CudaStep& step, BoundLoop& loop) const;
  void each_trip(const BoundStep& step, const RunMemory& memory, const Use& use) const;

  const CudaExecutable& executable_;
  SizeTable sizes_;
  std::vector<std::shared_ptr<const KernelAtSizes>> kinds_;  // by kind of kernel
  std::vector<bool> wide_;                                   // by step: 64-bit indices
  std::optional<PlacementPlan> placement_;
  ArenaLayout arena_;
  std::vector<std::optional<BoundLoop>> loops_;  // by step, until they are part of it
  std::vector<std::shared_ptr<const LibraryKernel>> libraries_;  // by step; null: own kernels
  std::map<NodeId, Tensor> known_;  // on the device: sizes and what depends on nothing else
  FrameLayout layout_;
  std::vector<BoundStep> steps_;
  bool host_steps_ = false, checks_indices_ = false;
  bool stands_in_ = false;
  size_t compiled_behind_;  // CudaShared's, when it was made
};

}  // namespace onrush::cuda
