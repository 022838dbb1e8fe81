// What the classifiers and regressors of ai.onnx.ml share.
#pragma once

#include <string>

#include "lower/op_context.h"

namespace onrush {

// Features [n, f] in f32 (f64 stays if `keep_f64`); a vector counts as one row.
NodeId features(const OpContext& c, bool keep_f64 = false);

// The attribute as an f32 constant of `shape`; fails if it has another number of elements.
NodeId float_constant(const OpContext& c, std::string_view name, Shape shape);

// Elements of a list of floats, 0 if it is absent.
int64_t count_of(const OpContext& c, std::string_view name);
// The number of columns of x, fixed.
int64_t feature_count(const OpContext& c, NodeId x);

// [n, f] with rows [m, f] -> [n, m]
NodeId rows_product(Builder& b, NodeId x, NodeId rows);

// Scores [n, e] through NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT.
NodeId post_transform(const OpContext& c, NodeId scores, std::string_view kind);

// The labels of a classifier, from whichever of the two attributes is there.
Tensor class_labels(const OpContext& c, std::string_view ints, std::string_view strings);
// labels[place] for every row.
NodeId label_at(Builder& b, const Tensor& labels, NodeId place);
// The label of the highest score in each row of [n, e].
NodeId best_label(Builder& b, const Tensor& labels, NodeId scores);

}  // namespace onrush
