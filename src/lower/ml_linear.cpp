// Linear models of ai.onnx.ml.
#include <array>

#include "lower/family_parts.h"
#include "lower/ml_scores.h"

namespace onrush {
namespace {

// x times the coefficients of `outputs` models, plus their intercepts if there are any.
NodeId linear_scores(const OpContext& c, NodeId x, int64_t outputs) {
  const int64_t width = feature_count(c, x);
  const NodeId scores = rows_product(c.b, x, float_constant(c, "coefficients", {outputs, width}));
  if (count_of(c, "intercepts") == 0) return scores;
  return c.b.add(scores, float_constant(c, "intercepts", {1, outputs}));
}

Results lower_linear_regressor(OpContext& c) {
  const NodeId scores = linear_scores(c, features(c), c.attr("targets", int64_t{1}));
  return post_transform(c, scores, c.attr("post_transform", "NONE"));
}

// One model between two classes scores the second; the first has the opposite.
Results lower_linear_classifier(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = features(c);
  const Tensor labels = class_labels(c, "classlabels_ints", "classlabels_strings");
  const int64_t width = feature_count(c, x);
  const int64_t models = width > 0 ? count_of(c, "coefficients") / width : labels.count();
  c.require(models == labels.count() || (models == 1 && labels.count() == 2),
            "'coefficients' must have a row for each class, or one for two classes");
  NodeId scores = linear_scores(c, x, models);
  if (models < labels.count()) scores = b.concat(std::array{b.neg(scores), scores}, 1);
  return {best_label(b, labels, scores),
          post_transform(c, scores, c.attr("post_transform", "NONE"))};
}

constexpr OpRow kOps[] = {
    {"LinearRegressor", lower_linear_regressor},
    {"LinearClassifier", lower_linear_classifier},
};

}  // namespace

std::span<const OpRow> ml_linear_ops() { return kOps; }

}  // namespace onrush
