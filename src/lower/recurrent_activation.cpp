#include "lower/recurrent_activation.h"

#include <algorithm>
#include <cctype>

namespace onrush {
namespace {

using B = Builder;
using N = NodeId;
constexpr std::nullopt_t kNone = std::nullopt;

N softplus(B& b, N x) {  // log(1 + e^x) without overflow
  const N tail = b.unary(Op::log1p, b.exp(b.neg(b.unary(Op::abs, x))));
  return b.add(b.max(x, b.like(x, 0)), tail);
}

const ActivationKind kKinds[] = {
    {"relu", kNone, kNone, [](B& b, N x, N, N) { return b.max(x, b.like(x, 0)); }},
    {"tanh", kNone, kNone, [](B& b, N x, N, N) { return b.unary(Op::tanh, x); }},
    {"sigmoid", kNone, kNone, [](B& b, N x, N, N) { return b.unary(Op::sigmoid, x); }},
    {"affine", 1.0f, 0.0f, [](B& b, N x, N alpha, N beta) { return b.add(b.mul(alpha, x), beta); }},
    {"leakyrelu", 0.01f, kNone,
     [](B& b, N x, N alpha, N) { return b.select(b.less(x, b.like(x, 0)), b.mul(alpha, x), x); }},
    {"thresholdedrelu", 1.0f, kNone,
     [](B& b, N x, N alpha, N) { return b.select(b.less(x, alpha), b.like(x, 0), x); }},
    {"scaledtanh", 1.0f, 1.0f,
     [](B& b, N x, N alpha, N beta) { return b.mul(alpha, b.unary(Op::tanh, b.mul(beta, x))); }},
    {"hardsigmoid", 0.2f, 0.5f,
     [](B& b, N x, N alpha, N beta) {
       return b.min(b.max(b.add(b.mul(alpha, x), beta), b.like(x, 0)), b.like(x, 1));
     }},
    {"elu", 1.0f, kNone,
     [](B& b, N x, N alpha, N) {
       return b.select(b.less(x, b.like(x, 0)), b.mul(alpha, b.unary(Op::expm1, x)), x);
     }},
    {"softsign", kNone, kNone,
     [](B& b, N x, N, N) { return b.div(x, b.add(b.like(x, 1), b.unary(Op::abs, x))); }},
    {"softplus", kNone, kNone, [](B& b, N x, N, N) { return softplus(b, x); }},
};

const ActivationKind& kind_of(const OpContext& c, std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char letter) { return std::tolower(letter); });
  for (const ActivationKind& kind : kKinds)
    if (kind.name == lower) return kind;
  c.fail(fmt::format("'{}' is not an activation function of recurrent layers", name));
}

}  // namespace

std::vector<Activation> activations_of(const OpContext& c,
                                       std::span<const std::string_view> defaults, int directions) {
  std::vector<std::string> names = c.strings("activations").value_or(std::vector<std::string>{});
  if (names.empty())
    for (int d = 0; d < directions; ++d)
      names.insert(names.end(), defaults.begin(), defaults.end());
  if (names.size() != defaults.size() * static_cast<size_t>(directions))
    c.fail(fmt::format("'activations' must name {} functions for each direction", defaults.size()));

  const std::vector<float> alphas = c.floats("activation_alpha").value_or(std::vector<float>{});
  const std::vector<float> betas = c.floats("activation_beta").value_or(std::vector<float>{});
  size_t next_alpha = 0, next_beta = 0;
  const auto take = [](std::optional<float> otherwise, const std::vector<float>& given,
                       size_t& next) {
    return otherwise && next < given.size() ? given[next++] : otherwise.value_or(0.0f);
  };
  std::vector<Activation> result;
  for (const std::string& name : names) {
    const ActivationKind& kind = kind_of(c, name);
    const float alpha = take(kind.alpha, alphas, next_alpha);
    const float beta = take(kind.beta, betas, next_beta);
    result.push_back({&kind, alpha, beta});
  }
  return result;
}

}  // namespace onrush
