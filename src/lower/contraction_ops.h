// The operators of the contraction family that have files of their own; the table is in
// contraction.cpp.
#pragma once

#include "lower/op_context.h"

namespace onrush {

Results lower_einsum(OpContext& c);
Results lower_conv(OpContext& c);
Results lower_conv_integer(OpContext& c);
Results lower_conv_transpose(OpContext& c);
Results lower_causal_conv_with_state(OpContext& c);
Results lower_deform_conv(OpContext& c);

}  // namespace onrush
