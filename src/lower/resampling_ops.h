// The operators of the resampling family by file; the table is in resampling.cpp.
#pragma once

#include "lower/op_context.h"

namespace onrush {

Results lower_resize(OpContext& c);
Results lower_upsample(OpContext& c);
Results lower_roi_align(OpContext& c);

}  // namespace onrush
