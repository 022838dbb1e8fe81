// Contractions that operators of several families are made of.
#pragma once

#include <optional>

#include "lower/op_context.h"

namespace onrush {

// ONNX MatMul's rule for operands of any rank from 1 on.
NodeId matmul(const OpContext& c, NodeId x, NodeId y, DType result);

// The attributes of ONNX Conv over x [N, C, spatial...] and w [O, C / groups, kernel...]: operands
// and attributes of the primitive, all channels last.
struct Convolution {
  NodeId x, w;
  ConvAttr attr;
};
Convolution convolution(const OpContext& c, NodeId x, NodeId w, DType result);
// Its result, [N, spatial..., O].
NodeId convolve(const OpContext& c, NodeId x, NodeId w, DType result);

// Products of 8-bit integers less their zero points, summed as i32: matmul(x - x_zero, y - y_zero).
// x_zero is a scalar or one a row of x, y_zero a scalar or one a column of y; either may be absent.
NodeId integer_matmul(const OpContext& c, NodeId x, std::optional<NodeId> x_zero, NodeId y,
                      std::optional<NodeId> y_zero);

// convolve(x - x_zero, w - w_zero) likewise, channels last; padding counts as x_zero. x_zero is a
// scalar, w_zero a scalar or one an output channel.
NodeId integer_convolve(const OpContext& c, NodeId x, std::optional<NodeId> x_zero, NodeId w,
                        std::optional<NodeId> w_zero);

}  // namespace onrush
