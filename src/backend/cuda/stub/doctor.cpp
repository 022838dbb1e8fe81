// The CUDA backend of a build that found no CUDA headers.
#include "backend/cuda/doctor.h"

#include "base/check.h"

namespace onrush::cuda {

std::string doctor_report(const CacheOptions&) {
  return "CUDA\n"
         "  none: Onrush was built without CUDA headers, so no GPU can be used.\n"
         "  Give the build cuda.h and nvrtc.h: a CUDA toolkit 12 or later (CUDA_HOME names its\n"
         "  folder), or: pip install nvidia-cuda-runtime nvidia-cuda-nvrtc\n";
}

std::string cupti_path() { return {}; }

std::string device_name(int) {
  fail(ErrorCode::not_found, "this build of Onrush has no CUDA backend");
}

}  // namespace onrush::cuda
