#include "reference/calls.h"

#include <array>
#include <string_view>

#include "base/check.h"
#include "base/numeric.h"
#include "reference/call_table.h"

namespace onrush {
namespace reference {
namespace {

struct Row {
  std::string_view name;
  CallResults (*run)(const CallArguments&);
};

constexpr std::array kRows = {
    Row{"nonzero", nonzero},
    Row{"unique", unique},
    Row{"non_max_suppression", non_max_suppression},
    Row{"det", det},
    Row{"compress", compress},
    Row{"string_concat", string_concat},
    Row{"string_equal", string_equal},
    Row{"string_split", string_split},
    Row{"string_normalizer", string_normalizer},
    Row{"regex_full_match", regex_full_match},
    Row{"tfidf_vectorizer", tfidf_vectorizer},
    Row{"cast_to_string", cast_to_string},
    Row{"cast_from_string", cast_from_string},
    Row{"string_place", string_place},
    Row{"tree_ensemble", tree_ensemble},
    Row{"couple_probabilities", couple_probabilities},
};

}  // namespace

const Tensor& CallArguments::operator[](size_t index) const {
  internal_check(index < operands_.size(), "a call lacks an operand");
  return operands_[index];
}

const Tensor* CallArguments::optional(size_t index) const {
  return index < operands_.size() && operands_[index].count() > 0 ? &operands_[index] : nullptr;
}

const Tensor* CallArguments::find(std::string_view name) const {
  for (const auto& [key, value] : call_.parameters)
    if (key == name) return &value;
  return nullptr;
}

const Tensor& CallArguments::parameter(std::string_view name) const {
  if (const Tensor* value = find(name)) return *value;
  internal_error(fmt::format("the call of {} lacks the parameter {}", call_.callee, name));
}

std::optional<int64_t> CallArguments::integer(std::string_view name) const {
  const Tensor* value = find(name);
  if (!value) return std::nullopt;
  return load_i64(value->dtype(), value->data(), 0);
}

int64_t CallArguments::integer(std::string_view name, int64_t otherwise) const {
  return integer(name).value_or(otherwise);
}

std::string CallArguments::text(std::string_view name, std::string otherwise) const {
  const Tensor* value = find(name);
  return value ? value->strings()[0] : otherwise;
}

}  // namespace reference

std::vector<Tensor> run_call(const CallAttr& call, std::span<const Tensor> operands) {
  for (const auto& row : reference::kRows)
    if (row.name == call.callee) return row.run(reference::CallArguments(call, operands));
  internal_error(fmt::format("there is no function {} to call", call.callee));
}

}  // namespace onrush
