// Where an element stands, as expressions over a kernel's axes.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "codegen/loops.h"

namespace onrush {

// One coordinate: affine in the axes, plus values of the kernel times strides.
struct Coordinate {
  Affine affine;
  std::vector<std::pair<ValueId, Dim>> dynamic;
  bool is_affine() const { return dynamic.empty(); }
};
using Coordinates = std::vector<Coordinate>;

Coordinate operator+(const Coordinate& a, const Coordinate& b);
Coordinate operator*(const Coordinate& a, Dim scale);
Coordinate constant_coordinate(Dim value);
bool same(const Affine& a, const Affine& b);
bool same(const Coordinates& a, const Coordinates& b);
void append_key(std::string& key, const Coordinates& coordinates);

// Affine quotient and remainder by `divisor` where the axes' extents prove them.
struct Division {
  Affine quotient, remainder;
};
std::optional<Division> divide(const Affine& a, Dim divisor, const std::vector<Axis>& axes);

// Matching runs of dims in two shapes of equal element count: [begin, end) of each.
struct ReshapeSegment {
  size_t from_begin, from_end, to_begin, to_end;
};
std::vector<ReshapeSegment> reshape_segments(const Dims& from, const Dims& to);

// Whether a reshape only merges and evenly splits dims, so that coordinates stay affine.
bool splits_evenly(const Dims& from, const Dims& to);

Dims row_major_strides(const Dims& shape);

}  // namespace onrush
