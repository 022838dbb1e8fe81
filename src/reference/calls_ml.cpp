// string_place, tree_ensemble, couple_probabilities
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string_view>
#include <unordered_map>

#include "reference/call_table.h"
#include "reference/element.h"

namespace onrush::reference {
namespace {

// Views of the parameters that calls.h documents.
struct Forest {
  std::span<const int64_t> roots, modes, features, yes, no, tracks_missing;
  std::span<const double> thresholds;
  std::span<const int64_t> member_begin;
  std::span<const double> members;
  std::span<const int64_t> leaf_begin, vote_targets;
  std::span<const double> vote_weights;

  explicit Forest(const CallArguments& a)
      : roots(a.parameter("roots").as<int64_t>()),
        modes(a.parameter("modes").as<int64_t>()),
        features(a.parameter("features").as<int64_t>()),
        yes(a.parameter("yes").as<int64_t>()),
        no(a.parameter("no").as<int64_t>()),
        tracks_missing(a.parameter("tracks_missing").as<int64_t>()),
        thresholds(a.parameter("thresholds").as<double>()),
        member_begin(a.parameter("member_begin").as<int64_t>()),
        members(a.parameter("members").as<double>()),
        leaf_begin(a.parameter("leaf_begin").as<int64_t>()),
        vote_targets(a.parameter("vote_targets").as<int64_t>()),
        vote_weights(a.parameter("vote_weights").as<double>()) {}

  bool is_member(size_t node, double x) const {
    const auto first = members.begin() + member_begin[node];
    const auto last = members.begin() + member_begin[node + 1];
    return std::find(first, last, x) != last;
  }

  bool goes_to_yes(size_t node, double x) const {
    if (x != x && tracks_missing[node]) return true;
    switch (modes[node]) {
      case 0: return x <= thresholds[node];
      case 1: return x < thresholds[node];
      case 2: return x >= thresholds[node];
      case 3: return x > thresholds[node];
      case 4: return x == thresholds[node];
      case 5: return x != thresholds[node];
      default: return is_member(node, x);
    }
  }

  // The leaf that a row of features ends in.
  size_t leaf_of(int64_t root, std::span<const double> row) const {
    int64_t at = root;
    for (size_t steps = 0; at >= 0; ++steps) {
      const auto node = static_cast<size_t>(at);
      const int64_t feature = features[node];
      if (steps > modes.size())
        fail(ErrorCode::invalid_argument, "the branches of a tree form a cycle");
      if (feature < 0 || feature >= static_cast<int64_t>(row.size()))
        fail(ErrorCode::invalid_argument, "a tree reads feature {} of {}", feature, row.size());
      at = goes_to_yes(node, row[static_cast<size_t>(feature)]) ? yes[node] : no[node];
    }
    return static_cast<size_t>(~at);
  }
};

enum Aggregate : int64_t { kAverage, kSum, kMin, kMax };

// Sums the votes of all trees for one row into `scores`; targets without a vote get 0.
void score_row(const Forest& forest, int64_t aggregate, std::span<const double> row,
               std::span<double> scores) {
  std::vector<bool> voted(scores.size());
  for (int64_t root : forest.roots) {
    const size_t leaf = forest.leaf_of(root, row);
    for (int64_t vote = forest.leaf_begin[leaf]; vote < forest.leaf_begin[leaf + 1]; ++vote) {
      const auto target = static_cast<size_t>(forest.vote_targets[static_cast<size_t>(vote)]);
      const double weight = forest.vote_weights[static_cast<size_t>(vote)];
      double& score = scores[target];
      if (!voted[target]) score = weight;
      else if (aggregate == kMin) score = std::min(score, weight);
      else if (aggregate == kMax) score = std::max(score, weight);
      else score += weight;
      voted[target] = true;
    }
  }
  if (aggregate == kAverage)
    for (double& score : scores) score /= static_cast<double>(forest.roots.size());
}

// The class probabilities p that minimise the sum over pairs of (r[j][i] p[i] - r[i][j] p[j])^2, by
// the iteration of libsvm.
void couple(std::span<const float> pairs, std::span<double> p) {
  const size_t n = p.size();
  std::vector<double> r(n * n), q(n * n), qp(n);
  size_t next = 0;
  for (size_t i = 0; i < n; ++i)
    for (size_t j = i + 1; j < n; ++j) {
      r[i * n + j] = std::clamp<double>(pairs[next++], 1e-7, 1 - 1e-7);
      r[j * n + i] = 1 - r[i * n + j];
    }
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      q[i * n + i] += r[j * n + i] * r[j * n + i];
      q[i * n + j] = -r[j * n + i] * r[i * n + j];
    }
  std::ranges::fill(p, 1.0 / static_cast<double>(n));
  for (size_t round = 0; round < std::max<size_t>(100, n); ++round) {
    double pqp = 0;
    for (size_t i = 0; i < n; ++i) {
      qp[i] =
          std::inner_product(p.begin(), p.end(), q.begin() + static_cast<ptrdiff_t>(i * n), 0.0);
      pqp += p[i] * qp[i];
    }
    double error = 0;
    for (double value : qp) error = std::max(error, std::fabs(value - pqp));
    if (error < 0.005 / static_cast<double>(n)) break;
    for (size_t i = 0; i < n; ++i) {
      const double step = (pqp - qp[i]) / q[i * n + i];
      p[i] += step;
      pqp = (pqp + step * (step * q[i * n + i] + 2 * qp[i])) / ((1 + step) * (1 + step));
      for (size_t j = 0; j < n; ++j) {
        qp[j] = (qp[j] + step * q[i * n + j]) / (1 + step);
        p[j] /= 1 + step;
      }
    }
  }
}

}  // namespace

CallResults string_place(const CallArguments& arguments) {
  const Tensor &x = arguments[0], &keys = arguments[1];
  std::unordered_map<std::string_view, int64_t> places;
  for (int64_t i = 0; i < keys.count(); ++i) places[keys.strings()[static_cast<size_t>(i)]] = i;
  Tensor out(DType::i64, x.shape());
  std::ranges::transform(x.strings(), out.as<int64_t>().begin(), [&](const std::string& text) {
    const auto found = places.find(text);
    return found == places.end() ? -1 : found->second;
  });
  return {out};
}

CallResults tree_ensemble(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const Forest forest(arguments);
  const int64_t aggregate = arguments.integer("aggregate", kSum);
  const auto targets = static_cast<size_t>(arguments.integer("targets", 1));
  const auto rows = static_cast<size_t>(x.shape()[0]), width = static_cast<size_t>(x.shape()[1]);
  const std::vector<double> values = load_all<double>(x);
  std::vector<double> scores(rows * targets);
  for (size_t i = 0; i < rows; ++i)
    score_row(forest, aggregate, std::span(values).subspan(i * width, width),
              std::span(scores).subspan(i * targets, targets));
  return {make_tensor(x.dtype(), {x.shape()[0], static_cast<int64_t>(targets)}, scores)};
}

CallResults couple_probabilities(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const auto rows = static_cast<size_t>(x.shape()[0]), pairs = static_cast<size_t>(x.shape()[1]);
  size_t classes = 2;
  while (classes * (classes - 1) / 2 < pairs) ++classes;
  std::vector<double> p(rows * classes);
  for (size_t i = 0; i < rows; ++i)
    couple(x.as<float>().subspan(i * pairs, pairs), std::span(p).subspan(i * classes, classes));
  return {make_tensor(DType::f32, {x.shape()[0], static_cast<int64_t>(classes)}, p)};
}

}  // namespace onrush::reference
