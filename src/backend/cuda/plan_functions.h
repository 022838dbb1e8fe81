// The compiled kernels of a plan.
#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <vector>

#include "backend/cuda/compiler.h"
#include "backend/cuda/cuda_plan.h"
#include "backend/cuda/module.h"

namespace onrush::cuda {

struct CudaShared;

// What a binding needs compiled.
struct FunctionRequest {
  size_t text;  // of the plan
  bool wide;    // 64-bit indices
  auto operator<=>(const FunctionRequest&) const = default;
};

// Thread safe. A current context is needed where kernels are loaded.
class PlanFunctions {
 public:
  // Both must outlive it.
  PlanFunctions(const CudaPlan& plan, CudaShared& shared) : plan_(plan), shared_(shared) {}

  // Compiles those of them that are not yet, at once and in parallel; gives each. Throws what went
  // wrong behind the runs, once.
  std::vector<Function> get(std::span<const FunctionRequest> requests);
  Function get(const FunctionRequest& request) { return get(std::span(&request, 1))[0]; }
  bool has(const FunctionRequest& request) const;

  // A thread of its own compiles these, with narrow indices, while runs go on with kernels that
  // stand in for them; when they are there, CudaShared::compiled_behind counts up.
  void compile_behind(std::span<const size_t> texts);
  // The same for kernels that stand in for all others. Does nothing but the first time.
  void compile_for_other_sizes();
  // Compiles what a new process would at first, so that it finds it in the cache: after tuning.
  void compile_for_later() const;

 private:
  std::vector<Source> sources_of(const std::vector<std::vector<size_t>>& programs, bool wide) const;
  void compile(std::span<const size_t> texts, bool wide);
  void add(const std::vector<std::vector<size_t>>& programs, std::span<const Cubin> cubins,
           bool wide);
  void work_behind(const std::stop_token& stop);

  const CudaPlan& plan_;
  CudaShared& shared_;
  mutable std::mutex mutex_;
  std::vector<Module> modules_;
  std::map<FunctionRequest, Function> functions_;
  std::set<size_t> wanted_;           // texts to be compiled behind the runs
  std::exception_ptr failed_behind_;  // why that failed
  std::condition_variable_any asked_;
  std::once_flag other_sizes_;
  std::jthread behind_;  // started when it has something to do; ends with the program at hand
};

}  // namespace onrush::cuda
