// The activation functions of RNN, GRU and LSTM.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "lower/op_context.h"

namespace onrush {

struct ActivationKind {
  std::string_view name;             // lower case; ONNX's names are compared without case
  std::optional<float> alpha, beta;  // defaults of the parameters it takes
  NodeId (*apply)(Builder& b, NodeId x, NodeId alpha, NodeId beta);
};

struct Activation {
  const ActivationKind* kind;
  float alpha, beta;

  NodeId operator()(Builder& b, NodeId x) const {
    return kind->apply(b, x, b.like(x, alpha), b.like(x, beta));
  }
};

// Attributes `activations`, `activation_alpha` and `activation_beta`: one set of functions after
// the other for each direction; parameters are consumed by those functions that take them.
std::vector<Activation> activations_of(const OpContext& c,
                                       std::span<const std::string_view> defaults, int directions);

}  // namespace onrush
