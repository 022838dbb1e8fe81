// onrush doctor: what this machine offers and what is missing.
#include "backend/cuda/doctor.h"

#include <fmt/format.h>

#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/thread_pool.h"
#include "cli/commands.h"

namespace onrush::cli {

void doctor() {
  fmt::print("onrush {}\n", version());
  fmt::print("CPU\n  processors: {}\n  bfloat16 products (--precision bf16): {}\n",
             cpu::available_processors(), cpu::gemm_bf16() ? "yes" : "no");
  fmt::print("{}", cuda::doctor_report());
}

}  // namespace onrush::cli
