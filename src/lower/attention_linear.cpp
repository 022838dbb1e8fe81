// LinearAttention: a recurrence over tokens whose state is a matrix [batch, kv heads, d_k, d_v].
#include "lower/attention.h"
#include "lower/helpers.h"
#include "lower/recurrent_loop.h"

namespace onrush {
namespace {

enum Input { kQuery, kKey, kValue, kPastState, kDecay, kBeta };

// Tokens first, for the loop: [tokens, batch, heads, width], in f32.
NodeId tokens_first(const OpContext& c, Input input, int64_t heads) {
  c.require(c.rank(input) == 3, "query, key, value, decay and beta must have rank 3");
  const NodeId x = c.b.cast(c.in(input), DType::f32);
  return c.b.transpose(split_last_axis(c, x, heads), {1, 0, 2, 3});
}

struct Rule {
  bool gated, delta;
};

Rule rule_of(const OpContext& c) {
  const std::string name = c.attr("update_rule", "gated_delta");
  const Rule rule{name == "gated" || name == "gated_delta",
                  name == "delta" || name == "gated_delta"};
  c.require(rule.gated || rule.delta || name == "linear",
            "'update_rule' must be linear, gated, delta or gated_delta");
  c.require(c.has(kDecay) == rule.gated, "the gated rules, and only they, need 'decay'");
  c.require(c.has(kBeta) == rule.delta, "the delta rules, and only they, need 'beta'");
  return rule;
}

// Vectors of one token against the state's d_k axis: [batch, heads, .., d_k] -> [.., d_v].
NodeId read(Builder& b, NodeId x, NodeId state) {
  return b.dot(x, state, {{0, 1}, {0, 1}, {b.rank(x) - 1}, {2}, DType::f32});
}

// One token: q [batch, heads, group, d_k], k [batch, heads, d_k], v [batch, heads, d_v], then as
// the rule says the factor [batch, heads, d_k or 1] and the rate [batch, heads or 1, 1].
LoopResults update(Builder& b, const LoopValues& in, Rule rule) {
  const NodeId q = in.scanned[0], k = in.scanned[1];
  NodeId v = in.scanned[2], state = in.carried[0];
  if (rule.gated) state = b.mul(state, b.unsqueeze(in.scanned[3], {3}));
  if (rule.delta) v = b.mul(in.scanned.back(), b.sub(v, read(b, k, state)));
  state = b.add(state, b.mul(b.unsqueeze(k, {3}), b.unsqueeze(v, {2})));
  return {{state}, {read(b, q, state)}};
}

}  // namespace

Results linear_attention(OpContext& c) {
  Builder& b = c.b;
  const int64_t heads = c.attr("kv_num_heads", int64_t{0});
  const int64_t q_heads = c.attr("q_num_heads", int64_t{0});
  c.require(heads > 0 && q_heads > 0 && q_heads % heads == 0,
            "q_num_heads must be a positive multiple of kv_num_heads");
  const Rule rule = rule_of(c);
  const NodeId q = tokens_first(c, kQuery, q_heads);
  const NodeId k = tokens_first(c, kKey, heads);
  const NodeId v = tokens_first(c, kValue, heads);
  const Dims qs = b.shape(q);
  const Dim d_k = qs[3], d_v = b.shape(v)[3];

  LoopValues values;
  values.scanned = {b.reshape(q, {qs[0], qs[1], heads, q_heads / heads, d_k}), k, v};
  if (rule.gated) values.scanned.push_back(b.exp(tokens_first(c, kDecay, heads)));
  if (rule.delta) {
    const bool shared = same(c.shape(kBeta)[2], 1);
    values.scanned.push_back(tokens_first(c, kBeta, shared ? 1 : heads));
  }
  const Dims state_shape = {qs[1], heads, d_k, d_v};
  const NodeId past = c.has(kPastState) ? b.cast(c.in(kPastState), DType::f32)
                                        : full(b, DType::f32, 0, state_shape);
  values.carried = {past};
  const LoopResults results =
      build_loop(b, qs[0], false, values,
                 [&](Builder& body, const LoopValues& in) { return update(body, in, rule); });

  // [tokens, batch, heads, group, d_v] -> [batch, tokens, q heads * d_v]
  NodeId y = b.transpose(results.stacked[0], {1, 0, 2, 3, 4});
  y = b.reshape(y, {qs[1], qs[0], d_v * q_heads});
  const float scale = c.attr("scale", 0.0f);
  const NodeId factor =
      scale != 0 ? b.like(y, scale) : b.div(b.like(y, 1), b.sqrt(dim_scalar(b, DType::f32, d_k)));
  const DType state_dtype = c.has(kPastState) ? c.dtype(kPastState) : c.dtype(kQuery);
  return {b.cast(b.mul(y, factor), c.dtype(kQuery)), b.cast(results.carried[0], state_dtype)};
}

}  // namespace onrush
