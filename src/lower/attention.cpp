// Attention = dot, scale, mask, softmax along the last axis, dot. Masks that follow from positions
// are comparisons of iota. Query heads that share a key head are rows of one matrix product.
#include "lower/attention.h"

#include <array>
#include <limits>

#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

enum Input { kQ, kK, kV, kMask, kPastKey, kPastValue, kNonpadLengths };
enum ScoreOutput { kRaw, kSoftcapped, kMasked, kProbabilities };

const float kInfinity = std::numeric_limits<float>::infinity();

// [batch, heads, sequence, width] of an input that may pack its heads into the last axis.
NodeId split_heads(const OpContext& c, Input input, const char* heads) {
  if (c.rank(input) == 4) return c.in(input);
  c.require(c.rank(input) == 3, "Q, K and V must have rank 3 or 4");
  const int64_t count = c.attr(heads, int64_t{0});
  c.require(count > 0, "q_num_heads and kv_num_heads are required for inputs of rank 3");
  return unpack_heads(c, c.in(input), count);
}

NodeId with_past(OpContext& c, NodeId present, Input past) {
  if (!c.has(past)) return present;
  c.require(c.rank(past) == 4, "past_key and past_value must have rank 4");
  return c.b.concat(std::array{c.in(past), present}, 2);
}

void require_broadcast(const OpContext& c, const Dims& mask, const Dims& scores) {
  const Dims both = broadcast_shapes(mask, scores);
  for (size_t i = 0; i < scores.size(); ++i)
    c.require(both.size() == scores.size() && decide(equal(both[i], scores[i]), "attention mask"),
              "attn_mask must broadcast to the scores");
}

// The mask for scores of this shape, its last axis extended by keys that nobody may attend to.
NodeId extend_mask(OpContext& c, const Dims& scores) {
  Builder& b = c.b;
  const NodeId mask = c.in(kMask);
  c.require(b.rank(mask) >= 1, "attn_mask must have rank 1 or more");
  const Dim given = b.shape(mask).back(), total = scores.back();
  Dims extended = b.shape(mask);
  const bool repeated = c.opset() < 24 && same(given, 1);
  if (!repeated) extended.back() = total;
  require_broadcast(c, extended, scores);
  if (repeated || decide(equal(given, total), "length of attn_mask")) return mask;
  c.require(decide(less(given, total), "length of attn_mask"),
            "the last axis of attn_mask must not be longer than the keys");
  Dims none(b.shape(mask).size(), Dim(0));
  Dims high = none;
  high.back() = total - given;
  const double closed = b.dtype(mask) == DType::boolean ? 0.0 : -kInfinity;
  return b.pad(mask, b.like(mask, closed), std::move(none), std::move(high));
}

// The number of keys that stand before the first query: a scalar, or [batch, 1, 1, 1].
NodeId query_offset(OpContext& c, Dim queries) {
  Builder& b = c.b;
  if (c.has(kPastKey)) return dim_scalar(b, DType::i64, c.shape(kPastKey)[2]);
  if (!c.has(kNonpadLengths)) return b.scalar(DType::i64, 0);
  return b.sub(b.unsqueeze(c.in(kNonpadLengths), {1, 2, 3}), dim_scalar(b, DType::i64, queries));
}

