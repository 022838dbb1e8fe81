#include "engines/accuracy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fmt/format.h>

#include "base/numeric.h"

namespace onrush::engines {
namespace {

// Numbers of a format in order, so that neighbours differ by one.
template <class Bits>
int64_t ordered(Bits bits) {
  constexpr Bits kSign = Bits(1) << (8 * sizeof(Bits) - 1);
  const auto magnitude = static_cast<int64_t>(bits & ~kSign);
  return bits & kSign ? -magnitude : magnitude;
}

double ulps_between(const Tensor& a, const Tensor& b, int64_t i) {
  if (a.dtype() != b.dtype()) return 0;
  const auto at = static_cast<size_t>(i);
  const auto distance = [](int64_t x, int64_t y) {
    return std::abs(static_cast<double>(x) - static_cast<double>(y));
  };
  switch (a.dtype()) {
    case DType::f32: return distance(ordered(a.as<uint32_t>()[at]), ordered(b.as<uint32_t>()[at]));
    case DType::f64: return distance(ordered(a.as<uint64_t>()[at]), ordered(b.as<uint64_t>()[at]));
    case DType::f16:
    case DType::bf16: return distance(ordered(a.as<uint16_t>()[at]), ordered(b.as<uint16_t>()[at]));
    default: return 0;
  }
}

std::string place_text(const std::string& name, const Shape& shape, int64_t element) {
  Shape at(shape.size());
  for (size_t axis = shape.size(); axis-- > 0; element /= shape[axis])
    at[axis] = element % shape[axis];
  return fmt::format("{} {}", name, to_string(at));
}

// The share of rows whose largest element is at the same place; none for what is no row of scores.
std::optional<double> top1_agreement(const Tensor& output, const Tensor& expected) {
  const Shape& shape = expected.shape();
  if (!is_float(expected.dtype()) || shape.empty() || shape.back() < 2 || !expected.count())
    return std::nullopt;
  const int64_t width = shape.back(), rows = expected.count() / width;
  const auto place_of_maximum = [&](const Tensor& tensor, int64_t row) {
    int64_t best = 0;
    for (int64_t i = 1; i < width; ++i)
      if (load_f64(tensor.dtype(), tensor.data(), row * width + i) >
          load_f64(tensor.dtype(), tensor.data(), row * width + best))
        best = i;
    return best;
  };
  int64_t agreeing = 0;
  for (int64_t row = 0; row < rows; ++row)
    agreeing += place_of_maximum(output, row) == place_of_maximum(expected, row);
  return static_cast<double>(agreeing) / static_cast<double>(rows);
}

std::string mismatch(const Tensor& output, const Tensor& expected, const std::string& name) {
  const bool comparable = is_float(output.dtype()) && is_float(expected.dtype());
  if (output.dtype() != expected.dtype() && !comparable)
    return fmt::format("{} has type {} in place of {}", name, onnx_name(output.dtype()),
                       onnx_name(expected.dtype()));
  if (output.shape() != expected.shape())
    return fmt::format("{} has shape {} in place of {}", name, to_string(output.shape()),
                       to_string(expected.shape()));
  return {};
}

// Of text and complex numbers: whether they are the same.
Difference identity(const Tensor& output, const Tensor& expected, const std::string& name) {
  const bool same =
      expected.dtype() == DType::string
          ? std::ranges::equal(output.strings(), expected.strings())
          : std::ranges::equal(
                std::span(static_cast<const char*>(output.data()), output.bytes()),
                std::span(static_cast<const char*>(expected.data()), expected.bytes()));
  Difference result;
  if (!same) result.mismatch = name + " has other elements";
  return result;
}

void take_worse(Difference& worst, const Difference& next) {
  if (worst.mismatch.empty()) worst.mismatch = next.mismatch;
  worst.absolute = std::max(worst.absolute, next.absolute);
  worst.relative = std::max(worst.relative, next.relative);
  worst.ulps = std::max(worst.ulps, next.ulps);
  worst.cosine = std::min(worst.cosine, next.cosine);
  if (next.top1) worst.top1 = std::min(worst.top1.value_or(1), *next.top1);
  if (worst.first_nan.empty()) worst.first_nan = next.first_nan;
}

}  // namespace

Difference difference(const Tensor& output, const Tensor& expected, const std::string& name) {
  Difference result;
  result.mismatch = mismatch(output, expected, name);
  if (!result.mismatch.empty()) return result;
  if (expected.dtype() == DType::string || is_complex(expected.dtype()))
    return identity(output, expected, name);
  double largest = 0, product = 0, squares = 0, expected_squares = 0;
  for (int64_t i = 0; i < expected.count(); ++i) {
    const double a = load_f64(output.dtype(), output.data(), i);
    const double b = load_f64(expected.dtype(), expected.data(), i);
    if (std::isnan(a) != std::isnan(b) && result.first_nan.empty())
      result.first_nan = place_text(name, expected.shape(), i);
    if (std::isnan(a) || std::isnan(b) || a == b) {
      if (a == b && std::isfinite(a)) {
        largest = std::max(largest, std::abs(b));
        product += a * b, squares += a * a, expected_squares += b * b;
      }
      continue;
    }
    largest = std::isfinite(b) ? std::max(largest, std::abs(b)) : largest;
    result.absolute = std::max(result.absolute, std::abs(a - b));
    result.ulps = std::max(result.ulps, ulps_between(output, expected, i));
    product += a * b, squares += a * a, expected_squares += b * b;
  }
  if (result.absolute > 0) {
    result.relative = largest > 0 ? result.absolute / largest : result.absolute;
    const double lengths = std::sqrt(squares) * std::sqrt(expected_squares);
    result.cosine = lengths > 0 ? std::min(1.0, product / lengths) : 0;
  }
  result.top1 = top1_agreement(output, expected);
  return result;
}

Difference difference(std::span<const Tensor> outputs, std::span<const Tensor> expected) {
  Difference worst;
  if (outputs.size() != expected.size())
    worst.mismatch = fmt::format("{} outputs in place of {}", outputs.size(), expected.size());
  for (size_t i = 0; i < std::min(outputs.size(), expected.size()); ++i)
    take_worse(worst, difference(outputs[i], expected[i], fmt::format("output {}", i)));
  return worst;
}

}  // namespace onrush::engines
