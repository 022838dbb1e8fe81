#include "plan/placement.h"

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace onrush {

Shape concrete_shape(const Dims& dims, const SizeTable& sizes) {
  Shape shape;
  shape.reserve(dims.size());
  for (Dim dim : dims) shape.push_back(sizes(dim));
  return shape;
}

SizeTable sizes_at_hand(const ShapeContext& shapes) {
  std::vector<int64_t> values;
  for (const Symbol& symbol : shapes.symbols()) values.push_back(symbol.value);
  return shapes.evaluate(values);
}

// --- what does not depend on sizes

class PlacementPlan::Maker {
 public:
  Maker(const Schedule& schedule, std::span<const Step* const> steps,
        std::span<const DType> storage, PlacementPlan& out)
      : schedule_(schedule), graph_(schedule.graph), steps_(steps), storage_(storage), out_(out) {}

  void make(std::span<const std::optional<NodeId>> in_place) {
    for (uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (const auto* input = std::get_if<InputAttr>(&graph_.nodes[i].attr))
        out_.places_[i] = {Place::Kind::input, input->index};
    place_outputs();
    for (size_t s = 0; s < steps_.size(); ++s) {
      const int at = static_cast<int>(s);
      for (NodeId node : memory_of(graph_, *steps_[s]))
        if (is_in_arena(node)) life(node).last = at;
      for (NodeId output : steps_[s]->group->outputs) place_result(*steps_[s], output, at);
    }
    // What becomes an output by copying lives to the end.
    for (const GraphOutput& output : graph_.outputs)
      if (is_in_arena(output.node)) life(output.node).last = static_cast<int>(steps_.size());
    for (size_t s = 0; s < in_place.size(); ++s) {
      if (!in_place[s]) continue;
      const NodeId result = steps_[s]->group->outputs[0];
      if (is_in_arena(*in_place[s]) && is_in_arena(result))
        out_.joins_.push_back(
            {place(*in_place[s]).index, place(result).index, static_cast<int>(s)});
    }
  }

 private:
  Place& place(NodeId node) { return out_.places_[node.index]; }
  bool is_in_arena(NodeId node) { return place(node).kind == Place::Kind::arena; }
  Life& life(NodeId node) { return out_.lives_[static_cast<size_t>(place(node).index)]; }

  static bool is_host(const Step& step) { return std::holds_alternative<NodeId>(step.kernel); }

  void place_outputs() {
    std::vector<bool> made_by_host(graph_.nodes.size());
    for (const Step* step : steps_)
      if (is_host(*step))
        for (NodeId output : step->group->outputs) made_by_host[output.index] = true;
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      const NodeId node = graph_.outputs[i].node;
      if (place(node).kind == Place::Kind::none && !made_by_host[node.index])
        place(node) = {Place::Kind::output, static_cast<int>(i)};
    }
  }

  void place_result(const Step& step, NodeId output, int at) {
    if (is_host(step)) {
      place(output) = {Place::Kind::tensor, out_.tensors_++};
      return;
    }
    // A concatenation lives as soon as one of its parts.
    if (const auto& inside = schedule_.inside[output.index]) output = inside->whole;
    if (is_in_arena(output)) life(output).last = at;
    if (place(output).kind != Place::Kind::none) return;
    place(output) = {Place::Kind::arena, static_cast<int>(out_.lives_.size())};
    const Dims& shape = graph_.shape(output);
    out_.lives_.push_back({at, at, storage_[output.index], shape.size()});
    out_.extents_.insert(out_.extents_.end(), shape.begin(), shape.end());
  }

  const Schedule& schedule_;
  const Graph& graph_;
  std::span<const Step* const> steps_;
  std::span<const DType> storage_;
  PlacementPlan& out_;
};

PlacementPlan::PlacementPlan(const Schedule& schedule, std::span<const Step* const> steps,
                             std::span<const DType> storage, std::vector<Place> places,
                             std::span<const std::optional<NodeId>> in_place)
    : places_(std::move(places)) {
  Maker(schedule, steps, storage, *this).make(in_place);
}

// --- what does

ArenaLayout PlacementPlan::arena(const SizeTable& sizes,
                                 std::span<const int64_t> workspace_bytes) const {
  ArenaLayout arena;
  arena.lives.reserve(lives_.size() + workspace_bytes.size());
  auto extent = extents_.begin();
  for (const Life& life : lives_) {
    int64_t count = 1;
    for (size_t axis = 0; axis < life.rank; ++axis) count = checked_mul(count, sizes(*extent++));
    arena.lives.push_back(
        {static_cast<int64_t>(byte_size(life.dtype, count)), life.first, life.last});
  }
  // A result takes an operand's memory, or that of whose memory the operand has taken, if nothing
  // reads that any more.
  std::vector<size_t> memory_of(lives_.size());
  std::iota(memory_of.begin(), memory_of.end(), size_t{0});
  for (const Join& join : joins_) {
    const auto to = static_cast<size_t>(join.to);
    const size_t from = memory_of[static_cast<size_t>(join.from)];
    BufferLife &old = arena.lives[from], &next = arena.lives[to];
    if (old.last != join.step || old.bytes != next.bytes) continue;
    old.last = next.last;
    next = {0, join.step, join.step};
    memory_of[to] = from;
  }
  arena.workspaces.resize(workspace_bytes.size());
  for (size_t s = 0; s < workspace_bytes.size(); ++s)
    if (workspace_bytes[s])
      arena.lives.push_back({workspace_bytes[s], static_cast<int>(s), static_cast<int>(s)});
  arena.bytes = pack(arena.lives);
  for (const Join& join : joins_) {
    const auto to = static_cast<size_t>(join.to);
    arena.lives[to].offset = arena.lives[memory_of[to]].offset;
  }
  for (size_t s = 0, next = lives_.size(); s < workspace_bytes.size(); ++s)
    if (workspace_bytes[s]) arena.workspaces[s] = arena.lives[next++].offset;
  return arena;
}

std::vector<int64_t> ArenaLayout::live_bytes() const {
  std::vector<int64_t> change(workspaces.size() + 2);
  for (const BufferLife& life : lives) {
    change[static_cast<size_t>(life.first)] += life.bytes;
    change[static_cast<size_t>(life.last) + 1] -= life.bytes;
  }
  std::vector<int64_t> alive(workspaces.size());
  std::partial_sum(change.begin(), change.end() - 2, alive.begin());
  return alive;
}

}  // namespace onrush
