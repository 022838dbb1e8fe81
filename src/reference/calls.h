// The functions that Op::call names: work on strings, and results whose size depends on data.
//
// Each row of the table in calls.cpp is one function of operands and parameters. A parameter is a
// tensor under a name; "i64 p = 1" reads: parameter p, a scalar, 1 if absent. Shapes in brackets;
// [...] is any shape; strings are UTF-8.
//
//   nonzero              x [...] of numbers -> i64 [rank, n], coordinates in row-major order
//   unique               x [...]; i64 axis (absent: over the flattened x), i64 sorted = 1
//                        -> y, i64 indices of first occurrence, inverse, counts; NaNs are equal
//                        and last; unsorted: by first occurrence
//   non_max_suppression  boxes f32 [b, n, 4], scores f32 [b, c, n], max_output i64, iou_threshold
//                        f32, score_threshold f32 (the last three optional: absent or of no
//                        elements); i64 center_point_box = 0 -> i64 [k, 3]
//   compress             x [...], condition boolean [k]; i64 axis -> the slices of x along the axis
//                        where the condition holds; k may be less than the axis' extent
//   det                  x [..., n, n] of floats -> [...] of x's dtype
//   string_concat        a, b (broadcast) -> string
//   string_equal         a, b (broadcast) -> boolean
//   string_split         x [...]; string delimiter = "", i64 maxsplit (absent: all)
//                        -> string [..., longest], padded with ""; i64 lengths [...]
//   string_normalizer    x [c] or [1, c]; string case_change_action = "NONE" ("LOWER", "UPPER"),
//                        i64 is_case_sensitive = 0, string stopwords [...] -> string [k] or [1, k];
//                        case by the Unicode mapping of single characters, whatever the locale
//   regex_full_match     x [...]; string pattern (RE2) -> boolean [...]
//   tfidf_vectorizer     x [c] or [b, c] of strings or integers; string mode ("TF", "IDF",
//                        "TFIDF"), i64 min_gram_length, max_gram_length, max_skip_count, i64
//                        ngram_counts [.], ngram_indexes [.], pool_strings [.] or pool_int64s [.],
//                        f32 weights [.] (absent: ones) -> f32 [size] or [b, size]
//   cast_to_string       x [...] of numbers -> string: integers in decimal; booleans 1 and 0;
//                        floats by the shortest text that reads back as the same element, "0.1",
//                        "1.0", from 1e16 up and below 1e-4 "1e+16", "1e-05"; INF, -INF, NaN
//   cast_from_string     x [...]; i64 dtype (a DType) -> that dtype: decimal or scientific
//                        notation, INF, +INF, -INF and NaN in any case, booleans also true and
//                        false; blanks around are ignored
//   string_place         x [...], keys [k] -> i64 [...]: the place of the last key equal to the
//                        element, -1 if there is none
//   tree_ensemble        x [n, f] of f32 or f64 -> [n, targets] of x's dtype. i64 targets,
//   aggregate
//                        (0 average, 1 sum, 2 min, 3 max over the trees). Nodes: i64 modes (0 <=,
//                        1 <, 2 >=, 3 >, 4 ==, 5 !=, 6 member), features, yes, no, tracks_missing
//                        (a NaN goes to yes), f64 thresholds; members [member_begin[i],
//                        member_begin[i + 1]) belong to node i. yes, no and roots [trees] name a
//                        node, or a leaf as ~leaf, whose votes are vote_targets, vote_weights
//                        [leaf_begin[i], leaf_begin[i + 1])
//   couple_probabilities x f32 [n, pairs]: of each pair of classes (0, 1), (0, 2) ... (1, 2) ...
//   the
//                        probability of the first -> f32 [n, classes] (Wu, Lin and Weng, 2004)
//
// ONNX's operators of these names say the rest. All throw Error{invalid_argument} for data that
// the operator does not allow, and internal errors for operands that lowering should have refused.
#pragma once

#include <span>
#include <vector>

#include "ir/attributes.h"
#include <onrush/tensor.h>

namespace onrush {

// The results form the call's tuple. Thread-safe; operands are in host memory.
std::vector<Tensor> run_call(const CallAttr& call, std::span<const Tensor> operands);

}  // namespace onrush
