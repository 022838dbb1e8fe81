#include "plan/steps.h"

#include <atomic>
#include <random>

#include "codegen/emit.h"

namespace onrush {

Step make_step(const Schedule& schedule, const Group& group) {
  switch (group.kind) {
    case Group::Kind::host: return {&group, group.anchor};
    case Group::Kind::contraction: return {&group, emit_contraction(schedule, group)};
    default: return {&group, emit_loops(schedule, group)};
  }
}

std::vector<NodeId> memory_of(const Graph& graph, const Step& step) {
  std::vector<NodeId> nodes;
  const auto add = [&](const Loops& loops) {
    for (const LoopBuffer& buffer : loops.buffers) nodes.push_back(buffer.node);
  };
  if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel))
    for (const Loops& kernel : *loops) add(kernel);
  if (const auto* c = std::get_if<Contraction>(&step.kernel))
    add(c->lhs), add(c->rhs), add(c->epilogue);
  if (const auto* a = std::get_if<Attention>(&step.kernel))
    for (const Loops* loops :
         {&a->scores.lhs, &a->scores.rhs, &a->scores.epilogue, &a->values.rhs, &a->values.epilogue})
      add(*loops);
  if (const auto* host = std::get_if<NodeId>(&step.kernel)) nodes = graph[*host].inputs;
  return nodes;
}

Node with_fresh_seed(const Node& node) {
  Node copy = node;
  auto* attr = std::get_if<RandomAttr>(&copy.attr);
  static std::atomic<uint64_t> runs{std::random_device{}()};
  if (attr && !attr->seeded) attr->seed = runs.fetch_add(0x9e3779b97f4a7c15);
  return copy;
}

std::string to_string(const Schedule& schedule, const Step& step) {
  std::string text;
  if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel))
    for (const Loops& kernel : *loops) text += to_string(kernel);
  if (const auto* c = std::get_if<Contraction>(&step.kernel)) text += to_string(*c);
  if (const auto* a = std::get_if<Attention>(&step.kernel))
    text += "attention of scores " + to_string(a->scores) + "and values " + to_string(a->values);
  if (const auto* host = std::get_if<NodeId>(&step.kernel))
    text += "host " + std::string(name(schedule.graph[*host].op)) + " : " +
            to_string(schedule.graph[*host].type) + "\n";
  return text;
}

}  // namespace onrush
