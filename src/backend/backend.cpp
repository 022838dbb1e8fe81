#include "backend/backend.h"

#include "base/check.h"

namespace onrush {

void RunState::check_cancelled() const {
  if (cancel && cancel->load(std::memory_order_relaxed))
    fail(ErrorCode::cancelled, "the run was cancelled by its caller");
}

void check_given(const std::string& output, const Tensor& given, DType dtype, const Shape& shape) {
  if (given.dtype() == dtype && given.shape() == shape) return;
  fail(ErrorCode::invalid_argument, "the memory given for output '{}' must be {}{}, not {}{}",
       output, onnx_name(dtype), to_string(shape), onnx_name(given.dtype()),
       to_string(given.shape()));
}

}  // namespace onrush