// Which of the scores [batch, heads, queries, keys] take part, as far as positions tell.
std::vector<NodeId> open_positions(OpContext& c, Dim queries, Dim keys) {
  Builder& b = c.b;
  c.require(!c.has(kNonpadLengths) ||
                (c.rank(kNonpadLengths) == 1 && c.dtype(kNonpadLengths) == DType::i64),
            "nonpad_kv_seqlen must be i64 of rank 1");
  const NodeId key = b.iota(DType::i64, {queries, keys}, 1);
  const NodeId query = b.add(b.iota(DType::i64, {queries, keys}, 0), query_offset(c, queries));
  const int64_t left = c.attr("left_window_size", int64_t{-1});
  const int64_t right = c.attr("right_window_size", int64_t{-1});
  std::vector<NodeId> conditions;
  if (c.attr("is_causal", 0) != 0) conditions.push_back(b.less_equal(key, query));
  if (left >= 0) conditions.push_back(b.less_equal(b.sub(query, b.scalar(DType::i64, left)), key));
  if (right >= 0)
    conditions.push_back(b.less_equal(key, b.add(query, b.scalar(DType::i64, right))));
  if (c.has(kNonpadLengths))
    conditions.push_back(b.less(key, b.unsqueeze(c.in(kNonpadLengths), {1, 2, 3})));
  return conditions;
}

NodeId apply_mask(OpContext& c, NodeId scores) {
  Builder& b = c.b;
  const Dims shape = b.shape(scores);
  std::vector<NodeId> conditions = open_positions(c, shape[2], shape[3]);
  if (c.has(kMask)) {
    const NodeId mask = extend_mask(c, shape);
    if (b.dtype(mask) == DType::boolean) conditions.push_back(mask);
    else scores = b.add(scores, b.cast(mask, b.dtype(scores)));
  }
  if (conditions.empty()) return scores;
  NodeId open = conditions[0];
  for (size_t i = 1; i < conditions.size(); ++i) open = b.logical_and(open, conditions[i]);
  return b.select(open, scores, b.like(scores, -kInfinity));
}

// Softmax over the keys; a query that may attend to none of them gets zeros.
NodeId probabilities(OpContext& c, NodeId scores) {
  Builder& b = c.b;
  const NodeId softmaxed = softmax(b, scores, {3});
  const bool never_empty =
      !c.has(kMask) && !c.has(kNonpadLengths) && c.attr("left_window_size", -1) < 0;
  if (never_empty) return softmaxed;
  const NodeId highest = b.reduce(ReduceKind::max, scores, {3});
  return b.select(b.equal(highest, b.like(highest, -kInfinity)), b.like(softmaxed, 0), softmaxed);
}

NodeId softcap(OpContext& c, NodeId scores) {
  const float cap = c.attr("softcap", 0.0f);
  if (cap <= 0) return scores;
  const NodeId limit = c.b.like(scores, cap);
  return c.b.mul(c.b.unary(Op::tanh, c.b.div(scores, limit)), limit);
}

Results attention(OpContext& c) {
  Builder& b = c.b;
  const bool packed = c.rank(kQ) == 3;
  const NodeId q = split_heads(c, kQ, "q_num_heads");
  const NodeId k = with_past(c, split_heads(c, kK, "kv_num_heads"), kPastKey);
  const NodeId v = with_past(c, split_heads(c, kV, "kv_num_heads"), kPastValue);

  std::vector<NodeId> stages(4);
  stages[kRaw] = attention_scores(c, q, k);
  stages[kSoftcapped] = softcap(c, stages[kRaw]);
  stages[kMasked] = apply_mask(c, stages[kSoftcapped]);
  stages[kProbabilities] = probabilities(c, stages[kMasked]);
  const NodeId y = attend(c, stages[kProbabilities], v, b.dtype(q));

  const int mode = c.attr("qk_matmul_output_mode", 0);
  c.require(mode >= kRaw && mode <= kProbabilities, "qk_matmul_output_mode must be 0, 1, 2 or 3");
  const NodeId reported = b.cast(stages[static_cast<size_t>(mode)], b.dtype(q));
  return {packed ? pack_heads(b, y) : y, k, v, reported};
}

// --- RotaryEmbedding

// Pairs (x1, x2) of the rotated part, and the way back.
struct Pairs {
  NodeId x1, x2;
};

