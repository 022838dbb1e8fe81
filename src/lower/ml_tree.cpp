// Tree ensembles of ai.onnx.ml: every form becomes one call of "tree_ensemble".
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/numeric.h"
#include "lower/family_parts.h"
#include "lower/helpers.h"
#include "lower/ml_scores.h"

namespace onrush {
namespace {

using Ints = std::vector<int64_t>;

// The parameters of the call; src/reference/calls.h says what they mean.
struct Forest {
  Ints roots;
  Ints modes, features, yes, no, tracks_missing;
  std::vector<double> thresholds;
  Ints member_begin;
  std::vector<double> members;
  Ints leaf_begin = {0}, vote_targets;
  std::vector<double> vote_weights;
};

enum Mode : int64_t { kLessEqual, kLess, kGreaterEqual, kGreater, kEqual, kNotEqual, kMember };
enum Aggregate : int64_t { kAverage, kSum, kMin, kMax };

std::vector<double> numbers(const Tensor& tensor) {
  std::vector<double> values;
  for (int64_t i = 0; i < tensor.count(); ++i)
    values.push_back(load_f64(tensor.dtype(), tensor.data(), i));
  return values;
}

// A list of floats, or a tensor of doubles under the name with "_as_tensor".
std::vector<double> numbers_attr(const OpContext& c, const std::string& name) {
  if (const auto tensor = c.tensor(name + "_as_tensor")) return numbers(*tensor);
  const std::vector<float> values = c.floats(name).value_or(std::vector<float>{});
  return {values.begin(), values.end()};
}

Ints ints_attr(const OpContext& c, std::string_view name) { return c.ints(name).value_or(Ints{}); }

// Fails unless the attribute has `count` entries; an absent one may be filled with zeros.
Ints sized_ints(const OpContext& c, std::string_view name, size_t count, bool optional = false) {
  Ints values = ints_attr(c, name);
  if (values.empty() && optional) values.resize(count);
  if (values.size() != count)
    c.fail(fmt::format("attribute '{}' must have {} entries, not {}", name, count, values.size()));
  return values;
}

// A child as the call takes it: a node, or ~leaf.
int64_t child(const OpContext& c, int64_t index, bool leaf, size_t nodes, size_t leaves) {
  c.require(index >= 0 && static_cast<size_t>(index) < (leaf ? leaves : nodes),
            "a branch leads to a node that is not there");
  return leaf ? ~index : index;
}

void check_votes(const OpContext& c, const Forest& forest, int64_t targets) {
  for (int64_t target : forest.vote_targets)
    c.require(target >= 0 && target < targets, "a leaf votes for a target that is not there");
}

NodeId run_forest(const OpContext& c, const Forest& forest, NodeId x, int64_t targets,
                  int64_t aggregate) {
  check_votes(c, forest, targets);
  const auto ints = [](const Ints& values) {
    return Tensor::of<int64_t>(DType::i64, {static_cast<int64_t>(values.size())}, values);
  };
  const auto floats = [](const std::vector<double>& values) {
    return Tensor::of<double>(DType::f64, {static_cast<int64_t>(values.size())}, values);
  };
  CallAttr call{"tree_ensemble",
                {{"roots", ints(forest.roots)},
                 {"modes", ints(forest.modes)},
                 {"features", ints(forest.features)},
                 {"thresholds", floats(forest.thresholds)},
                 {"yes", ints(forest.yes)},
                 {"no", ints(forest.no)},
                 {"tracks_missing", ints(forest.tracks_missing)},
                 {"member_begin", ints(forest.member_begin)},
                 {"members", floats(forest.members)},
                 {"leaf_begin", ints(forest.leaf_begin)},
                 {"vote_targets", ints(forest.vote_targets)},
                 {"vote_weights", floats(forest.vote_weights)},
                 {"aggregate", ints({aggregate})},
                 {"targets", ints({targets})}}};
  const NodeId operands[] = {x};
  const TensorType result{c.b.dtype(x), {c.b.shape(x)[0], targets}};
  return c.b.get(c.b.call(std::move(call), operands, {result}), 0);
}

// --- TreeEnsemble (since version 5): leaves are listed apart from nodes

// Sets of members stand in the order of their nodes, each closed by a NaN.
void read_members(const OpContext& c, Forest& forest) {
  const auto tensor = c.tensor("membership_values");
  const std::vector<double> values = tensor ? numbers(*tensor) : std::vector<double>{};
  size_t next = 0;
  forest.member_begin = {0};
  for (int64_t mode : forest.modes) {
    if (mode == kMember) {
      while (next < values.size() && values[next] == values[next])
        forest.members.push_back(values[next++]);
      c.require(next++ < values.size(), "'membership_values' lacks the set of a node");
    }
    forest.member_begin.push_back(static_cast<int64_t>(forest.members.size()));
  }
}

Forest read_ensemble(const OpContext& c) {
  const auto tensor = [&](std::string_view name) {
    const auto value = c.tensor(name);
    if (!value) c.fail(fmt::format("attribute '{}' is required", name));
    return numbers(*value);
  };
  Forest forest;
  const std::vector<double> modes = tensor("nodes_modes");
  const size_t nodes = modes.size();
  forest.modes.assign(modes.begin(), modes.end());
  forest.thresholds = tensor("nodes_splits");
  c.require(forest.thresholds.size() == nodes, "'nodes_splits' must have an entry for each node");
  forest.features = sized_ints(c, "nodes_featureids", nodes);
  forest.tracks_missing = sized_ints(c, "nodes_missing_value_tracks_true", nodes, true);
  forest.vote_weights = tensor("leaf_weights");
  const size_t leaves = forest.vote_weights.size();
  forest.vote_targets = sized_ints(c, "leaf_targetids", leaves);
  for (size_t i = 0; i < leaves; ++i) forest.leaf_begin.push_back(static_cast<int64_t>(i) + 1);
  const auto branches = [&](const char* ids, const char* leafs) {
    Ints result = sized_ints(c, ids, nodes);
    const Ints is_leaf = sized_ints(c, leafs, nodes);
    for (size_t i = 0; i < nodes; ++i)
      result[i] = child(c, result[i], is_leaf[i] != 0, nodes, leaves);
    return result;
  };
  forest.yes = branches("nodes_truenodeids", "nodes_trueleafs");
  forest.no = branches("nodes_falsenodeids", "nodes_falseleafs");
  for (int64_t root : ints_attr(c, "tree_roots"))
    forest.roots.push_back(child(c, root, false, nodes, leaves));
  read_members(c, forest);
  return forest;
}

Results lower_tree_ensemble(OpContext& c) {
  constexpr std::array kTransforms = {"NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"};
  const int64_t transform = c.attr("post_transform", int64_t{0});
  const int64_t aggregate = c.attr("aggregate_function", int64_t{kSum});
  c.require(transform >= 0 && transform < static_cast<int64_t>(kTransforms.size()),
            "'post_transform' must be 0 to 4");
  c.require(aggregate >= kAverage && aggregate <= kMax, "'aggregate_function' must be 0 to 3");
  const NodeId x = features(c, true);
  const NodeId scores =
      run_forest(c, read_ensemble(c), x, c.attr("n_targets", int64_t{1}), aggregate);
  return c.b.cast(post_transform(c, scores, kTransforms[static_cast<size_t>(transform)]),
                  c.dtype(0));
}

// --- TreeEnsembleClassifier and TreeEnsembleRegressor: leaves are nodes without a comparison

int64_t mode_named(const OpContext& c, const std::string& name) {
  constexpr std::array kNames = {"BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE",
                                 "BRANCH_GT",  "BRANCH_EQ", "BRANCH_NEQ"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) c.fail(fmt::format("unknown mode of a node: '{}'", name));
  return found - kNames.begin();
}

using TreeNode = std::pair<int64_t, int64_t>;  // tree, number within it

// Where the nodes of the attributes went: a node, or ~leaf.
using Places = std::map<TreeNode, int64_t>;

// The votes are named by `prefix`: "class" or "target".
void read_votes(const OpContext& c, const std::string& prefix, const std::vector<TreeNode>& leaves,
                Forest& forest) {
  const std::vector<double> weights = numbers_attr(c, prefix + "_weights");
  const Ints trees = sized_ints(c, prefix + "_treeids", weights.size());
  const Ints nodes = sized_ints(c, prefix + "_nodeids", weights.size());
  const Ints targets = sized_ints(c, prefix + "_ids", weights.size());
  std::multimap<TreeNode, size_t> votes;
  for (size_t i = 0; i < weights.size(); ++i) votes.insert({{trees[i], nodes[i]}, i});
  for (const TreeNode& leaf : leaves) {
    const auto [first, last] = votes.equal_range(leaf);
    for (auto vote = first; vote != last; ++vote) {
      forest.vote_targets.push_back(targets[vote->second]);
      forest.vote_weights.push_back(weights[vote->second]);
    }
    forest.leaf_begin.push_back(static_cast<int64_t>(forest.vote_weights.size()));
  }
}

Forest read_trees(const OpContext& c, const std::string& prefix) {
  const Ints numbers_in_tree = ints_attr(c, "nodes_nodeids");
  const size_t count = numbers_in_tree.size();
  const Ints trees = sized_ints(c, "nodes_treeids", count);
  const Ints features = sized_ints(c, "nodes_featureids", count);
  const Ints tracks = sized_ints(c, "nodes_missing_value_tracks_true", count, true);
  const Ints children[] = {sized_ints(c, "nodes_truenodeids", count),
                           sized_ints(c, "nodes_falsenodeids", count)};
  const std::vector<std::string> modes =
      c.strings("nodes_modes").value_or(std::vector<std::string>{});
  const std::vector<double> values = numbers_attr(c, "nodes_values");
  c.require(count > 0 && modes.size() == count && values.size() == count,
            "'nodes_modes' and 'nodes_values' must have an entry for each of 'nodes_nodeids'");
  Forest forest;
  Places places;
  std::vector<TreeNode> leaves;
  int64_t nodes = 0;
  for (size_t i = 0; i < count; ++i) {
    const TreeNode node{trees[i], numbers_in_tree[i]};
    const bool leaf = modes[i] == "LEAF";
    const int64_t place = leaf ? ~static_cast<int64_t>(leaves.size()) : nodes++;
    c.require(places.emplace(node, place).second, "a tree has two nodes of one number");
    if (leaf) leaves.push_back(node);
  }
  std::set<TreeNode> reached;
  for (size_t i = 0; i < count; ++i) {
    if (modes[i] == "LEAF") continue;
    forest.modes.push_back(mode_named(c, modes[i]));
    forest.features.push_back(features[i]);
    forest.thresholds.push_back(values[i]);
    forest.tracks_missing.push_back(tracks[i]);
    for (int side = 0; side < 2; ++side) {
      const auto found = places.find({trees[i], children[side][i]});
      c.require(found != places.end(), "a branch leads to a node that is not there");
      (side == 0 ? forest.yes : forest.no).push_back(found->second);
      reached.insert(found->first);
    }
  }
  for (const auto& [node, place] : places)
    if (!reached.contains(node)) forest.roots.push_back(place);
  forest.member_begin.resize(forest.modes.size() + 1);
  read_votes(c, prefix, leaves, forest);
  return forest;
}

// Plus the base values: one a target, or one for all.
NodeId add_base_values(const OpContext& c, NodeId scores, int64_t targets) {
  const std::vector<double> base = numbers_attr(c, "base_values");
  if (base.empty()) return scores;
  const auto count = static_cast<int64_t>(base.size());
  c.require(count == targets || count == 1, "'base_values' must have one entry a target");
  Tensor tensor = Tensor::of<double>(DType::f64, {1, count}, base);
  return c.b.add(scores, c.b.cast(c.b.constant(std::move(tensor)), c.b.dtype(scores)));
}

int64_t aggregate_named(const OpContext& c, const std::string& name) {
  if (name == "AVERAGE") return kAverage;
  if (name == "SUM") return kSum;
  if (name == "MIN") return kMin;
  if (name == "MAX") return kMax;
  c.fail(fmt::format("unknown aggregate_function '{}'", name));
}

Results lower_tree_regressor(OpContext& c) {
  const int64_t targets = c.attr("n_targets", int64_t{1});
  const int64_t aggregate = aggregate_named(c, c.attr("aggregate_function", "SUM"));
  NodeId scores = run_forest(c, read_trees(c, "target"), features(c, true), targets, aggregate);
  scores = add_base_values(c, scores, targets);
  return c.b.cast(post_transform(c, scores, c.attr("post_transform", "NONE")), DType::f32);
}

// Trees that vote for one of two classes only: their sum s is a probability if no weight is
// negative and no transform is to make it one, else a margin around 0. The specification is
// silent; this is what runtimes do.
Results classify_in_two(const OpContext& c, const Tensor& labels, const Forest& forest,
                        NodeId scores) {
  Builder& b = c.b;
  const std::vector<double>& weights = forest.vote_weights;
  const bool probability = std::ranges::all_of(weights, [](double w) { return w >= 0; });
  const NodeId s = b.slice_axis(scores, 1, forest.vote_targets[0], 1);
  const NodeId above = b.less(b.like(s, probability ? 0.5 : 0), s);
  const NodeId label = label_at(b, labels, b.cast(b.squeeze(above, {1}), DType::i64));
  const std::string transform = c.attr("post_transform", "NONE");
  const NodeId other = probability && transform == "NONE" ? b.sub(b.like(s, 1), s) : b.neg(s);
  const NodeId both = b.concat(std::array{other, s}, 1);
  return {label, b.cast(post_transform(c, both, transform), DType::f32)};
}

Results lower_tree_classifier(OpContext& c) {
  const Tensor labels = class_labels(c, "classlabels_int64s", "classlabels_strings");
  const Forest forest = read_trees(c, "class");
  NodeId scores = run_forest(c, forest, features(c, true), labels.count(), kSum);
  scores = add_base_values(c, scores, labels.count());
  const std::set<int64_t> voted(forest.vote_targets.begin(), forest.vote_targets.end());
  if (labels.count() == 2 && voted.size() == 1) return classify_in_two(c, labels, forest, scores);
  const NodeId transformed = post_transform(c, scores, c.attr("post_transform", "NONE"));
  return {best_label(c.b, labels, scores), c.b.cast(transformed, DType::f32)};
}

constexpr OpRow kOps[] = {
    {"TreeEnsemble", lower_tree_ensemble},
    {"TreeEnsembleClassifier", lower_tree_classifier},
    {"TreeEnsembleRegressor", lower_tree_regressor},
};

}  // namespace

std::span<const OpRow> ml_tree_ops() { return kOps; }

}  // namespace onrush
