// The operators of the tensor family by file; the table is in tensor.cpp.
#pragma once

#include "lower/op_context.h"

namespace onrush {

// tensor_shape.cpp
Results lower_reshape(OpContext& c);
Results lower_flatten(OpContext& c);
Results lower_squeeze(OpContext& c);
Results lower_unsqueeze(OpContext& c);
Results lower_transpose(OpContext& c);
Results lower_expand(OpContext& c);
Results lower_tile(OpContext& c);
Results lower_depth_to_space(OpContext& c);
Results lower_space_to_depth(OpContext& c);

// tensor_slice.cpp
Results lower_concat(OpContext& c);
Results lower_split(OpContext& c);
Results lower_slice(OpContext& c);
Results lower_pad(OpContext& c);
Results lower_center_crop_pad(OpContext& c);
Results lower_trilu(OpContext& c);

// tensor_gather.cpp
Results lower_gather(OpContext& c);
Results lower_gather_elements(OpContext& c);
Results lower_gather_nd(OpContext& c);
Results lower_reverse_sequence(OpContext& c);

// tensor_scatter.cpp
Results lower_scatter_elements(OpContext& c);
Results lower_scatter_nd(OpContext& c);
Results lower_tensor_scatter(OpContext& c);
Results lower_col2im(OpContext& c);

}  // namespace onrush
