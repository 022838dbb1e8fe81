// NonZero, Unique, Compress, NonMaxSuppression: results whose size depends on data.
#include "base/numeric.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

std::pair<std::string, Tensor> parameter(std::string name, int64_t value) {
  return {std::move(name), Tensor::of<int64_t>(DType::i64, {}, {&value, 1})};
}

// Whether x is one value other than zero, repeated.
bool is_nonzero_everywhere(const Builder& b, NodeId x) {
  const Node& node = b.node(x);
  const Tensor* tensor = b.constant_tensor(node.op == Op::broadcast ? node.inputs[0] : x);
  if (!tensor || tensor->dtype() == DType::string) return false;
  for (int64_t i = 0; i < tensor->count(); ++i)
    if (load_f64(tensor->dtype(), tensor->data(), i) == 0) return false;
  return true;
}

// Exporters write arange(n) as NonZero(ConstantOfShape([n])): its size does not depend on data.
NodeId all_coordinates(Builder& b, Dims shape) {
  const Dim count = product(shape);
  std::vector<NodeId> rows;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    rows.push_back(b.reshape(b.iota(DType::i64, shape, static_cast<int>(axis)), {1, count}));
  return b.concat(rows, 0);
}

Results lower_nonzero(OpContext& c) {
  const NodeId x = c.in(0);
  if (c.rank(0) > 0 && is_nonzero_everywhere(c.b, x)) return all_coordinates(c.b, c.shape(0));
  const TensorType result{DType::i64, {c.rank(0), Dim::unknown()}};
  return c.b.get(c.b.call({"nonzero", {}}, {&x, 1}, {result}), 0);
}

Results lower_unique(OpContext& c) {
  const NodeId x = c.in(0);
  CallAttr call{"unique", {parameter("sorted", c.attr("sorted", int64_t{1}))}};
  Dims unique = {Dim::unknown()};
  Dim count = product(c.shape(0));
  if (c.has_attr("axis")) {
    const int axis = c.axis(c.attr("axis", 0), c.rank(0));
    call.parameters.push_back(parameter("axis", axis));
    unique = c.shape(0);
    count = unique[axis];
    unique[axis] = Dim::unknown();
  }
  const TensorType indices{DType::i64, {Dim::unknown()}}, inverse{DType::i64, {count}};
  const NodeId tuple =
      c.b.call(std::move(call), {&x, 1}, {{c.dtype(0), unique}, indices, inverse, indices});
  return {c.b.get(tuple, 0), c.b.get(tuple, 1), c.b.get(tuple, 2), c.b.get(tuple, 3)};
}

Results lower_compress(OpContext& c) {
  Builder& b = c.b;
  const bool flat = !c.has_attr("axis");
  const NodeId x = flat ? b.reshape(c.in(0), {product(c.shape(0))}) : c.in(0);
  const int axis = c.axis(c.attr("axis", 0), b.rank(x));
  c.require(c.dtype(1) == DType::boolean && c.rank(1) == 1,
            "the condition must be a boolean vector");
  Dims shape = b.shape(x);
  const Tensor* condition = b.constant_tensor(c.in(1));
  if (!condition) {
    shape[axis] = Dim::unknown();
    const NodeId operands[] = {x, c.in(1)};
    return b.get(b.call({"compress", {parameter("axis", axis)}}, operands, {{c.dtype(0), shape}}),
                 0);
  }
  Dims kept;
  for (int64_t i = 0; i < condition->count(); ++i)
    if (condition->as<uint8_t>()[i]) kept.push_back(i);
  c.require(kept.empty() || decide(less(kept.back(), shape[axis]), "Compress"),
            "the condition selects elements beyond the axis");
  shape[axis] = static_cast<int64_t>(kept.size());
  const NodeId index = b.unsqueeze(b.dims(kept), axis_range(1, b.rank(x) - axis));
  std::vector<int> source = axis_range(0, b.rank(x));
  source[axis] = ~0;
  return b.gather(x, {&index, 1}, std::move(source), std::move(shape));
}

Results lower_non_max_suppression(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) == 3 && c.rank(1) == 3,
            "NonMaxSuppression takes boxes [N, boxes, 4] and scores [N, classes, boxes]");
  // An operand without elements stands for an absent one.
  const auto optional = [&](int i, DType dtype) {
    return c.has(i) ? c.in(i) : b.constant(Tensor(dtype, {0}));
  };
  const NodeId operands[] = {c.in(0), c.in(1), optional(2, DType::i64), optional(3, DType::f32),
                             optional(4, DType::f32)};
  const int64_t center = c.attr("center_point_box", int64_t{0});
  const TensorType result{DType::i64, {Dim::unknown(), 3}};
  return b.get(
      b.call({"non_max_suppression", {parameter("center_point_box", center)}}, operands, {result}),
      0);
}

constexpr OpRow kRows[] = {
    {"Compress", lower_compress},
    {"NonMaxSuppression", lower_non_max_suppression},
    {"NonZero", lower_nonzero},
    {"Unique", lower_unique},
};

}  // namespace

std::span<const OpRow> selection_ops() { return kRows; }

}  // namespace onrush
