// The reference evaluator as a backend: no passes, no fusion; what other backends are compared
// with.
#pragma once

#include "backend/backend.h"

namespace onrush {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace onrush
