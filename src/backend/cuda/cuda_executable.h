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
#include "backend/cuda/cuda_backend.h"
#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/library_shape.h"
#include "backend/cuda/memory.h"
#include "backend/cuda/pinned_pool.h"
#include "backend/cuda/plan_functions.h"
#include "backend/cuda/tuning.h"
#include "codegen/cuda_source.h"
#include "plan/placement.h"
#include "plan/steps.h"
#include "plan/weight_store.h"
#include <onrush/session.h>

namespace onrush::cuda {

CudaTarget target_of(const DeviceInfo& device);
// What the tuning of a device is kept under.
std::string tuned_device(const DeviceInfo& device);

// What all plans of a session share.
struct CudaShared {
  explicit CudaShared(const CudaOptions& options);

  // The library that computes a form; empty where it is not installed. cuDNN takes a quarter of a
  // second and 385 MB of the host's memory to open, so each is opened when it is asked for first.
  std::string library_version(const LibraryForm& form) const;
  // By that library: at most `count` ways, or by a certain algorithm; null where it has no such.
  std::vector<std::unique_ptr<LibraryKernel>> library_kernels(const LibraryShape& shape,
                                                              int count) const;
  std::unique_ptr<LibraryKernel> library_kernel(const LibraryShape& shape,
                                                const std::string& algorithm) const;

  std::shared_ptr<const MemoryPool> pool;  // of results
  ContextPtr context;
  Stream setup;  // of what is done once
  DiskCache cache;
  Compiler compiler;
  std::string architecture;
  CudaTarget target;
  TuningTable tuning;
  std::function<void(std::string_view)> progress;  // may be empty
  WeightStore weights;                             // device tensors
  std::shared_ptr<PinnedPool> results;
  const bool waits_for_kernels = checks_kernels();
  size_t limit;
  Precision precision;
  std::atomic<size_t> compiled_behind{0};                // how often, see PlanFunctions
  std::atomic<size_t> scratch{0}, graphs{0}, pinned{0};  // bytes, see MemoryUse

 private:
  const CublasLt* library_of(const MatrixProduct&) const { return cublaslt(); }
  const CublasLt* library_of(const ProductShape&) const { return cublaslt(); }
  const Cudnn* library_of(const Convolution&) const { return cudnn(); }
  const Cudnn* library_of(const ConvolutionShape&) const { return cudnn(); }
  const CublasLt* cublaslt() const;
  const Cudnn* cudnn() const;

  mutable std::once_flag asked_for_cublaslt_, asked_for_cudnn_;
  mutable std::shared_ptr<const CublasLt> cublaslt_;
  mutable std::shared_ptr<const Cudnn> cudnn_;
};

// A tensor in new device memory.
Tensor device_tensor(const ContextPtr& context, DType dtype, Shape shape);
// A host tensor's elements in new device memory, and the reverse; both wait for the copy.
Tensor upload(const ContextPtr& context, const Tensor& tensor, const Stream& stream);
Tensor download(const Tensor& tensor, const Stream& stream);

class FramePool;

class CudaExecutable final : public Executable,
                             public std::enable_shared_from_this<CudaExecutable> {
 public:
  CudaExecutable(std::shared_ptr<CudaPlan> plan, std::shared_ptr<CudaShared> shared);
  ~CudaExecutable() override;
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override;
  std::vector<std::shared_ptr<const ProfiledStep>> profiled_steps() const override;

  const CudaPlan& plan() const { return *plan_; }
  const Graph& graph() const { return plan_->graph(); }
  CudaShared& shared() const { return *shared_; }
  FramePool& frames() const { return *frames_; }
  const Tensor& prepared(NodeId node) const { return prepared_[node.index]; }  // on the device

  // The elements of a weight in another floating-point type, on the device.
  Tensor weight_as(DType dtype, NodeId node) const;

  // One trip of a loop. REQUIRES that the step has a body.
  const std::shared_ptr<const CudaExecutable>& body(const CudaStep& step) const {
    return bodies_.at(step.body.get());
  }

  PlanFunctions& functions() const { return *functions_; }
  // Of the bodies of loops, too.
  void compile_for_other_sizes() const;

 private:
  std::vector<NodeId> known_operands(const CudaStep& step) const;
  Tensor make(NodeId node, const SizeTable& sizes, std::vector<NodeId>& made);
  void keep(NodeId node, const SizeTable& sizes);
  void pack(CudaStep& step, const SizeTable& sizes);
  void add_body(const CudaStep& step);

  std::shared_ptr<CudaShared> shared_;
  std::shared_ptr<CudaPlan> plan_;
  std::map<const CudaPlan*, std::shared_ptr<const CudaExecutable>> bodies_;
  std::vector<std::string> keys_;
  std::map<NodeId, CudaStep*> prepare_step_of_;
  std::vector<Tensor> prepared_;  // those that steps read

  std::unique_ptr<PlanFunctions> functions_;
  std::unique_ptr<FramePool> frames_;  // its graphs use the functions
  mutable std::atomic<size_t> bindings_ = 0;
};

}  // namespace onrush::cuda
