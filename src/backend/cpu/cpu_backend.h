// The CPU backend: fused kernels interpreted by tiles, contractions in registers, one thread pool.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace onrush {

struct CpuOptions {
  int threads = 0;          // 0: one for each processor this process may use
  bool optimize = true;     // run the optimisation passes
  size_t memory_limit = 0;  // bytes of weights and scratch; 0: none
  bool bf16 = false;        // contractions multiply bfloat16 and accumulate in f32; throws
                            // Error{unsupported} where the processor cannot
};

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options);

}  // namespace onrush
