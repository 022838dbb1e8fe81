#include "backend/cuda/transfer.h"

#include "base/check.h"

namespace onrush::cuda {
namespace {

[[noreturn]] void fail_without_cuda() {
  fail(ErrorCode::not_found, "this build of Onrush has no CUDA backend, see 'onrush doctor'");
}

}  // namespace

Tensor empty_on_device(int, DType, Shape) { fail_without_cuda(); }
Tensor to_device(int, const Tensor&) { fail_without_cuda(); }
Tensor to_host(const Tensor&) { fail_without_cuda(); }
std::string pci_address(int) { fail_without_cuda(); }

}  // namespace onrush::cuda
