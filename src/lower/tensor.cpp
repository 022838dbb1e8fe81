// The table of the tensor family, and Det.
#include "lower/op_table.h"
#include "lower/tensor_ops.h"

namespace onrush {
namespace {

Results lower_det(OpContext& c) {
  const Dims shape = c.shape(0);
  c.require(shape.size() >= 2, "Det takes matrices: the input must have rank 2 or more");
  c.require(decide(equal(shape.back(), shape[shape.size() - 2]), "Det: square matrices"),
            "Det takes square matrices");
  const NodeId x = c.in(0);
  const TensorType result{c.dtype(0), Dims(shape.begin(), shape.end() - 2)};
  return c.b.get(c.b.call({"det", {}}, {&x, 1}, {result}), 0);
}

constexpr OpRow kRows[] = {
    {"CenterCropPad", lower_center_crop_pad},
    {"Col2Im", lower_col2im},
    {"Concat", lower_concat},
    {"DepthToSpace", lower_depth_to_space},
    {"Det", lower_det},
    {"Expand", lower_expand},
    {"Flatten", lower_flatten},
    {"Gather", lower_gather},
    {"GatherElements", lower_gather_elements},
    {"GatherND", lower_gather_nd},
    {"Pad", lower_pad},
    {"Reshape", lower_reshape},
    {"ReverseSequence", lower_reverse_sequence},
    {"Scatter", lower_scatter_elements},
    {"ScatterElements", lower_scatter_elements},
    {"ScatterND", lower_scatter_nd},
    {"Slice", lower_slice},
    {"SpaceToDepth", lower_space_to_depth},
    {"Split", lower_split},
    {"Squeeze", lower_squeeze},
    {"TensorScatter", lower_tensor_scatter},
    {"Tile", lower_tile},
    {"Transpose", lower_transpose},
    {"Trilu", lower_trilu},
    {"Unsqueeze", lower_unsqueeze},
};

}  // namespace

std::span<const OpRow> tensor_ops() { return kRows; }

}  // namespace onrush
