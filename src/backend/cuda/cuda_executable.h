// A compiled plan of the CUDA backend.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/compiler.h"
#include "backend/cuda/memory.h"
#include "backend/cuda/module.h"
#include "codegen/cuda_source.h"
#include "plan/placement.h"
#include "plan/steps.h"
#include "plan/weight_store.h"
#include <onrush/session.h>

namespace onrush::cuda {

// What all plans of a session share.
struct CudaShared {
  CudaShared(int device, size_t memory_limit, const std::string& cache_folder, Precision precision);

  ContextPtr context;
  DiskCache cache;
  Compiler compiler;
  std::string architecture;
  CudaTarget target;
  WeightStore weights;  // device tensors
  size_t limit;
  Precision precision;
};

// A tensor in new device memory.
Tensor device_tensor(const ContextPtr& context, DType dtype, Shape shape);
// A host tensor's elements in new device memory, and the reverse; both wait for the copy.
Tensor upload(const ContextPtr& context, const Tensor& tensor, const Stream& stream);
Tensor download(const Tensor& tensor, const Stream& stream);

// A kernel printed for sizes with certain facts.
struct KernelVariant {
  CudaKernel kernel;
  size_t text;  // which of the executable's distinct texts
};

// One kernel of a step, for all sizes.
struct StepKernel {
  std::variant<Loops, CudaContraction, CudaAttention> form;
  std::unique_ptr<StepKernel> packing;  // copies weights into the order in which the kernel
  Tensor packed;                        // reads them; the copy. Both null if it reads them in place
  mutable std::vector<std::unique_ptr<KernelVariant>> variants;  // guarded by the executable
};

struct CudaStep {
  Step step;
  std::vector<StepKernel> kernels;  // empty for host steps
};

// What a binding needs compiled.
struct FunctionRequest {
  size_t text;
  bool wide;  // 64-bit indices
  auto operator<=>(const FunctionRequest&) const = default;
};

class CudaExecutable final : public Executable,
                             public std::enable_shared_from_this<CudaExecutable> {
 public:
  CudaExecutable(Schedule schedule, std::shared_ptr<CudaShared> shared);
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override;
  std::vector<std::shared_ptr<const ProfiledStep>> profiled_steps() const override;

  const Schedule& schedule() const { return schedule_; }
  const Graph& graph() const { return schedule_.graph; }
  const std::vector<CudaStep>& steps() const { return steps_; }  // of a run
  // What depends on sizes only, once a binding; in order, before the others.
  const std::vector<CudaStep>& bind_steps() const { return bind_steps_; }
  CudaShared& shared() const { return *shared_; }
  DType storage(NodeId node) const { return storage_[node.index]; }  // of a value in memory
  const Tensor& prepared(NodeId node) const { return prepared_[node.index]; }  // on the device

  // Thread safe. The kernel for these sizes; printed if no earlier one serves them.
  const KernelVariant& variant(const StepKernel& kernel, const SizeTable& sizes) const;
  // Compiles those of them that are not yet, at once and in parallel.
  void compile(const std::vector<FunctionRequest>& requests) const;
  Function function(const FunctionRequest& request) const;  // REQUIRES that it was compiled

 private:
  CudaStep make_cuda_step(Step step, const SizeTable& sizes) const;
  std::vector<Step> fused_steps() const;
  std::vector<Time> node_times() const;
  void add_requests(const StepKernel& kernel, const SizeTable& sizes,
                    std::vector<FunctionRequest>& requests) const;
  void choose_storage();
  void store_narrow(Loops& loops) const;
  bool is_weight(NodeId node) const;
  void upload_constants();
  void prepare(const CudaStep& step, const SizeTable& sizes);
  void pack(CudaStep& step, const SizeTable& sizes);
  Tensor device_weight(NodeId node, const Stream& stream) const;

  Schedule schedule_;
  std::shared_ptr<CudaShared> shared_;
  std::vector<std::string> keys_;
  std::vector<DType> storage_;
  std::vector<Tensor> prepared_;
  std::vector<CudaStep> prepare_steps_, bind_steps_, steps_;

  mutable std::mutex mutex_;
  mutable std::vector<std::string> texts_;  // distinct
  mutable std::vector<Module> modules_;
  mutable std::map<FunctionRequest, Function> functions_;
};

}  // namespace onrush::cuda
