#include "backend/cpu/cpu_backend.h"

#include "backend/cpu/cpu_executable.h"
#include "base/check.h"
#include "fuse/fuse.h"
#include "optimize/pipeline.h"

namespace onrush {
namespace {

cpu::GemmKernel choose_gemm(bool bf16) {
  if (!bf16) return cpu::gemm_f32();
  if (const auto kernel = cpu::gemm_bf16()) return *kernel;
  fail(ErrorCode::unsupported, "this processor has no bfloat16 products; use precision fp32");
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CpuOptions& options)
      : options_(options),
        shared_(std::make_shared<cpu::CpuShared>(
            options.threads > 0 ? options.threads : cpu::available_processors(),
            options.memory_limit, choose_gemm(options.bf16))) {}

  std::shared_ptr<const Executable> compile(Graph graph) override {
    if (options_.optimize) graph = optimize(std::move(graph));
    return std::make_shared<cpu::CpuExecutable>(fuse(std::move(graph)), shared_);
  }

  MemoryUse memory_use() const override {
    return {.weights = shared_->weights.bytes(), .scratch = shared_->arenas.bytes()};
  }

 private:
  CpuOptions options_;
  std::shared_ptr<cpu::CpuShared> shared_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace onrush
