// Where in a model a defect lies, for error messages.
#pragma once

#include <cstdint>
#include <fmt/format.h>
#include <string>
#include <string_view>
#include <utility>

#include <onrush/error.h>

namespace onrush::onnx {

// One step of the way from the file down to a tensor. Steps live on the stack of whoever walks the
// model; `name` and `op_type` are views of the file's bytes or of the Model.
struct Place {
  const Place* parent = nullptr;  // null: the file itself, `name` being its path
  std::string_view kind = {};     // "node", "attribute", "tensor" ...
  std::string_view name = {};     // empty: shown by index
  int64_t index = -1;
  std::string_view op_type = {};  // nodes only
};

// "model.onnx: node 'conv1' (Conv): attribute 'value'", "model in memory: node 3".
std::string describe(const Place& place);

// The name in quotes, cut after 100 bytes, control characters escaped.
std::string quoted(std::string_view name);

template <class... Args>
[[noreturn]] void fail_at(ErrorCode code, const Place& place, fmt::format_string<Args...> format,
                          Args&&... args) {
  throw Error(code, describe(place) + ": " + fmt::format(format, std::forward<Args>(args)...));
}

// With ErrorCode::invalid_model.
template <class... Args>
[[noreturn]] void fail_at(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
  fail_at(ErrorCode::invalid_model, place, format, std::forward<Args>(args)...);
}

}  // namespace onrush::onnx
