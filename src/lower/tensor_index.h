// Index operands for gather and scatter.
#pragma once

#include "lower/op_context.h"

namespace onrush {

// ONNX indices count from the end where negative; gather and scatter want them in [0, extent).
NodeId wrapped_index(Builder& b, NodeId index, Dim extent);

// indices[..., k] into an axis of `extent`, followed by axes of extent 1 up to `rank`.
NodeId index_column(Builder& b, NodeId indices, int64_t k, Dim extent, int rank);

// Fail unless the extent of the operand called `what` is as said along every axis but `except`.
void require_equal(const OpContext& c, const Dims& extents, const Dims& expected,
                   std::string_view what, int except = -1);
void require_at_most(const OpContext& c, const Dims& extents, const Dims& limits,
                     std::string_view what, int except = -1);

}  // namespace onrush
