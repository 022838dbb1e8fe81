// A compiled plan of the CUDA backend.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/compiler.h"
#include "backend/cuda/memory.h"
#include "backend/cuda/module.h"
#include "codegen/cuda_source.h"
#include "plan/placement.h"
#include "plan/steps.h"
#include "plan/weight_store.h"

namespace onrush::cuda {

// What all plans of a session share.
struct CudaShared {
  CudaShared(int device, size_t memory_limit, const std::string& cache_folder);
  ContextPtr context;
  DiskCache cache;
  Compiler compiler;
  std::string architecture;
  WeightStore weights;  // device tensors
  size_t limit;
};

// A tensor in new device memory.
Tensor device_tensor(const ContextPtr& context, DType dtype, Shape shape);
// A host tensor's elements in new device memory, and the reverse; both wait for the copy.
Tensor upload(const ContextPtr& context, const Tensor& tensor, const Stream& stream);
Tensor download(const Tensor& tensor, const Stream& stream);

// A kernel of a step, and its functions for 32-bit and (where one was needed so far) 64-bit
// indices.
struct StepKernel {
  CudaKernel kernel;
  size_t text;  // which of the executable's distinct texts
};

struct CudaStep {
  Step step;
  std::vector<StepKernel> kernels;  // empty for host steps
};

class CudaExecutable final : public Executable,
                             public std::enable_shared_from_this<CudaExecutable> {
 public:
  CudaExecutable(Schedule schedule, std::shared_ptr<CudaShared> shared);
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override;
  std::vector<std::shared_ptr<const ProfiledStep>> profiled_steps() const override;

  const Schedule& schedule() const { return schedule_; }
  const Graph& graph() const { return schedule_.graph; }
  const std::vector<CudaStep>& steps() const { return steps_; }  // Time::run only
  CudaShared& shared() const { return *shared_; }
  const Tensor& prepared(NodeId node) const { return prepared_[node.index]; }  // on the device
  Function function(size_t text, bool wide) const;

 private:
  // The compiled programs for one width of indices: module and function of each text.
  struct Programs {
    std::vector<Module> modules;
    std::vector<Function> functions;
  };

  CudaStep compile(const Group& group);
  Programs compile_programs(bool wide) const;
  void upload_constants();
  void prepare(const CudaStep& step, const SizeTable& sizes);

  Schedule schedule_;
  std::shared_ptr<CudaShared> shared_;
  std::vector<std::string> keys_;
  std::vector<Tensor> prepared_;
  std::vector<CudaStep> prepare_steps_, steps_;
  std::vector<std::string> texts_;  // distinct
  Programs narrow_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Programs> wide_;  // made when a binding needs it
};

}  // namespace onrush::cuda
