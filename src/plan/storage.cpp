#include "plan/storage.h"

namespace onrush {

std::vector<DType> plain_storage(const Graph& graph) {
  std::vector<DType> storage;
  for (const Node& node : graph.nodes) {
    const auto* type = std::get_if<TensorType>(&node.type);
    storage.push_back(type ? type->dtype : DType::undefined);
  }
  return storage;
}

std::vector<DType> narrow_storage(const Schedule& schedule, DType narrow) {
  const Graph& graph = schedule.graph;
  std::vector<DType> storage = plain_storage(graph);
  for (const Group& group : schedule.groups) {
    if (group.kind == Group::Kind::host || group.time == Time::prepare) continue;
    for (NodeId output : group.outputs)
      if (graph.dtype(output) == DType::f32) storage[output.index] = narrow;
  }
  for (const Group& group : schedule.groups)
    if (group.kind == Group::Kind::host)
      for (NodeId input : graph[group.anchor].inputs) storage[input.index] = graph.dtype(input);
  for (const GraphOutput& output : graph.outputs)
    storage[output.node.index] = graph.dtype(output.node);
  return storage;
}

std::vector<DType> narrow_products(const Schedule& schedule, std::span<const Step> steps,
                                   DType narrow) {
  const Graph& graph = schedule.graph;
  std::vector<DType> storage = narrow_storage(schedule, narrow);
  std::vector<bool> wide(graph.nodes.size());
  for (const Step& step : steps) {
    if (step.group->kind != Group::Kind::reduction) continue;
    for (NodeId node : memory_of(graph, step)) wide[node.index] = true;
  }
  const auto read = [&](const Loops& loops) {
    for (const LoopBuffer& buffer : loops.buffers) wide[buffer.node.index] = false;
  };
  for (const Step& step : steps) {
    if (const auto* c = std::get_if<Contraction>(&step.kernel)) read(c->lhs), read(c->rhs);
    if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel);
        loops && step.group->kind != Group::Kind::reduction)
      for (const Loops& kernel : *loops) read(kernel);
  }
  for (const Step& step : steps)
    if (step.group->kind == Group::Kind::reduction)
      for (NodeId output : step.group->outputs) wide[output.index] = true;
  std::vector<bool> product(graph.nodes.size());
  for (uint32_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    product[i] = class_of(node.op) == OpClass::contraction;
    for (NodeId operand : node.inputs) product[i] = product[i] || product[operand.index];
    if ((wide[i] || !product[i]) && storage[i] == narrow) storage[i] = graph.dtype(NodeId{i});
  }
  return storage;
}

void store_as(Loops& loops, const std::vector<DType>& storage) {
  for (LoopBuffer& buffer : loops.buffers) buffer.dtype = storage[buffer.node.index];
}

void store_as(Contraction& contraction, const std::vector<DType>& storage) {
  for (Loops* part : {&contraction.lhs, &contraction.rhs, &contraction.epilogue})
    store_as(*part, storage);
}

}  // namespace onrush
