// A schedule as kernels for a kind of GPU, before any of them is compiled. Needs no GPU.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "backend/cuda/tuning.h"
#include "codegen/convolution.h"
#include "codegen/cuda_source.h"
#include "codegen/matrix_product.h"
#include "ir/time.h"
#include "plan/steps.h"
#include <onrush/session.h>
#include <onrush/tensor.h>

namespace onrush::cuda {

// A kernel printed for sizes with certain facts, for all of the plan's that differ in nothing but
// the values they read and write.
struct KernelVariant {
  CudaKernel kernel;
  std::vector<int> operands;  // by buffer: which of the StepKernel's; -1: see there
  size_t text;                // which of the plan's distinct texts
};

// One kernel of a step, for all sizes.
struct StepKernel {
  using Form = std::variant<std::vector<Loops>, CudaContraction, CudaAttention, CudaPrimitive>;

  Form form;
  std::vector<NodeId> operands;  // the values that it reads and writes, in the order of the form
  size_t kind;                   // equal for kernels that differ in their operands only
  // Copies weights into the order in which the kernel reads them; the copy. Both null if it reads
  // them in place.
  std::unique_ptr<StepKernel> packing = nullptr;
  Tensor packed = {};
  std::optional<CacheKey> signature = {};  // of a contraction that may be tuned

  // What the kernel has in a buffer; not valid(): packed weights, or the workspace.
  NodeId operand(const KernelVariant& variant, size_t buffer) const {
    const int at = variant.operands[buffer];
    return at < 0 ? NodeId{} : operands[static_cast<size_t>(at)];
  }
};

// A contraction as what libraries compute.
using LibraryForm = std::variant<MatrixProduct, Convolution>;
struct LibraryOperands {
  NodeId lhs, rhs, result;  // rhs: not valid(): the packed copy
  std::optional<NodeId> addend, bias;
};
LibraryOperands operands_of(const LibraryForm& form);

class CudaPlan;

struct CudaStep {
  Step step;
  std::vector<StepKernel> kernels;  // none for loops and what the host evaluates
  std::shared_ptr<CudaPlan> body;   // of a loop: one trip
};

class CudaPlan {
 public:
  // tuning: what is known of contractions on the device; must outlive the plan. May be null.
  CudaPlan(Schedule schedule, Precision precision, CudaTarget target,
           const TuningTable* tuning = nullptr);

  const Schedule& schedule() const { return schedule_; }
  const Graph& graph() const { return schedule_.graph; }
  // Computed once a session from weights; once a binding from sizes; in each run. In order.
  std::vector<CudaStep>& prepare_steps() { return prepare_steps_; }
  std::vector<CudaStep>& bind_steps() { return bind_steps_; }
  std::vector<CudaStep>& steps() { return steps_; }
  const std::vector<CudaStep>& prepare_steps() const { return prepare_steps_; }
  const std::vector<CudaStep>& bind_steps() const { return bind_steps_; }
  const std::vector<CudaStep>& steps() const { return steps_; }
  size_t kinds() const { return kinds_.size(); }                     // of kernels
  DType storage(NodeId node) const { return storage_[node.index]; }  // of a value in memory
  const CudaTarget& target() const { return target_; }

  // Thread safe. The kernel for these sizes; printed if no earlier one serves them.
  const KernelVariant& variant(const StepKernel& kernel, const SizeTable& sizes) const;
  // The same, cut in a certain way. REQUIRES a contraction on tiles.
  const KernelVariant& variant(const StepKernel& kernel, const SizeTable& sizes,
                               const TileChoice& choice) const;
  // Of the kernels printed so far those that compute these sizes, too, fast or not: the one that
  // relies on most first.
  std::vector<const KernelVariant*> stand_ins(const StepKernel& kernel,
                                              const SizeTable& sizes) const;
  // What to ask the tuning for; nothing where there is no choice.
  std::optional<TuningKey> tuning_key(const StepKernel& kernel, const SizeTable& sizes) const;
  // What is known of it by measurement.
  std::optional<TunedContraction> tuned(const StepKernel& kernel, const SizeTable& sizes) const;
  // What a library may compute in its place: a product, or else a convolution, whose operands are
  // at the same addresses in every run, since graphs cannot be told others for a library's kernels.
  std::optional<LibraryForm> library_form(const StepKernel& kernel, const SizeTable& sizes) const;
  std::string text(size_t index) const;
  size_t copy_text() const;  // of the kernel that copies bytes
  // Of all kernels for the sizes that the schedule was made with, those that pack weights
  // included.
  std::vector<size_t> texts_at_hand() const;
  // Of kernels that stand in for all others: those of a run that rely on nothing that only some
  // sizes have. None where all sizes are constant.
  std::vector<size_t> texts_for_any_size() const;
  // Texts as programs that take about equally long to compile, in parallel: at most 16.
  std::vector<std::vector<size_t>> programs(std::span<const size_t> texts) const;

 private:
  std::vector<Step> fused_steps() const;
  std::vector<Time> node_times() const;
  CudaStep make_cuda_step(Step step, const SizeTable& sizes);
  StepKernel make_kernel(StepKernel::Form form);
  std::shared_ptr<CudaPlan> loop_body(NodeId loop) const;
  bool runs_on_device() const;
  const KernelVariant& find_or_print(const StepKernel& kernel, const SizeTable& sizes,
                                     const TileChoice* choice) const;
  const KernelVariant& print(const StepKernel& kernel, const PrintSizes& sizes,
                             const TileChoice* choice) const;  // REQUIRES mutex_
  std::vector<SizeTable> other_sizes() const;
  size_t text_index(std::string text) const;  // REQUIRES mutex_
  bool is_weight(NodeId node) const;
  bool is_argument(NodeId node) const;

  Schedule schedule_;
  Precision precision_;
  CudaTarget target_;
  const TuningTable* tuning_;
  std::vector<DType> storage_;
  std::vector<CudaStep> prepare_steps_, bind_steps_, steps_;
  std::map<std::string, size_t> kinds_;  // by key
  mutable std::mutex mutex_;
  mutable std::vector<std::vector<std::unique_ptr<KernelVariant>>> variants_;  // by kind
  mutable std::vector<std::string> texts_;                                     // distinct
};

}  // namespace onrush::cuda
