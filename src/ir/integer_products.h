// Contractions of 8-bit integers less their zero points, as contractions of the integers themselves
// and corrections: sum (x - x0) (y - y0) = sum xy - x0 sum y - y0 sum x + k x0 y0. All sums are
// i32, modulo 2^32.
#pragma once

#include <optional>

#include "ir/builder.h"

namespace onrush {

// An operand and its zero point: an integer that broadcasts against the operand and has extent 1
// along contracted axes. Absent: 0.
struct ShiftedInteger {
  NodeId x;
  std::optional<NodeId> zero;
};

// dot(x - x0, y - y0). attr.dtype is i32.
NodeId integer_dot(Builder& b, ShiftedInteger x, ShiftedInteger y, const DotAttr& attr);

// conv(x - x0, w - w0); padding counts as x0. x0 is one number; w0 has extent 1 but for axis 0.
// attr.dtype is i32 and there is no input dilation.
NodeId integer_conv(Builder& b, ShiftedInteger x, ShiftedInteger w, ConvAttr attr);

// What belongs to an operand of a dot and has extent 1 along its contracted axes, as it broadcasts
// against the result.
NodeId beside_dot(Builder& b, NodeId x, const DotAttr& attr, bool lhs, int other_free_axes);

}  // namespace onrush
