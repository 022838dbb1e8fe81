// A compiled plan of the CPU backend.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/arenas.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/step_list.h"
#include "backend/cpu/thread_pool.h"
#include "plan/steps.h"
#include "plan/weight_store.h"

namespace onrush::cpu {

// What all plans of a session share.
struct CpuShared {
  CpuShared(int threads, size_t memory_limit, const GemmKernel& kernel)
      : pool(threads), weights(memory_limit), limit(memory_limit), gemm(kernel) {}
  ThreadPool pool;
  WeightStore weights;
  Arenas arenas;
  size_t limit;
  GemmKernel gemm;  // decides the precision of contractions of floats
  GemmKernel kernel_for(const Contraction& contraction) const;
};

class CpuExecutable final : public Executable, public std::enable_shared_from_this<CpuExecutable> {
 public:
  CpuExecutable(Schedule schedule, std::shared_ptr<CpuShared> shared);
  std::shared_ptr<const Binding> bind(SizeTable sizes) const override;
  std::vector<std::shared_ptr<const ProfiledStep>> profiled_steps() const override;

  const Schedule& schedule() const { return schedule_; }
  const Graph& graph() const { return schedule_.graph; }
  const StepList& steps() const { return *list_; }  // Time::run only
  // By node: its dtype in memory. With products of bf16 what follows them is bf16 there as well.
  const std::vector<DType>& storage() const { return storage_; }
  CpuShared& shared() const { return *shared_; }
  // The value of a node that depends on weights only and is read in a run; null tensor for others.
  const Tensor& prepared(NodeId node) const { return prepared_[node.index]; }
  // One trip of a loop, as a plan of its own; null where the evaluator runs the loop.
  std::shared_ptr<const CpuExecutable> body(NodeId loop) const;

 private:
  void choose_storage();
  void compile_bodies();
  bool is_known(NodeId node) const;
  std::vector<NodeId> runtime_memory(size_t step) const;
  const Tensor& prepare(NodeId node, const SizeTable& sizes, std::vector<NodeId>& made);
  void keep(NodeId node, const SizeTable& sizes);
  Tensor pack(const Step& step, const SizeTable& sizes);
  std::vector<size_t> find_twins() const;
  void list_steps();

  Schedule schedule_;
  std::shared_ptr<CpuShared> shared_;
  std::vector<std::string> keys_;
  std::vector<DType> storage_;
  std::vector<std::optional<NodeId>> in_place_;  // by step: see plan/in_place.h
  std::vector<Step> prepare_steps_;              // Time::prepare
  std::map<uint32_t, size_t> prepare_step_of_;   // by result
  std::vector<Tensor> prepared_;                 // by node: constants, and what prepare groups gave
  std::vector<Step> steps_;
  std::vector<Tensor> packed_;  // by step: the right operand of a contraction, if it is known
  std::optional<StepList> list_;
  std::map<uint32_t, std::shared_ptr<const CpuExecutable>> bodies_;  // by loop
};

}  // namespace onrush::cpu
