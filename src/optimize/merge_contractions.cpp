#include "optimize/merge_contractions.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>

#include "optimize/facts.h"

namespace onrush {
namespace {

// A contraction by a weight, with the sum with its bias if that is all it is used for.
struct Member {
  NodeId contraction;
  NodeId root;  // the sum, or the contraction itself
  NodeId bias;  // before it is repeated; invalid without one
  bool operator<(const Member& other) const { return contraction < other.contraction; }
};

class Merger {
 public:
  explicit Merger(const Graph& source)
      : source_(source), uses_(uses_of(source)), facts_(source), b_(source, pass_folder()) {
    find_groups();
  }

  bool finds_nothing() const { return groups_.empty(); }

  Graph run() {
    made_.resize(source_.nodes.size());
    for (uint32_t i = 0; i < source_.nodes.size(); ++i) {
      const auto group = group_of_.find(i);
      if (group == group_of_.end()) make(NodeId{i});
      else if (!made_[i].valid()) make_merged(groups_[group->second]);
    }
    for (const GraphOutput& output : source_.outputs)
      b_.output(output.name, made_[output.node.index]);
    return b_.finish();
  }

 private:
  void find_groups();
  std::optional<Member> member(NodeId id);
  std::string group_key(const Member& member) const;
  NodeId make(NodeId id);
  void make_merged(const std::vector<Member>& members);
  int weight_axis(NodeId contraction) const;
  NodeId concat_biases(const std::vector<Member>& members, NodeId contraction);

  const Graph& source_;
  Uses uses_;
  NodeFacts facts_;
  Builder b_;
  std::vector<NodeId> made_;
  std::vector<std::vector<Member>> groups_;
  std::map<uint32_t, size_t> group_of_;  // by contraction and by root
};

// --- which belong together

// The axis of the weight that becomes the last of the result; -1 if it is not one axis.
int Merger::weight_axis(NodeId contraction) const {
  const Node& node = source_[contraction];
  if (node.op == Op::conv) return 0;
  const auto& a = node.as<DotAttr>();
  Axes free;
  for (int axis = 0; axis < source_.rank(node.inputs[1]); ++axis)
    if (!contains(a.rhs_batch, axis) && !contains(a.rhs_contract, axis)) free.push_back(axis);
  return free.size() == 1 ? free[0] : -1;
}

std::optional<Member> Merger::member(NodeId id) {
  const Node& node = source_[id];
  if (node.op != Op::dot && node.op != Op::conv) return std::nullopt;
  const bool grouped = node.op == Op::conv && node.as<ConvAttr>().groups != 1;
  // Sums of integers are wide and do not leave the kernel that scales them.
  if (grouped || is_integer(source_.dtype(id)) || facts_.is_weight(node.inputs[0]) ||
      !facts_.is_weight(node.inputs[1]) || weight_axis(id) < 0)
    return std::nullopt;
  Member member{id, id, {}};
  if (uses_.count(id) != 1 || uses_.users[id.index].empty()) return member;
  const NodeId user = uses_.users[id.index][0];
  if (source_[user].op != Op::add || source_[user].inputs[0] != id) return member;
  NodeId bias = source_[user].inputs[1];
  if (source_[bias].op == Op::broadcast) bias = source_[bias].inputs[0];
  const Dims& shape = source_.shape(bias);
  const bool by_channel = std::all_of(shape.begin(), shape.end() - 1, is_one) &&
                          always_equal(shape.back(), source_.shape(id).back());
  if (!by_channel || !facts_.is_weight(bias)) return member;
  return Member{id, user, bias};
}

// Equal for members that can be one contraction. Those without a bias stay among themselves.
std::string Merger::group_key(const Member& member) const {
  const Node& node = source_[member.contraction];
  std::string key = fmt::format("{} {} {} {} ", name(node.op), node.inputs[0].index,
                                to_string(node.attr), member.bias.valid());
  // The weights may differ along the concatenated axis only.
  const int concatenated = weight_axis(member.contraction);
  const TensorType& weight = source_.type(node.inputs[1]);
  key += fmt::format("{} {} ", concatenated, name(weight.dtype));
  for (int axis = 0; axis < weight.rank(); ++axis)
    if (axis != concatenated) append_key(key, weight.shape[axis]);
  if (node.op == Op::conv)
    for (NodeId user : uses_.users[member.root.index]) key += name(source_[user].op);
  return key;
}

void Merger::find_groups() {
  std::map<std::string, std::vector<Member>> by_key;
  for (uint32_t i = 0; i < source_.nodes.size(); ++i)
    if (const auto found = member(NodeId{i})) by_key[group_key(*found)].push_back(*found);
  for (auto& [key, members] : by_key) {
    if (members.size() < 2) continue;
    for (const Member& member : members)
      for (NodeId id : {member.contraction, member.root}) group_of_[id.index] = groups_.size();
    groups_.push_back(std::move(members));
  }
}

// --- building

// Weights of a group are needed where its first member stands: what they depend on is made early.
NodeId Merger::make(NodeId id) {
  if (made_[id.index].valid()) return made_[id.index];
  std::vector<NodeId> operands;
  for (NodeId operand : source_[id].inputs) operands.push_back(make(operand));
  b_.set_origins(source_[id].origins);
  return made_[id.index] = b_.rebuild(source_[id], std::move(operands));
}

NodeId Merger::concat_biases(const std::vector<Member>& members, NodeId contraction) {
  std::vector<NodeId> biases;
  for (const Member& member : members) {
    Dims shape(b_.shape(contraction).size(), Dim(1));
    shape.back() = source_.shape(member.contraction).back();
    biases.push_back(b_.reshape(make(member.bias), std::move(shape)));
  }
  return b_.concat(biases, b_.rank(contraction) - 1);
}

void Merger::make_merged(const std::vector<Member>& members) {
  const Node& first = source_[members[0].contraction];
  std::vector<NodeId> weights;
  Origins origins;
  for (const Member& member : members) {
    weights.push_back(make(source_[member.contraction].inputs[1]));
    merge(origins, source_[member.contraction].origins);
    merge(origins, source_[member.root].origins);
  }
  const NodeId x = make(first.inputs[0]);
  b_.set_origins(origins);
  const NodeId w = b_.concat(weights, weight_axis(members[0].contraction));
  NodeId y = first.op == Op::conv ? b_.conv(x, w, ConvAttr(first.as<ConvAttr>()))
                                  : b_.dot(x, w, DotAttr(first.as<DotAttr>()));
  if (members[0].bias.valid()) {
    const NodeId bias = concat_biases(members, y);
    b_.set_origins(origins);
    y = b_.add(y, bias);
  }
  Dim start = 0;
  for (const Member& member : members) {
    const Dim extent = source_.shape(member.root).back();
    b_.set_origins(source_[member.root].origins);
    const NodeId part = b_.slice_axis(y, b_.rank(y) - 1, start, extent);
    made_[member.contraction.index] = made_[member.root.index] = part;
    start = start + extent;
  }
}

}  // namespace

Graph merge_contractions(Graph graph, const OptimizeOptions&) {
  Merger merger(graph);
  return merger.finds_nothing() ? std::move(graph) : merger.run();
}

}  // namespace onrush
