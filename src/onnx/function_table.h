// The functions of a model by the nodes that call them.
#pragma once

#include <map>
#include <string_view>
#include <tuple>
#include <vector>

#include "onnx/model.h"
#include "onnx/place.h"

namespace onrush::onnx {

inline constexpr int kMaxCallDepth = 128;

// Refers to the functions it was made from.
class FunctionTable {
 public:
  explicit FunctionTable(const std::vector<Function>& functions);

  // The function that `node` calls by domain, name and overload; null if it is an operator.
  const Function* callee(const Node& node) const;

 private:
  using Key = std::tuple<std::string_view, std::string_view, std::string_view>;
  std::map<Key, const Function*> table_;
};

// Throws Error{invalid_model} at `file` if functions call each other in a circle, and
// Error{unsupported} if calls nest deeper than kMaxCallDepth.
void check_calls(const std::vector<Function>& functions, const FunctionTable& table,
                 const Place& file);

}  // namespace onrush::onnx
