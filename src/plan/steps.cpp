#include "plan/steps.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <set>

#include "base/check.h"
#include "codegen/emit.h"

namespace onrush {
namespace {

std::string_view name(Group::Kind kind) {
  switch (kind) {
    case Group::Kind::pointwise: return "pointwise";
    case Group::Kind::reduction: return "reduction";
    case Group::Kind::window: return "window";
    case Group::Kind::contraction: return "contraction";
    case Group::Kind::concat: return "concat";
    case Group::Kind::host: return "host";
  }
  internal_error("unknown kind of group");
}

// "dot+add+max": what the members do, movement left out unless there is nothing else.
std::string primitives(const Graph& graph, const Group& group) {
  constexpr size_t kMost = 6;
  std::vector<std::string_view> computed, moved;
  for (NodeId member : group.members) {
    const Op op = graph[member].op;
    auto& names = is_movement(op) ? moved : computed;
    if (names.empty() || names.back() != onrush::name(op)) names.push_back(onrush::name(op));
  }
  const auto& names = computed.empty() ? moved : computed;
  if (names.size() <= kMost) return fmt::format("{}", fmt::join(names, "+"));
  return fmt::format("{}+...", fmt::join(names.begin(), names.begin() + kMost, "+"));
}

std::vector<std::string> names_of(const Graph& graph, const Origins& origins) {
  std::vector<std::string> names;
  for (uint32_t origin : origins) names.push_back((*graph.origin_names)[origin]);
  return names;
}

// Of what is computed inside the group and every other user.
Origins inlined_origins(const Schedule& schedule, const Group& group) {
  Origins origins;
  std::set<NodeId> seen;
  const auto visit = [&](auto&& self, NodeId id) -> void {
    for (NodeId operand : schedule.graph[id].inputs) {
      if (schedule.home[operand.index] >= 0 || !seen.insert(operand).second) continue;
      merge(origins, schedule.graph[operand].origins);
      self(self, operand);
    }
  };
  for (NodeId member : group.members) visit(visit, member);
  return origins;
}

std::shared_ptr<const ProfiledStep> profiled_step(const Schedule& schedule, const Group& group) {
  const Graph& graph = schedule.graph;
  Origins own, inlined;
  for (NodeId member : group.members) merge(own, graph[member].origins);
  std::ranges::set_difference(inlined_origins(schedule, group), own, std::back_inserter(inlined));
  ProfiledStep step{std::string(name(group.kind)), primitives(graph, group), names_of(graph, own),
                    names_of(graph, inlined), to_string(group.apart, group.unfit)};
  return std::make_shared<const ProfiledStep>(std::move(step));
}

}  // namespace

Step make_step(const Schedule& schedule, const Group& group) {
  auto profiled = profiled_step(schedule, group);
  switch (group.kind) {
    case Group::Kind::host: return {&group, group.anchor, std::move(profiled)};
    case Group::Kind::contraction:
      return {&group, emit_contraction(schedule, group), std::move(profiled)};
    default: return {&group, emit_loops(schedule, group), std::move(profiled)};
  }
}

bool does_nothing(const Step& step) {
  const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel);
  return loops && loops->empty();
}

std::vector<NodeId> memory_of(const Graph& graph, const Step& step) {
  std::vector<NodeId> nodes;
  nodes.reserve(8);
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
  if (const auto* p = std::get_if<DevicePrimitive>(&step.kernel)) nodes = graph[p->node].inputs;
  return nodes;
}

uint64_t fresh_seed() {
  static std::atomic<uint64_t> next{std::random_device{}()};
  return next.fetch_add(0x9e3779b97f4a7c15);
}

Node with_fresh_seed(const Node& node) {
  Node copy = node;
  auto* attr = std::get_if<RandomAttr>(&copy.attr);
  if (attr && !attr->seeded) attr->seed = fresh_seed();
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
  if (const auto* p = std::get_if<DevicePrimitive>(&step.kernel))
    text += "device " + std::string(name(schedule.graph[p->node].op)) + " : " +
            to_string(schedule.graph[p->node].type) + "\n";
  return text;
}

}  // namespace onrush
