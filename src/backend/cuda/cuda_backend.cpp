#include "backend/cuda/cuda_backend.h"

#include <fmt/format.h>
#include <optional>

#include "backend/cuda/cuda_executable.h"
#include "backend/cuda/cuda_profiler.h"
#include "backend/cuda/plan_text.h"
#include "backend/cuda/shared_library.h"
#include "fuse/fuse.h"
#include "optimize/pipeline.h"
#include <onrush/device_memory.h>

namespace onrush {
namespace {

// Products of integers are plain arithmetic here: those of what is dequantised are faster on tensor
// cores.
Graph optimized(Graph graph, const CudaOptions& options) {
  return options.optimize ? optimize(std::move(graph), {.disabled = {"quantized"}}) : graph;
}

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options)
      : options_(options), shared_(std::make_shared<cuda::CudaShared>(options)) {}

  std::shared_ptr<const Executable> compile(Graph graph) override {
    auto plan = std::make_shared<cuda::CudaPlan>(
        fuse(optimized(graph, options_)), shared_->precision, shared_->target, &shared_->tuning);
    return std::make_shared<cuda::CudaExecutable>(std::move(plan), shared_);
  }

  std::unique_ptr<Profiler> profiler() override {
    const cuda::ContextScope scope(*shared_->context);
    return std::make_unique<cuda::CudaProfiler>(shared_->context);
  }

  MemoryUse memory_use() const override {
    return {shared_->weights.bytes(), shared_->scratch, shared_->graphs, shared_->pinned};
  }

 private:
  CudaOptions options_;
  std::shared_ptr<cuda::CudaShared> shared_;
};

}  // namespace

std::string cuda_kernels_text(Graph graph, const CudaOptions& options) {
  constexpr CudaTarget kHopper = {132, true, true};
  CudaTarget target = kHopper;
  std::string name = "an H100, since there is no GPU here";
  const DiskCache cache({options.cache_folder});
  std::optional<cuda::TuningTable> tuning;
  if (why_no_cuda().empty()) {
    const cuda::DeviceInfo device = cuda::device_info(options.device);
    target = cuda::target_of(device);
    name = device.name;
    tuning.emplace(cache, cuda::tuned_device(device), false);
  }
  return fmt::format("for {}\n\n{}", name,
                     to_string(cuda::CudaPlan(fuse(optimized(graph, options)), options.precision,
                                              target, tuning ? &*tuning : nullptr)));
}

std::vector<std::string> tuning_lines(const DiskCache& cache) { return cuda::tuning_lines(cache); }

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  return std::make_unique<CudaBackend>(options);
}

void add_wheel_folders(const std::vector<std::string>& folders) {
  std::vector<std::string>& known = cuda::further_wheel_folders();
  known.insert(known.end(), folders.begin(), folders.end());
}

}  // namespace onrush
