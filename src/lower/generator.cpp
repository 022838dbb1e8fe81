// Operators that make tensors of sizes and attributes: constants, ranges, windows, shapes.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lower/family_parts.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

template <class T>
Tensor vector_of(DType dtype, const std::vector<T>& values) {
  return Tensor::of<T>(dtype, {static_cast<int64_t>(values.size())}, values);
}

Tensor constant_value(const OpContext& c) {
  if (const auto value = c.tensor("value")) return *value;
  if (const auto value = c.tensor("sparse_value")) return *value;
  if (const auto values = c.floats("value_floats")) return vector_of(DType::f32, *values);
  if (const auto values = c.ints("value_ints")) return vector_of(DType::i64, *values);
  if (const auto values = c.strings("value_strings"))
    return Tensor::of_strings({static_cast<int64_t>(values->size())}, *values);
  if (c.has_attr("value_float"))
    return vector_of(DType::f32, std::vector{c.attr("value_float", 0.f)}).reshaped({});
  if (c.has_attr("value_int"))
    return vector_of(DType::i64, std::vector{c.attr("value_int", int64_t{0})}).reshaped({});
  c.require(c.has_attr("value_string"), "one of the attributes value, value_... is required");
  return Tensor::of_strings({}, {c.attr("value_string", "")});
}

Results lower_constant(OpContext& c) { return c.b.constant(constant_value(c)); }

Results lower_constant_of_shape(OpContext& c) {
  Builder& b = c.b;
  NodeId value = b.scalar(DType::f32, 0);
  if (const auto tensor = c.tensor("value")) {
    c.require(tensor->count() == 1, "'value' must have one element");
    value = b.constant(tensor->reshaped({}));
  }
  return b.broadcast(value, c.dims_of(c.in(0)));
}

// The one number of input `i`; sizes may come as floats.
Dim size_of(const OpContext& c, int i) {
  const NodeId node = c.in(i);
  if (is_float(c.b.dtype(node))) return static_cast<int64_t>(c.number_of(node));
  const Dims dims = c.dims_of(node);
  c.require(dims.size() == 1, "a single number is expected");
  return dims[0];
}

// start + index * step for a counted range.
NodeId progression(Builder& b, DType dtype, Dim count, NodeId start, NodeId step) {
  const NodeId index = b.cast(b.iota(DType::i64, {count}, 0), dtype);
  return b.add(b.cast(start, dtype), b.mul(index, b.cast(step, dtype)));
}

Results integer_range(OpContext& c) {
  Builder& b = c.b;
  const Dim start = size_of(c, 0), limit = size_of(c, 1);
  const int64_t delta = fix(size_of(c, 2), "the step of a Range");
  c.require(delta != 0, "the step must not be zero");
  const Dim distance = delta > 0 ? limit - start : start - limit;
  const Dim count = max(ceildiv(distance, std::abs(delta)), 0);
  if (same(start, 0) && delta == 1) return b.cast(b.iota(DType::i64, {count}, 0), c.dtype(0));
  const NodeId range =
      progression(b, DType::i64, count, b.reshape(c.in(0), {}), b.scalar(DType::i64, delta));
  return b.cast(range, c.dtype(0));
}

Results float_range(OpContext& c) {
  Builder& b = c.b;
  const double start = c.number_of(c.in(0)), limit = c.number_of(c.in(1));
  const double delta = c.number_of(c.in(2));
  c.require(delta != 0, "the step must not be zero");
  const double count = std::max(0., std::ceil((limit - start) / delta));
  c.require(count < 0x1p53, "the range has too many elements");
  // stash_type (opset 27): the narrow floats count in f32, or in f64.
  const bool in_f64 = dtype_attr(c, "stash_type", DType::f32) == DType::f64;
  const DType dtype = in_f64 && wide(c.dtype(0)) != c.dtype(0) ? DType::f64 : wide(c.dtype(0));
  return b.cast(progression(b, dtype, static_cast<int64_t>(count), b.scalar(dtype, start),
                            b.scalar(dtype, delta)),
                c.dtype(0));
}

Results lower_range(OpContext& c) {
  c.require(c.dtype(0) == c.dtype(1) && c.dtype(0) == c.dtype(2), "the inputs must have one dtype");
  return is_float(c.dtype(0)) ? float_range(c) : integer_range(c);
}

