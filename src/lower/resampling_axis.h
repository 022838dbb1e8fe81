// Resizing along one axis, as tables of indices and weights that depend on sizes only.
#pragma once

#include <string>

#include "lower/op_context.h"

namespace onrush {

// Elements out per element in: a number, or the quotient of two sizes.
struct ResizeScale {
  double factor = 1;
  Dim numerator = 1, denominator = 1;
  bool is_quotient = false;

  static ResizeScale number(double factor) { return {factor, 1, 1, false}; }
  static ResizeScale quotient(Dim a, Dim b) { return {1, a, b, true}; }
  NodeId node(Builder& b) const;   // f32 scalar
  bool is_whole(int64_t n) const;  // is n; for sizes, by the values at hand
};

// What the attributes of Resize say for all axes.
struct ResizeMode {
  enum class Kind { nearest, linear, cubic };
  Kind kind = Kind::nearest;
  std::string coordinates = "asymmetric";
  std::string rounding = "simple";  // of the first version: up where it makes smaller, else down
  double cubic_a = -0.75;
  bool antialias = false;
  bool exclude_outside = false;
  double extrapolation = 0;
};

struct ResizeAxis {
  int axis;
  Dim in, out;
  ResizeScale scale;
  std::optional<NodeId> roi_start, roi_end;  // f32 scalars, for tf_crop_and_resize

  bool is_identity() const;
};

// How often each element is repeated, if that is all the resizing does.
std::optional<int64_t> nearest_repeats(const ResizeMode& mode, const ResizeAxis& axis);

// x resized along one axis; interpolation works in, and gives, weight_dtype of x's dtype.
NodeId resize_axis(const OpContext& c, NodeId x, const ResizeMode& mode, const ResizeAxis& axis);

}  // namespace onrush
