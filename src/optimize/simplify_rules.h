// The rules of simplify, by family, and what they share.
#pragma once

#include <optional>
#include <span>

#include "optimize/rewriter.h"

namespace onrush {

std::span<const Rule> arithmetic_rules();  // one or two operands, casts, select
std::span<const Rule> broadcast_rules();
std::span<const Rule> power_rules();       // powers, clamps, quotients that have one spelling
std::span<const Rule> activation_rules();  // GELU and its kind
std::span<const Rule> movement_rules();
std::span<const Rule> slice_rules();
std::span<const Rule> gather_rules();
std::span<const Rule> reduction_rules();

// x and c where the node is op(x, c) and every element of c is `value`.
struct WithNumber {
  NodeId x;
  double value;
};
std::optional<WithNumber> with_number(Rewriter& r, NodeId id, Op op);

// Equal up to the rounding of constants that were written in `dtype`.
bool nearly(double a, double b, DType dtype);

// x where the node is a broadcast of x, else the node.
NodeId before_broadcast(const Builder& b, NodeId id);

}  // namespace onrush
