// The functions behind run_call(); calls.h documents each.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/attributes.h"
#include <onrush/tensor.h>

namespace onrush::reference {

// A call's operands, and its parameters by name.
class CallArguments {
 public:
  CallArguments(const CallAttr& call, std::span<const Tensor> operands)
      : call_(call), operands_(operands) {}

  const Tensor& operator[](size_t index) const;
  // Null where an optional operand is absent or has no elements.
  const Tensor* optional(size_t index) const;

  const Tensor* find(std::string_view name) const;
  const Tensor& parameter(std::string_view name) const;  // must be there
  std::optional<int64_t> integer(std::string_view name) const;
  int64_t integer(std::string_view name, int64_t otherwise) const;
  std::string text(std::string_view name, std::string otherwise) const;

 private:
  const CallAttr& call_;
  std::span<const Tensor> operands_;
};

using CallResults = std::vector<Tensor>;

CallResults nonzero(const CallArguments& arguments);
CallResults unique(const CallArguments& arguments);
CallResults non_max_suppression(const CallArguments& arguments);
CallResults det(const CallArguments& arguments);
CallResults compress(const CallArguments& arguments);
CallResults string_concat(const CallArguments& arguments);
CallResults string_equal(const CallArguments& arguments);
CallResults string_split(const CallArguments& arguments);
CallResults string_normalizer(const CallArguments& arguments);
CallResults regex_full_match(const CallArguments& arguments);
CallResults tfidf_vectorizer(const CallArguments& arguments);
CallResults cast_to_string(const CallArguments& arguments);
CallResults cast_from_string(const CallArguments& arguments);
CallResults string_place(const CallArguments& arguments);
CallResults tree_ensemble(const CallArguments& arguments);
CallResults couple_probabilities(const CallArguments& arguments);

}  // namespace onrush::reference
