// cast_to_string, cast_from_string
#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "base/numeric.h"
#include "reference/call_table.h"
#include "reference/element.h"

namespace onrush::reference {
namespace {

// The shortest "d.ddde+xx" that reads back as the same element.
std::string shortest_scientific(DType dtype, double value) {
  std::array<char, 64> text;
  const auto written = [&](std::to_chars_result result) {
    return std::string(text.data(), result.ptr);
  };
  char* const end = text.data() + text.size();
  if (dtype == DType::f64)
    return written(std::to_chars(text.data(), end, value, std::chars_format::scientific));
  if (dtype == DType::f32)
    return written(
        std::to_chars(text.data(), end, static_cast<float>(value), std::chars_format::scientific));
  for (int digits = 0;; ++digits) {  // f16, bf16 and smaller: at most 5 digits
    std::string candidate =
        written(std::to_chars(text.data(), end, value, std::chars_format::scientific, digits));
    uint32_t element = 0;
    store_f64(dtype, &element, 0, std::strtod(candidate.c_str(), nullptr));
    if (digits == 8 || load_f64(dtype, &element, 0) == value) return candidate;
  }
}

std::string to_text(DType dtype, double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-INF" : "INF";
  std::string scientific = shortest_scientific(dtype, value);
  const size_t e = scientific.rfind('e');
  const int exponent = std::stoi(scientific.substr(e + 1));
  if (value != 0 && (exponent < -4 || exponent >= 16)) return scientific;
  // Plain: the same digits, the point moved by the exponent.
  const std::string sign = std::signbit(value) ? "-" : "";
  std::string digits = scientific.substr(sign.size(), e - sign.size());
  std::erase(digits, '.');
  if (exponent < 0)
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) digits.resize(whole + 1, '0');
  return sign + digits.insert(whole, ".");
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b,
                            [](char x, char y) { return std::tolower(x) == std::tolower(y); });
}

// The number that makes up the whole text. std::from_chars reads inf and nan in any case.
template <class T>
std::optional<T> parse(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end != text.data() + text.size() || text.empty()) return std::nullopt;
  if (error == std::errc::result_out_of_range && std::floating_point<T>)
    return static_cast<T>(std::strtod(std::string(text).c_str(), nullptr));  // infinity or zero
  return error == std::errc{} ? std::optional<T>(value) : std::nullopt;
}

template <class T>
std::optional<T> parse_element(DType dtype, std::string_view text) {
  if (dtype == DType::boolean && equal_ignoring_case(text, "true")) return T{1};
  if (dtype == DType::boolean && equal_ignoring_case(text, "false")) return T{0};
  if (const auto value = parse<T>(text)) return value;
  const auto number = parse<double>(text);  // an integer written as 1e3 or 2.0
  return number ? std::optional<T>(convert<T>(*number)) : std::nullopt;
}

}  // namespace

CallResults cast_to_string(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  Tensor out(DType::string, x.shape());
  visit_compute(x.dtype(), [&]<class T>() {
    const std::vector<T> values = load_all<T>(x);
    for (size_t i = 0; i < values.size(); ++i) {
      if constexpr (std::floating_point<T>) out.strings()[i] = to_text(x.dtype(), values[i]);
      else out.strings()[i] = std::to_string(values[i]);
    }
  });
  return {out};
}

CallResults cast_from_string(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const auto dtype = static_cast<DType>(arguments.integer("dtype", 0));
  return {visit_compute(dtype, [&]<class T>() {
    std::vector<T> values;
    for (const std::string& text : x.strings()) {
      const auto value = parse_element<T>(dtype, trim(text));
      if (!value)
        fail(ErrorCode::invalid_argument, "cannot cast the string '{}' to {}", text,
             onnx_name(dtype));
      values.push_back(*value);
    }
    return make_tensor(dtype, x.shape(), values);
  })};
}

}  // namespace onrush::reference
