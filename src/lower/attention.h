// Parts that the attention operators share.
#pragma once

#include "lower/op_context.h"

namespace onrush {

// [.., heads * width] -> [.., heads, width].
NodeId split_last_axis(const OpContext& c, NodeId x, int64_t heads);
// [batch, sequence, heads * width] -> [batch, heads, sequence, width], and back.
NodeId unpack_heads(const OpContext& c, NodeId x, int64_t heads);
NodeId pack_heads(Builder& b, NodeId x);

// Of q [batch, heads, queries, width] and k [batch, kv heads, keys, width]: their products times
// the attribute `scale` (default 1 / sqrt(width)), [batch, heads, queries, keys], in f32 or f64,
// whatever is wider than the operands and `softmax_precision`.
NodeId attention_scores(const OpContext& c, NodeId q, NodeId k);
// Of probabilities [batch, heads, queries, keys] and v [batch, kv heads, keys, width]: their
// products [batch, heads, queries, width].
NodeId attend(const OpContext& c, NodeId probabilities, NodeId v, DType result);

Results linear_attention(OpContext& c);
Results flex_attention(OpContext& c);

}  // namespace onrush
