// Node-level building blocks that several operator families share.
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "lower/op_context.h"

namespace onrush {

// The dtype that numerically sensitive work on `dtype` is done in: f32 for the narrower floats,
// else `dtype`.
DType wide(DType dtype);
NodeId widen(Builder& b, NodeId x);  // cast to wide(its dtype)

// A dim as a scalar of any real dtype.
NodeId dim_scalar(Builder& b, DType dtype, Dim dim);
// Every element is `value`.
NodeId full(Builder& b, DType dtype, double value, Dims shape);
// first, first + 1, ... last - 1
Axes axis_range(int first, int last);

// A vector with one element a channel, as it broadcasts against [N, C, spatial...] of `rank`.
// Throws Error{invalid_model} if it is no vector.
NodeId per_channel(Builder& b, NodeId vector, int rank);

// exp(x - max) / sum(exp(x - max)) over `axes` together, rounded once to x's dtype.
NodeId softmax(Builder& b, NodeId x, Axes axes);
// x - max - log(sum(exp(x - max)))
NodeId log_softmax(Builder& b, NodeId x, Axes axes);

// A stream of random bits of the operator's own; `draw` tells apart several of one operator. Reads
// the attribute `seed`, a float or an integer: without it every run draws anew.
RandomAttr random_stream(const OpContext& c, int draw = 0);
// Uniform in [0, 1), a multiple of 2^-24; dtype f32 or f64.
NodeId uniform(const OpContext& c, DType dtype, Dims shape, int draw = 0);

// The dtype that an integer attribute names, or `otherwise`.
DType dtype_attr(const OpContext& c, std::string_view name, DType otherwise);

// One table of a family that is spread over several files.
std::vector<OpRow> join_rows(std::initializer_list<std::span<const OpRow>> tables);

}  // namespace onrush
