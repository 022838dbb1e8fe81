// How far the outputs of two engines are apart.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <onrush/tensor.h>

namespace onrush::engines {

// The worst of all outputs; floating-point types of other width are compared, too. Equal
// infinities, and NaN where NaN is expected, are no difference.
struct Difference {
  std::string mismatch;  // what cannot be compared: "output 1 has shape [2] in place of [3]"
  double absolute = 0;
  double relative = 0;  // the largest absolute one as a part of the output's largest element
  double ulps = 0;      // representable numbers between two elements, of equal floating-point types
  double cosine = 1;    // of the angle between outputs, taken as vectors
  std::optional<double> top1;  // share of rows (of the last axis) with their maximum at one place
  std::string first_nan;       // where only one has a NaN: "output 0 [0,3]"; empty: nowhere
};

Difference difference(std::span<const Tensor> outputs, std::span<const Tensor> expected);
Difference difference(const Tensor& output, const Tensor& expected, const std::string& name);

}  // namespace onrush::engines
