// Memory in pages of its own, for what is large and lives long or is only needed for a moment.
#pragma once

#include <cstddef>

#include <onrush/tensor.h>

namespace onrush {

// Host memory that goes back to the system with the tensor, in large pages where the system has
// them. Small tensors are like any other. Throws Error{out_of_memory}.
Tensor paged_tensor(DType dtype, Shape shape);

// Throws Error{out_of_memory}: the system has refused so many bytes of host memory.
[[noreturn]] void fail_to_allocate(size_t bytes);

}  // namespace onrush
