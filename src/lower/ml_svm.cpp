// Support vector machines of ai.onnx.ml, as libsvm trains them.
#include <algorithm>
#include <array>
#include <numeric>

#include "lower/family_parts.h"
#include "lower/ml_scores.h"

namespace onrush {
namespace {

// kernel(x[i], vectors[j]) -> [n, m]
NodeId kernel(const OpContext& c, NodeId x, NodeId vectors) {
  Builder& b = c.b;
  const std::string type = c.attr("kernel_type", "LINEAR");
  const std::vector<float> given = c.floats("kernel_params").value_or(std::vector<float>{});
  std::array<float, 3> parameters{};  // gamma, coef0, degree
  for (size_t i = 0; i < std::min(given.size(), parameters.size()); ++i) parameters[i] = given[i];
  const auto number = [&](double value) { return b.like(x, value); };
  const auto [gamma, offset, degree] = parameters;
  if (type == "RBF") {
    const NodeId difference = b.sub(b.unsqueeze(x, {1}), b.unsqueeze(vectors, {0}));
    const NodeId distance = b.reduce(ReduceKind::sum, b.mul(difference, difference), {2});
    return b.exp(b.mul(b.squeeze(distance, {2}), number(-gamma)));
  }
  const NodeId product = rows_product(b, x, vectors);
  if (type == "LINEAR") return product;
  const NodeId line = b.add(b.mul(product, number(gamma)), number(offset));
  if (type == "POLY") return b.binary(Op::pow, line, number(degree));
  if (type == "SIGMOID") return b.unary(Op::tanh, line);
  c.fail(fmt::format("unknown kernel_type '{}'", type));
}

// Without support vectors the coefficients are those of a linear model.
Results lower_svm_regressor(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = features(c);
  const int64_t supports = c.attr("n_supports", int64_t{0}), width = feature_count(c, x);
  const NodeId values =
      supports > 0 ? kernel(c, x, float_constant(c, "support_vectors", {supports, width})) : x;
  const NodeId weights = float_constant(c, "coefficients", {1, supports > 0 ? supports : width});
  NodeId score = b.add(rows_product(b, values, weights), float_constant(c, "rho", {1, 1}));
  if (c.attr("one_class", 0) != 0)
    score = b.select(b.less(b.like(score, 0), score), b.like(score, 1), b.like(score, -1));
  return post_transform(c, score, c.attr("post_transform", "NONE"));
}

// --- SVMClassifier

struct Pair {
  size_t first, second;  // classes
};
std::vector<Pair> class_pairs(size_t classes) {
  std::vector<Pair> pairs;
  for (size_t i = 0; i < classes; ++i)
    for (size_t j = i + 1; j < classes; ++j) pairs.push_back({i, j});
  return pairs;
}

NodeId matrix(Builder& b, size_t rows, const std::vector<float>& values) {
  const auto height = static_cast<int64_t>(rows);
  const auto width = static_cast<int64_t>(values.size() / rows);
  return b.constant(Tensor::of<float>(DType::f32, {height, width}, values));
}

// One row of weights a pair, over all support vectors. Coefficients [classes - 1, vectors] hold for
// a vector of class i the weight against class j in row j - 1 if j > i, else in row j.
std::vector<float> pair_weights(const std::vector<Pair>& pairs, const std::vector<int64_t>& counts,
                                const std::vector<float>& coefficients) {
  std::vector<size_t> begin(counts.size() + 1);
  std::partial_sum(counts.begin(), counts.end(), begin.begin() + 1);
  const size_t vectors = begin.back();
  std::vector<float> weights(pairs.size() * vectors);
  for (size_t p = 0; p < pairs.size(); ++p) {
    const auto copy = [&](size_t row, size_t of_class) {
      for (size_t v = begin[of_class]; v < begin[of_class + 1]; ++v)
        weights[p * vectors + v] = coefficients[row * vectors + v];
    };
    copy(pairs[p].second - 1, pairs[p].first);
    copy(pairs[p].first, pairs[p].second);
  }
  return weights;
}

// How many pairs each class wins: the first of a pair if its score is positive, else the second.
NodeId votes(Builder& b, NodeId scores, const std::vector<Pair>& pairs, size_t classes) {
  std::vector<float> first(pairs.size() * classes), second(first.size());
  for (size_t p = 0; p < pairs.size(); ++p) {
    first[pairs[p].first * pairs.size() + p] = 1;
    second[pairs[p].second * pairs.size() + p] = 1;
  }
  const NodeId wins = b.cast(b.less(b.like(scores, 0), scores), DType::f32);
  const NodeId losses = b.sub(b.like(wins, 1), wins);
  return b.add(rows_product(b, wins, matrix(b, classes, first)),
               rows_product(b, losses, matrix(b, classes, second)));
}

// Probabilities of the first class of each pair by Platt's sigmoids, coupled to those of classes.
NodeId class_probabilities(const OpContext& c, NodeId scores, size_t classes) {
  Builder& b = c.b;
  const int64_t pairs = fix(b.shape(scores)[1], c.node().op_type);
  const NodeId line = b.add(b.mul(scores, float_constant(c, "prob_a", {1, pairs})),
                            float_constant(c, "prob_b", {1, pairs}));
  const NodeId operands[] = {b.unary(Op::sigmoid, b.neg(line))};
  const TensorType result{DType::f32, {b.shape(scores)[0], static_cast<int64_t>(classes)}};
  return b.get(b.call({"couple_probabilities", {}}, operands, {result}), 0);
}

Results classify_by_vectors(const OpContext& c, const Tensor& labels,
                            const std::vector<int64_t>& counts) {
  Builder& b = c.b;
  const NodeId x = features(c);
  const size_t classes = counts.size();
  const std::vector<Pair> pairs = class_pairs(classes);
  const int64_t vectors = std::accumulate(counts.begin(), counts.end(), int64_t{0});
  const std::vector<float> coefficients = c.floats("coefficients").value_or(std::vector<float>{});
  c.require(classes >= 2 && static_cast<int64_t>(classes) == labels.count() &&
                *std::min_element(counts.begin(), counts.end()) >= 0 &&
                coefficients.size() == (classes - 1) * static_cast<size_t>(vectors),
            "'vectors_per_class' and 'coefficients' must fit the number of classes");
  const NodeId values =
      kernel(c, x, float_constant(c, "support_vectors", {vectors, feature_count(c, x)}));
  const NodeId weights = matrix(b, pairs.size(), pair_weights(pairs, counts, coefficients));
  const NodeId rho = float_constant(c, "rho", {1, static_cast<int64_t>(pairs.size())});
  const NodeId margins = b.add(rows_product(b, values, weights), rho);
  NodeId scores = margins;
  if (count_of(c, "prob_a") > 0) scores = class_probabilities(c, margins, classes);
  else if (classes == 2) scores = b.concat(std::array{b.neg(margins), margins}, 1);
  return {best_label(b, labels, votes(b, margins, pairs, classes)),
          post_transform(c, scores, c.attr("post_transform", "NONE"))};
}

// Without support vectors the coefficients are a linear model for each class.
Results classify_linearly(const OpContext& c, const Tensor& labels) {
  Builder& b = c.b;
  const NodeId x = features(c);
  const NodeId rows = float_constant(c, "coefficients", {labels.count(), feature_count(c, x)});
  const std::vector<float> rho = c.floats("rho").value_or(std::vector<float>{});
  c.require(!rho.empty(), "attribute 'rho' is required");
  const NodeId scores = b.add(rows_product(b, x, rows), b.like(x, rho[0]));
  return {best_label(b, labels, scores),
          post_transform(c, scores, c.attr("post_transform", "NONE"))};
}

Results lower_svm_classifier(OpContext& c) {
  const Tensor labels = class_labels(c, "classlabels_ints", "classlabels_strings");
  const std::vector<int64_t> counts = c.ints("vectors_per_class").value_or(std::vector<int64_t>{});
  const bool has_vectors = std::any_of(counts.begin(), counts.end(), [](int64_t n) { return n; });
  return has_vectors ? classify_by_vectors(c, labels, counts) : classify_linearly(c, labels);
}

constexpr OpRow kOps[] = {
    {"SVMRegressor", lower_svm_regressor},
    {"SVMClassifier", lower_svm_classifier},
};

}  // namespace

std::span<const OpRow> ml_svm_ops() { return kOps; }

}  // namespace onrush
