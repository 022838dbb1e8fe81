#include "backend/cuda/cuda_backend.h"

#include "base/check.h"

namespace onrush {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&) {
  fail(ErrorCode::not_found,
       "this build of Onrush has no CUDA backend: it was built without CUDA headers; install "
       "nvidia-cuda-runtime from PyPI (or the CUDA toolkit) and build again");
}

}  // namespace onrush
