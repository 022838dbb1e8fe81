// Sequences and optionals: rearranged during lowering, never seen below it.
#include <algorithm>

#include "lower/op_table.h"

namespace onrush {
namespace {

using Sequence = Lowered::Sequence;
using Optional = Lowered::Optional;

Sequence sequence_in(const OpContext& c, int i) {
  const Sequence* sequence = c.lowered(i).sequence();
  if (!sequence) c.fail(fmt::format("input {} must be a sequence", i));
  return *sequence;
}

// Input `i`, a position that counts from the end of `count` elements if negative, as an index
// below `limit`.
size_t position_in(const OpContext& c, int i, size_t count, size_t limit) {
  const std::vector<int64_t> values = c.ints_of(c.in(i));
  c.require(values.size() == 1, "the position must be a scalar");
  const int64_t position = values[0] < 0 ? values[0] + static_cast<int64_t>(count) : values[0];
  if (position < 0 || position >= static_cast<int64_t>(limit))
    c.fail(fmt::format("position {} is outside a sequence of {} elements", values[0], count));
  return static_cast<size_t>(position);
}

DType element_dtype(const OpContext& c, const Lowered& element) {
  return element.node() ? c.b.dtype(*element.node()) : DType::undefined;
}

Results sequence_construct(OpContext& c) {
  Sequence result;
  for (int i = 0; i < c.input_count(); ++i) result.elements.push_back(c.lowered(i));
  c.require(!result.elements.empty(), "needs at least one input");
  result.element = element_dtype(c, result.elements[0]);
  for (const Lowered& element : result.elements)
    c.require(element_dtype(c, element) == result.element, "the inputs must have one dtype");
  return Lowered(std::move(result));
}

Results sequence_empty(OpContext& c) {
  const auto dtype = static_cast<DType>(c.attr("dtype", static_cast<int>(DType::f32)));
  return Lowered(Sequence{dtype, {}});
}

Results sequence_at(OpContext& c) {
  const Sequence sequence = sequence_in(c, 0);
  const size_t count = sequence.elements.size();
  return sequence.elements[position_in(c, 1, count, count)];
}

Results sequence_insert(OpContext& c) {
  Sequence sequence = sequence_in(c, 0);
  const size_t count = sequence.elements.size();
  const size_t position = c.has(2) ? position_in(c, 2, count, count + 1) : count;
  const DType dtype = element_dtype(c, c.lowered(1));
  c.require(sequence.element == DType::undefined || dtype == sequence.element,
            "the tensor must have the dtype of the sequence");
  sequence.element = dtype;
  sequence.elements.insert(sequence.elements.begin() + static_cast<ptrdiff_t>(position),
                           c.lowered(1));
  return Lowered(std::move(sequence));
}

Results sequence_erase(OpContext& c) {
  Sequence sequence = sequence_in(c, 0);
  const size_t count = sequence.elements.size();
  c.require(count > 0, "cannot erase from an empty sequence");
  const size_t position = c.has(1) ? position_in(c, 1, count, count) : count - 1;
  sequence.elements.erase(sequence.elements.begin() + static_cast<ptrdiff_t>(position));
  return Lowered(std::move(sequence));
}

Results sequence_length(OpContext& c) {
  return c.b.scalar(DType::i64, static_cast<int64_t>(sequence_in(c, 0).elements.size()));
}

Results concat_from_sequence(OpContext& c) {
  std::vector<NodeId> parts;
  for (const Lowered& element : sequence_in(c, 0).elements) {
    c.require(element.node() != nullptr, "the elements of the sequence must be tensors");
    parts.push_back(*element.node());
  }
  c.require(!parts.empty(), "the sequence must not be empty");
  c.require(c.has_attr("axis"), "attribute 'axis' is required");
  const bool new_axis = c.attr("new_axis", 0) != 0;
  const int axis = c.axis(c.attr("axis", 0), c.b.rank(parts[0]) + (new_axis ? 1 : 0));
  for (NodeId& part : parts) {
    c.require(c.b.rank(part) == c.b.rank(parts[0]) || new_axis, "the tensors must have one rank");
    if (new_axis) part = c.b.unsqueeze(part, {axis});
  }
  return c.b.concat(parts, axis);
}

// Extents of the parts of `whole`: given one by one, or one size for all with a smaller last.
Dims split_extents(const OpContext& c, Dim whole) {
  if (c.has(1) && c.rank(1) == 1) {
    const Dims extents = c.dims_of(c.in(1));
    Dim total = 0;
    for (Dim extent : extents) total = total + extent;
    if (!decide(equal(total, whole), "SplitToSequence"))
      c.fail(fmt::format("the lengths in 'split' must add up to {}", to_string(whole)));
    return extents;
  }
  const Dim size = c.has(1) ? c.dims_of(c.in(1))[0] : Dim(1);
  c.require(decide(less(0, size), "SplitToSequence"), "'split' must be positive");
  const int64_t count = fix(ceildiv(whole, size), "number of parts of SplitToSequence");
  Dims extents(static_cast<size_t>(count), size);
  if (count > 0) extents.back() = whole - size * (count - 1);
  return extents;
}

Results split_to_sequence(OpContext& c) {
  const int axis = c.axis(c.attr("axis", 0), c.rank(0));
  const bool keep = c.has(1) || c.attr("keepdims", 1) != 0;
  Sequence result{c.dtype(0), {}};
  Dim start = 0;
  for (Dim extent : split_extents(c, c.shape(0)[static_cast<size_t>(axis)])) {
    const NodeId part = c.b.slice_axis(c.in(0), axis, start, extent);
    result.elements.push_back(keep ? part : c.b.squeeze(part, {axis}));
    start = start + extent;
  }
  return Lowered(std::move(result));
}

Results optional(OpContext& c) {
  if (c.lowered(0).is_absent()) return Lowered(Optional{});
  return Lowered(Optional{std::make_shared<const Lowered>(c.lowered(0))});
}

Results optional_has_element(OpContext& c) {
  const Lowered& value = c.lowered(0);
  const bool has = value.optional() ? value.optional()->value != nullptr : !value.is_absent();
  return c.b.scalar(DType::boolean, has ? 1 : 0);
}

Results optional_get_element(OpContext& c) {
  const Lowered& value = c.lowered(0);
  if (!value.optional()) return value;
  c.require(value.optional()->value != nullptr, "the optional is empty");
  return *value.optional()->value;
}

constexpr OpRow kOps[] = {
    {"SequenceConstruct", sequence_construct},
    {"SequenceEmpty", sequence_empty},
    {"SequenceAt", sequence_at},
    {"SequenceInsert", sequence_insert},
    {"SequenceErase", sequence_erase},
    {"SequenceLength", sequence_length},
    {"ConcatFromSequence", concat_from_sequence},
    {"SplitToSequence", split_to_sequence},
    {"Optional", optional},
    {"OptionalHasElement", optional_has_element},
    {"OptionalGetElement", optional_get_element},
};

}  // namespace

std::span<const OpRow> structure_ops() { return kOps; }

}  // namespace onrush
