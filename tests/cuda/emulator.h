// Runs the kernels of a plan on the host: the same text, compiled by the machine's C++ compiler,
// each thread a fiber. Between two barriers the threads of a block run one after the other in
// random order, so that a barrier that is missing shows; asynchronous copies are done at once.
//
// REQUIRES plans for a target without clusters and warpgroups.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "backend/cuda/cuda_plan.h"

namespace onrush::cuda {

class Emulator {
 public:
  static bool available();  // whether there is a C++ compiler, and no sanitizer

  enum class Kernels { best, any_size };  // what a run has: CudaPlan::texts_for_any_size
  // Compiles what these plans need for these sizes.
  explicit Emulator(const std::vector<std::pair<const CudaPlan*, SizeTable>>& plans,
                    Kernels kernels = Kernels::best);
  ~Emulator();

  // The graph's outputs. Throws Error{invalid_argument} if an index was out of range, and internal
  // errors for steps without kernels, writes beyond a buffer and barriers that not all threads
  // reach.
  std::vector<Tensor> run(const CudaPlan& plan, std::span<const Tensor> inputs,
                          const SizeTable& sizes) const;

 private:
  class Run;
  struct Library;
  std::unique_ptr<Library> library_;
  Kernels kernels_;
};

}  // namespace onrush::cuda
