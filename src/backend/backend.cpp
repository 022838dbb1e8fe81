#include "backend/backend.h"

#include "base/check.h"

namespace onrush {

void RunState::check_cancelled() const {
  if (cancel && cancel->load(std::memory_order_relaxed))
    fail(ErrorCode::cancelled, "the run was cancelled by its caller");
}

}  // namespace onrush
