// Gather, GatherElements, GatherND, ReverseSequence
#include "lower/helpers.h"
#include "lower/tensor_index.h"
#include "lower/tensor_ops.h"

namespace onrush {
namespace {

// A single index known while lowering reads a slice, which is movement.
std::optional<NodeId> gather_slice(const OpContext& c, int axis) {
  const Dim extent = c.shape(0)[axis];
  const auto known = c.b.elements(c.in(1));
  if (!known || known->size() != 1) return std::nullopt;
  Dim index = known->front();
  if (decide(less(index, 0), "Gather: an index from the end")) index = index + extent;
  c.require(decide(less_equal(0, index), "Gather") && decide(less(index, extent), "Gather"),
            fmt::format("index {} is outside the axis, which has extent {}", known->front().value(),
                        extent.value()));
  return c.b.slice_axis(c.in(0), axis, index, 1);
}

template <class Relation>
void require_relation(const OpContext& c, const Dims& extents, const Dims& others, int except,
                      std::string_view what, std::string_view text, Relation relation) {
  c.require(extents.size() == others.size(),
            fmt::format("{} must have rank {}, not {}", what, others.size(), extents.size()));
  for (size_t i = 0; i < extents.size(); ++i)
    if (static_cast<int>(i) != except && !decide(relation(extents[i], others[i]), what))
      c.fail(fmt::format("{} have extent {} along axis {}, which must be {} {}", what,
                         extents[i].value(), i, text, others[i].value()));
}

}  // namespace

void require_equal(const OpContext& c, const Dims& extents, const Dims& expected,
                   std::string_view what, int except) {
  require_relation(c, extents, expected, except, what, "equal to", equal);
}

void require_at_most(const OpContext& c, const Dims& extents, const Dims& limits,
                     std::string_view what, int except) {
  require_relation(c, extents, limits, except, what, "at most", less_equal);
}

NodeId wrapped_index(Builder& b, NodeId index, Dim extent) {
  if (bits(b.dtype(index)) < 32) index = b.cast(index, DType::i64);
  const NodeId from_end = b.add(index, dim_scalar(b, b.dtype(index), extent));
  return b.select(b.less(index, b.like(index, 0)), from_end, index);
}

NodeId index_column(Builder& b, NodeId indices, int64_t k, Dim extent, int rank) {
  const int last = b.rank(indices) - 1;
  const NodeId column = b.squeeze(b.slice_axis(indices, last, k, 1), {last});
  return b.unsqueeze(wrapped_index(b, column, extent), axis_range(last, rank));
}

Results lower_gather(OpContext& c) {
  Builder& b = c.b;
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  const int index_rank = c.rank(1);
  Dims shape = c.shape(0);
  const Dim extent = shape[axis];
  const Dims inserted = c.shape(1);
  shape.erase(shape.begin() + axis);
  shape.insert(shape.begin() + axis, inserted.begin(), inserted.end());
  if (const auto slice = gather_slice(c, axis)) return b.reshape(*slice, std::move(shape));
  std::vector<int> source = axis_range(0, c.rank(0));
  source[axis] = ~0;
  for (int i = axis + 1; i < c.rank(0); ++i) source[i] = i + index_rank - 1;
  // The index varies along the inserted axes only.
  const NodeId index = b.unsqueeze(wrapped_index(b, c.in(1), extent),
                                   axis_range(index_rank, index_rank + c.rank(0) - 1 - axis));
  return b.gather(c.in(0), {&index, 1}, std::move(source), std::move(shape));
}

Results lower_gather_elements(OpContext& c) {
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  require_at_most(c, c.shape(1), c.shape(0), "the indices", axis);
  std::vector<int> source = axis_range(0, c.rank(0));
  source[axis] = ~0;
  const NodeId index = wrapped_index(c.b, c.in(1), c.shape(0)[axis]);
  return c.b.gather(c.in(0), {&index, 1}, std::move(source), c.shape(1));
}

Results lower_gather_nd(OpContext& c) {
  const Dims data = c.shape(0), indices = c.shape(1);
  c.require(!indices.empty(), "the indices must have rank 1 or more");
  const int batch = c.attr("batch_dims", 0);
  const int index_rank = c.rank(1) - 1;  // axes of the result that the indices give
  const int addressed = static_cast<int>(fix(indices.back(), "GatherND: length of an index"));
  c.require(batch >= 0 && batch <= index_rank && batch + addressed <= c.rank(0),
            "an index is longer than the data has axes after batch_dims");
  require_equal(c, {indices.begin(), indices.begin() + batch}, {data.begin(), data.begin() + batch},
                "the batch axes of the indices");
  Dims shape(indices.begin(), indices.end() - 1);
  shape.insert(shape.end(), data.begin() + batch + addressed, data.end());
  const int rank = static_cast<int>(shape.size());
  std::vector<int> source = axis_range(0, batch);
  std::vector<NodeId> operands;
  for (int k = 0; k < addressed; ++k) {
    source.push_back(~k);
    operands.push_back(index_column(c.b, c.in(1), k, data[batch + k], rank));
  }
  for (int axis = index_rank; axis < rank; ++axis) source.push_back(axis);
  return c.b.gather(c.in(0), operands, std::move(source), std::move(shape));
}

Results lower_reverse_sequence(OpContext& c) {
  Builder& b = c.b;
  const Dims shape = c.shape(0);
  const int batch = c.axis(c.attr("batch_axis", 1), c.rank(0));
  const int time = c.axis(c.attr("time_axis", 0), c.rank(0));
  c.require(batch != time, "batch_axis and time_axis must differ");
  Dims per_time(shape.size(), Dim(1)), per_batch = per_time;
  per_time[time] = shape[time];
  per_batch[batch] = shape[batch];
  const NodeId step = b.iota(DType::i64, per_time, time);
  const NodeId length = b.cast(b.reshape(c.in(1), per_batch), DType::i64);
  const NodeId mirrored = b.sub(b.sub(length, b.like(length, 1)), step);
  const NodeId index = b.select(b.less(step, length), mirrored, step);
  std::vector<int> source = axis_range(0, c.rank(0));
  source[time] = ~0;
  return b.gather(c.in(0), {&index, 1}, std::move(source), shape);
}

}  // namespace onrush
