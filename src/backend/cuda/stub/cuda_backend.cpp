#include "backend/cuda/cuda_backend.h"

#include "base/check.h"
#include <onrush/device_memory.h>

namespace onrush {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) {
  fail(ErrorCode::not_found, "{}", why_no_cuda());
}

std::string cuda_kernels_text(Graph, const CudaOptions&) {
  fail(ErrorCode::unsupported, "this build has no CUDA backend: its headers were not found");
}

std::vector<std::string> tuning_lines(const DiskCache&) { return {}; }

void add_wheel_folders(const std::vector<std::string>&) {}

}  // namespace onrush