Pairs split_pairs(Builder& b, NodeId x, bool interleaved) {
  const int last = b.rank(x) - 1;
  const Dim half = floordiv(b.shape(x).back(), 2);
  if (interleaved) return {b.slice_axis(x, last, 0, half, 2), b.slice_axis(x, last, 1, half, 2)};
  return {b.slice_axis(x, last, 0, half), b.slice_axis(x, last, half, half)};
}

NodeId join_pairs(Builder& b, Pairs pairs, bool interleaved) {
  const int last = b.rank(pairs.x1) - 1;
  if (!interleaved) return b.concat(std::array{pairs.x1, pairs.x2}, last);
  Dims shape = b.shape(pairs.x1);
  shape.back() = shape.back() * 2;
  for (NodeId* part : {&pairs.x1, &pairs.x2}) *part = b.unsqueeze(*part, {last + 1});
  return b.reshape(b.concat(std::array{pairs.x1, pairs.x2}, last + 1), std::move(shape));
}

// cos or sin for each token, to be multiplied with [.., heads, .., half] whose heads stand at
// `heads_axis`: the cache itself [batch, sequence, half], or its rows at position_ids.
NodeId cache_rows(OpContext& c, int input, int heads_axis, Dim half) {
  Builder& b = c.b;
  NodeId cache = c.in(input);
  if (const auto positions = c.maybe(3)) {
    c.require(b.rank(cache) == 2 && b.rank(*positions) == 2,
              "with position_ids, the caches and position_ids must have rank 2");
    const Dims ids = b.shape(*positions);
    cache = b.gather(cache, std::array{b.unsqueeze(*positions, {2})}, {~0, 2},
                     {ids[0], ids[1], b.shape(cache)[1]});
  }
  c.require(b.rank(cache) == 3, "without position_ids, the caches must have rank 3");
  c.require(decide(equal(b.shape(cache)[2], half), "RotaryEmbedding"),
            "the last axis of the caches must be half of the rotated width");
  return b.unsqueeze(cache, {heads_axis});
}

Results rotary_embedding(OpContext& c) {
  Builder& b = c.b;
  const bool packed = c.rank(0) == 3;
  const bool interleaved = c.attr("interleaved", 0) != 0;
  c.require(packed || c.rank(0) == 4, "X must have rank 3 or 4");
  const int heads_axis = packed ? 2 : 1;
  NodeId x = c.in(0);
  if (packed) {
    const int64_t heads = c.attr("num_heads", int64_t{0});
    c.require(heads > 0, "num_heads is required for X of rank 3");
    x = split_last_axis(c, x, heads);
  }
  const Dim width = b.shape(x)[3];
  const int64_t partial = c.attr("rotary_embedding_dim", int64_t{0});
  const Dim rotated = partial > 0 ? Dim(partial) : width;
  c.require(decide(divisible(rotated, 2), "RotaryEmbedding") &&
                decide(less_equal(rotated, width), "RotaryEmbedding"),
            "the rotated width must be even and at most the head size");
  const NodeId cos = cache_rows(c, 1, heads_axis, floordiv(rotated, 2));
  const NodeId sin = cache_rows(c, 2, heads_axis, floordiv(rotated, 2));

  const auto [x1, x2] = split_pairs(b, b.slice_axis(x, 3, 0, rotated), interleaved);
  const Pairs turned{b.sub(b.mul(cos, x1), b.mul(sin, x2)), b.add(b.mul(sin, x1), b.mul(cos, x2))};
  const NodeId rest = b.slice_axis(x, 3, rotated, width - rotated);
  const NodeId y = b.concat(std::array{join_pairs(b, turned, interleaved), rest}, 3);
  return b.reshape(y, c.shape(0));
}

constexpr OpRow kOps[] = {
    {"Attention", attention},
    {"RotaryEmbedding", rotary_embedding},
    {"LinearAttention", linear_attention},
    {"FlexAttention", flex_attention},  // ai.onnx.preview
};

}  // namespace

std::span<const OpRow> attention_ops() { return kOps; }

}  // namespace onrush
