#include "plan/placement.h"

#include "base/check.h"
#include "plan/memory.h"

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

namespace {

class Placer {
 public:
  Placer(const Schedule& schedule, std::span<const Step* const> steps, const SizeTable& sizes,
         std::span<const DType> storage, std::vector<Place> places)
      : schedule_(schedule),
        graph_(schedule.graph),
        steps_(steps),
        sizes_(sizes),
        storage_(storage) {
    out_.places = std::move(places);
    life_of_.assign(graph_.nodes.size(), -1);
    made_by_host_.assign(graph_.nodes.size(), false);
    out_.workspaces.assign(steps.size(), {Place::Kind::arena});  // one without bytes lies anywhere
    for (const Step* step : steps)
      if (is_host(*step))
        for (NodeId output : step->group->outputs) made_by_host_[output.index] = true;
  }

  Placement run(std::span<const int64_t> workspace_bytes,
                std::span<const std::optional<NodeId>> in_place) {
    place_inputs();
    place_outputs();
    for (size_t s = 0; s < steps_.size(); ++s) {
      const int at = static_cast<int>(s);
      for (NodeId node : memory_of(graph_, *steps_[s]))
        if (life_of_[node.index] >= 0) life(node).last = at;
      for (NodeId output : steps_[s]->group->outputs) place_result(*steps_[s], output, at);
      if (workspace_bytes[s]) {
        workspaces_.emplace_back(s, lives_.size());
        lives_.push_back({workspace_bytes[s], at, at});
      }
    }
    // What becomes an output by copying lives to the end.
    for (const GraphOutput& output : graph_.outputs)
      if (life_of_[output.node.index] >= 0)
        life(output.node).last = static_cast<int>(steps_.size());
    for (size_t s = 0; s < in_place.size(); ++s)
      if (in_place[s]) join(*in_place[s], steps_[s]->group->outputs[0], static_cast<int>(s));
    out_.arena_bytes = pack(lives_);
    sum_lives();
    for (uint32_t i = 0; i < life_of_.size(); ++i)
      if (life_of_[i] >= 0) out_.places[i] = {Place::Kind::arena, 0, life(NodeId{i}).offset};
    for (const auto& [step, life] : workspaces_)
      out_.workspaces[step] = {Place::Kind::arena, 0, lives_[life].offset};
    return std::move(out_);
  }

 private:
  void place_inputs() {
    for (uint32_t i = 0; i < graph_.nodes.size(); ++i)
      if (const auto* input = std::get_if<InputAttr>(&graph_.nodes[i].attr))
        out_.places[i] = {Place::Kind::input, input->index};
  }

  BufferLife& life(NodeId node) { return lives_[static_cast<size_t>(life_of_[node.index])]; }

  static bool is_host(const Step& step) { return std::holds_alternative<NodeId>(step.kernel); }

  void place_outputs() {
    for (size_t i = 0; i < graph_.outputs.size(); ++i) {
      const NodeId node = graph_.outputs[i].node;
      Place& place = out_.places[node.index];
      if (place.kind == Place::Kind::none && !made_by_host_[node.index])
        place = {Place::Kind::output, static_cast<int>(i)};
    }
  }

  // The result of step `at` takes the operand's memory, if nothing reads that any more.
  void join(NodeId operand, NodeId result, int at) {
    const int from = life_of_[operand.index];
    if (from < 0 || life_of_[result.index] < 0) return;
    BufferLife &old = life(operand), &next = life(result);
    if (old.last != at || old.bytes != next.bytes) return;
    old.last = next.last;
    next = {0, at, at};
    life_of_[result.index] = from;
  }

  void sum_lives() {
    std::vector<int64_t> change(steps_.size() + 2);
    for (const BufferLife& life : lives_) {
      change[static_cast<size_t>(life.first)] += life.bytes;
      change[static_cast<size_t>(life.last) + 1] -= life.bytes;
    }
    int64_t alive = 0;
    for (size_t s = 0; s < steps_.size(); ++s) out_.live_bytes.push_back(alive += change[s]);
  }

  void place_result(const Step& step, NodeId output, int at) {
    if (is_host(step)) {
      out_.places[output.index] = {Place::Kind::tensor, out_.tensors++};
      return;
    }
    // A concatenation lives as soon as one of its parts.
    if (const auto& inside = schedule_.inside[output.index]) output = inside->whole;
    if (out_.places[output.index].kind != Place::Kind::none) return;
    if (life_of_[output.index] >= 0) {
      life(output).last = at;
      return;
    }
    const TensorType& type = graph_.type(output);
    int64_t count = 1;
    for (Dim dim : type.shape) count = checked_mul(count, sizes_(dim));
    life_of_[output.index] = static_cast<int>(lives_.size());
    const auto bytes = static_cast<int64_t>(byte_size(storage_[output.index], count));
    lives_.push_back({bytes, at, at});
  }

  const Schedule& schedule_;
  const Graph& graph_;
  std::span<const Step* const> steps_;
  const SizeTable& sizes_;
  std::span<const DType> storage_;
  Placement out_;
  std::vector<BufferLife> lives_;
  std::vector<bool> made_by_host_;                     // by node
  std::vector<int> life_of_;                           // by node; -1: none
  std::vector<std::pair<size_t, size_t>> workspaces_;  // step, life
};

}  // namespace

Placement place(const Schedule& schedule, std::span<const Step* const> steps,
                const SizeTable& sizes, std::span<const DType> storage, std::vector<Place> places,
                std::span<const int64_t> workspace_bytes,
                std::span<const std::optional<NodeId>> in_place) {
  return Placer(schedule, steps, sizes, storage, std::move(places)).run(workspace_bytes, in_place);
}

}  // namespace onrush
