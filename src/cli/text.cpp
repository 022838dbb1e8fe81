#include "cli/text.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "base/numeric.h"

namespace onrush::cli {
namespace {

constexpr int64_t kShownElements = 8;
constexpr size_t kShownBytes = 60;  // of a string

struct Statistics {
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  double mean = 0, deviation = 0;  // of the finite elements
  int64_t finite = 0, nans = 0, infinities = 0;
};

// One pass (Welford 1962).
Statistics statistics(const Tensor& tensor) {
  Statistics s;
  double squares = 0;
  for (int64_t i = 0; i < tensor.count(); ++i) {
    const double x = load_f64(tensor.dtype(), tensor.data(), i);
    if (std::isnan(x)) {
      ++s.nans;
    } else if (std::isinf(x)) {
      ++s.infinities;
    } else {
      s.min = std::min(s.min, x);
      s.max = std::max(s.max, x);
      const double delta = x - s.mean;
      s.mean += delta / static_cast<double>(++s.finite);
      squares += delta * (x - s.mean);
    }
  }
  if (s.finite) s.deviation = std::sqrt(squares / static_cast<double>(s.finite));
  return s;
}

std::string shown_string(const std::string& text) {
  return json_string(text.size() <= kShownBytes ? text : text.substr(0, kShownBytes) + "...");
}

std::string shown_complex(double real, double imaginary) {
  return fmt::format("{:.5g}{:+.5g}i", real, imaginary);
}

std::string shown_element(const Tensor& tensor, int64_t i) {
  const auto at = static_cast<size_t>(i);
  const DType dtype = tensor.dtype();
  if (dtype == DType::string) return shown_string(tensor.strings()[at]);
  if (dtype == DType::boolean) return tensor.as<uint8_t>()[at] ? "true" : "false";
  if (dtype == DType::c64)
    return shown_complex(tensor.as<float[2]>()[at][0], tensor.as<float[2]>()[at][1]);
  if (dtype == DType::c128)
    return shown_complex(tensor.as<double[2]>()[at][0], tensor.as<double[2]>()[at][1]);
  if (dtype == DType::u64) return fmt::format("{}", tensor.as<uint64_t>()[at]);
  if (is_integer(dtype)) return fmt::format("{}", load_i64(dtype, tensor.data(), i));
  return fmt::format("{:.6g}", load_f64(dtype, tensor.data(), i));
}

bool is_number(DType dtype) {
  return dtype != DType::string && dtype != DType::boolean && !is_complex(dtype);
}

}  // namespace

std::string declared_shape(const Argument& argument) {
  if (!argument.shape) return "[...]";
  std::vector<std::string> dims;
  for (const ArgumentDim& dim : *argument.shape)
    dims.push_back(dim.value ? std::to_string(*dim.value) : dim.name.empty() ? "?" : dim.name);
  return fmt::format("[{}]", fmt::join(dims, ","));
}

std::string argument_text(const Argument& argument) {
  const std::string shape =
      argument.dtype == DType::undefined ? "" : " " + declared_shape(argument);
  return fmt::format("{}: {}{}", argument.name, argument.type, shape);
}

std::string human_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return fmt::format("{} bytes", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string human_count(uint64_t count) {
  if (count < 1'000'000) return fmt::format("{}", count);
  if (count < 1'000'000'000) return fmt::format("{:.1f} M", static_cast<double>(count) / 1e6);
  return fmt::format("{:.2f} G", static_cast<double>(count) / 1e9);
}

std::string json_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += {'\\', c};
    else if (static_cast<uint8_t>(c) < 0x20)
      result += fmt::format("\\u{:04x}", static_cast<int>(c));
    else result += c;
  }
  return result + '"';
}

NamedTensors tensors_of(const std::string& name, const Value& value) {
  if (value.is_tensor()) return {{name, value.tensor()}};
  if (value.is_optional())
    return value.optional().value ? tensors_of(name, *value.optional().value) : NamedTensors{};
  NamedTensors tensors;
  const auto append = [&](const std::string& prefix, const std::vector<Value>& values) {
    for (size_t i = 0; i < values.size(); ++i)
      for (auto& tensor : tensors_of(fmt::format("{}.{}", prefix, i), values[i]))
        tensors.push_back(std::move(tensor));
  };
  if (value.is_sequence()) {
    append(name, value.sequence().elements);
  } else {
    tensors.emplace_back(name + ".keys", value.map().keys);
    append(name + ".values", value.map().values);
  }
  return tensors;
}

std::string summary(const std::string& name, const Tensor& tensor) {
  std::string text =
      fmt::format("{}: {} {}\n", name, onnx_name(tensor.dtype()), to_string(tensor.shape()));
  if (tensor.count() == 0) return text;
  text += " ";
  for (int64_t i = 0; i < std::min(tensor.count(), kShownElements); ++i)
    text += " " + shown_element(tensor, i);
  text += tensor.count() > kShownElements ? " ...\n" : "\n";
  if (!is_number(tensor.dtype()) || tensor.count() == 1) return text;
  const Statistics s = statistics(tensor);
  if (s.finite)
    text += fmt::format("  min {:.6g}, max {:.6g}, mean {:.6g}, standard deviation {:.6g}\n", s.min,
                        s.max, s.mean, s.deviation);
  if (s.nans || s.infinities) text += fmt::format("  {} NaN, {} infinite\n", s.nans, s.infinities);
  return text;
}

}  // namespace onrush::cli
