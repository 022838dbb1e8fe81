#include "plan/attention.h"

#include <algorithm>
#include <map>
#include <optional>

#include "codegen/coordinates.h"

namespace onrush {
namespace {

// Whether value `id` is `op` of the given values.
bool is_op(const Loops& loops, ValueId id, Op op, std::vector<ValueId> operands) {
  const auto* v = std::get_if<OpValue>(&loops.body[static_cast<size_t>(id)].data);
  return v && v->op == op && v->operands == operands;
}
bool is_reduce(const Loops& loops, ValueId id, ReduceKind kind, ValueId operand) {
  const auto* v = std::get_if<ReduceValue>(&loops.body[static_cast<size_t>(id)].data);
  return v && v->kind == kind && v->operand == operand;
}

struct Softmax {
  NodeId from, to;
  bool nan_to_zero;
};

// exp(x - max) / sum along the rows of one buffer, into a buffer of the same layout; perhaps with
// zeros where that is no number.
std::optional<Softmax> match_softmax(const Step& step) {
  const auto* kernels = std::get_if<std::vector<Loops>>(&step.kernel);
  if (!kernels || kernels->size() != 1) return std::nullopt;
  const Loops& l = kernels->front();
  if ((l.body.size() != 6 && l.body.size() != 9) || l.stores.size() != 1) return std::nullopt;
  const auto* load = std::get_if<LoadValue>(&l.body[0].data);
  if (!load || !load->bounds.empty() || !load->dynamic.empty()) return std::nullopt;
  const bool exponentials = is_reduce(l, 1, ReduceKind::max, 0) && is_op(l, 2, Op::sub, {0, 1}) &&
                            is_op(l, 3, Op::exp, {2}) && is_reduce(l, 4, ReduceKind::sum, 3) &&
                            is_op(l, 5, Op::div, {3, 4});
  if (!exponentials) return std::nullopt;
  const bool zeroed = l.body.size() == 9;
  if (zeroed) {
    const auto* zero = std::get_if<ConstantValue>(&l.body[7].data);
    if (!is_op(l, 6, Op::is_nan, {5}) || !zero || zero->f != 0 ||
        !is_op(l, 8, Op::select, {6, 7, 5}))
      return std::nullopt;
  }
  const Store& store = l.stores[0];
  if (store.value != static_cast<ValueId>(l.body.size()) - 1) return std::nullopt;
  if (!same(store.address, load->address)) return std::nullopt;
  // The rows are along the last axis only.
  for (size_t i = 0; i < l.axes.size(); ++i)
    if (l.axes[i].reduce != (i + 1 == l.axes.size())) return std::nullopt;
  return Softmax{l.buffers[static_cast<size_t>(load->buffer)].node,
                 l.buffers[static_cast<size_t>(store.buffer)].node, zeroed};
}

void remove_buffer(Loops& loops, int buffer) {
  loops.buffers.erase(loops.buffers.begin() + buffer);
  for (LoopValue& value : loops.body)
    if (auto* load = std::get_if<LoadValue>(&value.data)) load->buffer -= load->buffer > buffer;
  for (Store& store : loops.stores)
    store.buffer = store.buffer == buffer ? -1 : store.buffer - (store.buffer > buffer);
}

// Whether `values` reads, as its left operand, for its m and k exactly what `scores` stores for its
// m and n.
bool reads_rows(const Contraction& values, const Contraction& scores) {
  if (values.batch_axes != scores.batch_axes || values.m_axes != 1 || scores.m_axes != 1 ||
      scores.n_axes != 1 || values.k_axes != 1)
    return false;
  const ValueId id = values.lhs.stores[0].value;
  const auto* load = std::get_if<LoadValue>(&values.lhs.body[static_cast<size_t>(id)].data);
  if (!load || !load->bounds.empty() || !load->dynamic.empty()) return false;
  const Affine& to = scores.epilogue.stores[0].address;
  const int m = values.batch_axes, k = m + 1 + values.n_axes;
  if (!same(load->address.offset, to.offset)) return false;
  for (int i = 0; i <= m; ++i)
    if (!same(stride_of(load->address, i), stride_of(to, i))) return false;
  return same(stride_of(load->address, k), stride_of(to, m + 1));
}

}  // namespace

std::vector<AttentionSteps> find_attention(const Schedule& schedule, std::span<const Step> steps) {
  const Graph& graph = schedule.graph;
  std::map<NodeId, size_t> maker;
  std::map<NodeId, std::vector<size_t>> users;
  for (size_t i = 0; i < steps.size(); ++i) {
    for (NodeId output : steps[i].group->outputs) maker[output] = i;
    for (NodeId node : memory_of(graph, steps[i])) {
      std::vector<size_t>& list = users[node];
      if (list.empty() || list.back() != i) list.push_back(i);
    }
  }
  const auto is_output = [&](NodeId node) {
    return std::any_of(graph.outputs.begin(), graph.outputs.end(),
                       [&](const GraphOutput& output) { return output.node == node; });
  };
  // The one step besides its maker that reads the node.
  const auto only_user = [&](NodeId node) -> std::optional<size_t> {
    const std::vector<size_t>& list = users[node];
    if (is_output(node) || list.size() != 2) return std::nullopt;
    return list[0] == maker[node] ? list[1] : list[0];
  };

  std::vector<AttentionSteps> found;
  for (size_t i = 0; i < steps.size(); ++i) {
    const auto softmax = match_softmax(steps[i]);
    if (!softmax || !maker.contains(softmax->from)) continue;
    const size_t first = maker[softmax->from];
    const auto* scores = std::get_if<Contraction>(&steps[first].kernel);
    const auto last = only_user(softmax->to);
    if (!scores || scores->epilogue.stores.size() != 1 || !last || only_user(softmax->from) != i)
      continue;
    const auto* values = std::get_if<Contraction>(&steps[*last].kernel);
    if (!values || !reads_rows(*values, *scores)) continue;
    AttentionSteps result{first, i, *last, {*scores, *values, softmax->nan_to_zero}};
    Loops& epilogue = result.attention.scores.epilogue;
    remove_buffer(epilogue, epilogue.stores[0].buffer);
    found.push_back(std::move(result));
  }
  return found;
}

}  // namespace onrush