Results lower_eye_like(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) == 2, "the input must be a matrix");
  const NodeId row = b.iota(DType::i64, c.shape(0), 0);
  const NodeId column = b.iota(DType::i64, c.shape(0), 1);
  const NodeId diagonal = b.add(row, b.like(row, static_cast<double>(c.attr("k", 0))));
  return b.cast(b.equal(column, diagonal), dtype_attr(c, "dtype", c.dtype(0)));
}

// Indices count from the end where negative, since opset 11; others out of range match nothing.
Results lower_one_hot(OpContext& c) {
  Builder& b = c.b;
  const int rank = c.rank(0) + 1, axis = c.axis(c.attr("axis", -1), rank);
  c.require(c.rank(2) == 1, "the values must be [off, on]");
  const Dim depth = size_of(c, 1);
  NodeId index = b.unsqueeze(b.cast(c.in(0), DType::i64), {axis});
  if (c.opset() >= 11) {
    const NodeId from_end = b.add(index, dim_scalar(b, DType::i64, depth));
    index = b.select(b.less(index, b.like(index, 0)), from_end, index);
  }
  Dims along(static_cast<size_t>(rank), Dim(1));
  along[static_cast<size_t>(axis)] = depth;
  const auto value = [&](int i) { return b.reshape(b.slice_axis(c.in(2), 0, i, 1), {}); };
  const NodeId position = b.iota(DType::i64, along, axis);
  return b.select(b.equal(index, position), value(1), value(0));
}

// a0 - a1 * cos(2 pi i / n) + a2 * cos(4 pi i / n), with n the size or one less.
Results cosine_window(OpContext& c, double a0, double a1, double a2) {
  Builder& b = c.b;
  const Dim size = size_of(c, 0);
  const DType dtype = dtype_attr(c, "output_datatype", DType::f32);
  const DType work = dtype == DType::f64 ? DType::f64 : DType::f32;
  const NodeId period = dim_scalar(b, work, c.attr("periodic", 1) != 0 ? size : size - 1);
  const NodeId step = b.div(b.scalar(work, 2 * std::numbers::pi), period);
  const NodeId angle = b.mul(b.cast(b.iota(DType::i64, {size}, 0), work), step);
  const auto term = [&](double factor, NodeId x) {
    return b.mul(b.unary(Op::cos, x), b.scalar(work, factor));
  };
  NodeId window = b.sub(b.scalar(work, a0), term(a1, angle));
  if (a2 != 0) window = b.add(window, term(a2, b.add(angle, angle)));
  return b.cast(window, dtype);
}

Results lower_blackman_window(OpContext& c) { return cosine_window(c, 0.42, 0.5, 0.08); }
Results lower_hamming_window(OpContext& c) { return cosine_window(c, 25. / 46, 21. / 46, 0); }
Results lower_hann_window(OpContext& c) { return cosine_window(c, 0.5, 0.5, 0); }

Results lower_shape(OpContext& c) {
  const Dims& shape = c.shape(0);
  const int64_t rank = c.rank(0);
  const auto position = [&](int64_t at) {
    return std::clamp(at < 0 ? at + rank : at, int64_t{0}, rank);
  };
  const int64_t start = position(c.attr("start", int64_t{0}));
  const int64_t end = std::max(start, position(c.attr("end", rank)));
  return c.b.dims(Dims(shape.begin() + start, shape.begin() + end));
}

Results lower_size(OpContext& c) { return dim_scalar(c.b, DType::i64, product(c.shape(0))); }

constexpr OpRow kOps[] = {
    {"Constant", lower_constant},
    {"ConstantOfShape", lower_constant_of_shape},
    {"Range", lower_range},
    {"EyeLike", lower_eye_like},
    {"OneHot", lower_one_hot},
    {"BlackmanWindow", lower_blackman_window},
    {"HammingWindow", lower_hamming_window},
    {"HannWindow", lower_hann_window},
    {"Shape", lower_shape},
    {"Size", lower_size},
};

}  // namespace

std::span<const OpRow> generator_ops() {
  static const std::vector<OpRow> rows = join_rows({kOps, random_ops()});
  return rows;
}

}  // namespace onrush
