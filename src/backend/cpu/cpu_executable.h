// A compiled plan of the CPU backend.
#pragma once

#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/thread_pool.h"
#include "backend/cpu/weight_store.h"
#include "codegen/loops.h"
#include "fuse/schedule.h"

namespace onrush::cpu {

// What all plans of a session share.
struct CpuShared {
  CpuShared(int threads, size_t memory_limit, const GemmKernel& kernel)
      : pool(threads), weights(memory_limit), limit(memory_limit), gemm(kernel) {}
  ThreadPool pool;
  WeightStore weights;
  size_t limit;
  GemmKernel gemm;  // decides the precision of contractions
};

// One group of the schedule, compiled for all sizes.
struct Step {
  const Group* group;
  std::variant<std::vector<Loops>, Contraction, NodeId> kernel;  // NodeId: evaluated by itself
  Tensor packed;  // contraction: the right operand, if it is known
};

class CpuExecutable final : public Executable, public std::enable_shared_from_this<CpuExecutable> {
 public:
  CpuExecutable(Schedule schedule, std::shared_ptr<CpuShared> shared);
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override;

  const Schedule& schedule() const { return schedule_; }
  const Graph& graph() const { return schedule_.graph; }
  const std::vector<Step>& steps() const { return steps_; }  // Time::run only
  CpuShared& shared() const { return *shared_; }
  // The value of a node that depends on weights only; null tensor for others.
  const Tensor& prepared(NodeId node) const { return prepared_[node.index]; }

 private:
  Step compile(const Group& group) const;
  void prepare(const Step& step, const SizeTable& sizes);
  void pack(Step& step, const SizeTable& sizes) const;

  Schedule schedule_;
  std::shared_ptr<CpuShared> shared_;
  std::vector<std::string> keys_;
  std::vector<Tensor> prepared_;  // by node: constants, and results of prepare groups
  std::vector<Step> steps_;
};

}  // namespace onrush::cpu
