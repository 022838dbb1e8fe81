#include "backend/cpu/step_list.h"

#include <unordered_set>

#include "backend/cpu/cpu_executable.h"
#include "base/check.h"

namespace onrush::cpu {

namespace {

// The cache lines that binding reads.
class Lines {
 public:
  explicit Lines(std::vector<const void*>& lines) : lines_(lines) {}

  template <class T>
  void add(const std::vector<T>& elements) {
    add(elements.data(), elements.size());
  }
  void add(const Step& step) {
    add(&step, 1);
    if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel)) {
      add(loops->data(), loops->size());
      for (const Loops& kernel : *loops) add(kernel);
    }
    if (const auto* c = std::get_if<Contraction>(&step.kernel)) add(c->lhs), add(c->epilogue);
  }

 private:
  template <class T>
  void add(const T* begin, size_t count) {
    constexpr uintptr_t kLine = 64;
    const auto end = reinterpret_cast<uintptr_t>(begin + count);
    for (auto at = reinterpret_cast<uintptr_t>(begin) / kLine * kLine; at < end; at += kLine)
      if (const auto* line = reinterpret_cast<const void*>(at); seen_.insert(line).second)
        lines_.push_back(line);
  }

  void add(const Loops& loops) {
    add(loops.axes), add(loops.buffers), add(loops.body), add(loops.stores);
    for (const LoopValue& value : loops.body) {
      std::visit([&](const auto& v) { add_parts(v); }, value.data);
    }
    for (const Store& store : loops.stores) add(store.address.terms);
  }
  void add_parts(const auto&) {}
  void add_parts(const IndexValue& v) { add(v.index.terms); }
  void add_parts(const LoadValue& v) { add(v.address.terms), add(v.dynamic), add_bounds(v.bounds); }
  void add_parts(const OpValue& v) { add(v.operands); }
  void add_parts(const BoundsValue& v) { add_bounds(v.bounds); }
  void add_parts(const ReduceValue& v) { add(v.position.terms); }
  void add_bounds(const std::vector<Bound>& bounds) {
    add(bounds);
    for (const Bound& bound : bounds) add(bound.index.terms);
  }

  std::vector<const void*>& lines_;
  std::unordered_set<const void*> seen_;
};

}  // namespace

StepList::StepList(const CpuExecutable& executable, std::span<const Step* const> steps,
                   std::span<const Tensor* const> packed, std::span<const size_t> twins,
                   std::span<const std::optional<NodeId>> in_place)
    : placement(executable.schedule(), steps, executable.storage(), known_places(executable),
                in_place) {
  for (size_t i = 0; i < steps.size(); ++i) {
    Entry entry{.step = steps[i], .packed = packed[i], .twin = twins[i]};
    entry.memory.begin = memory.size();
    if (const auto* loops = std::get_if<std::vector<Loops>>(&steps[i]->kernel))
      for (const Loops& kernel : *loops) entry.kernels.push_back(add(kernel));
    if (const auto* c = std::get_if<Contraction>(&steps[i]->kernel)) {
      entry.lhs = add(c->lhs);
      if (!packed[i]) entry.rhs = add(c->rhs);
      entry.epilogue = add(c->epilogue);
    }
    entry.memory.end = memory.size();
    entries.push_back(std::move(entry));
  }
  Lines lines(lines_);
  lines.add(entries);
  for (size_t i = 0; i < steps.size(); ++i)
    if (twins[i] == i) lines.add(*steps[i]);
}

void StepList::prefetch() const {
  for (const void* line : lines_) __builtin_prefetch(line);
}

std::vector<Place> StepList::known_places(const CpuExecutable& executable) {
  const Graph& graph = executable.graph();
  std::vector<Place> places(graph.nodes.size());
  for (uint32_t i = 0; i < places.size(); ++i) {
    if (const Tensor& known = executable.prepared(NodeId{i}))
      places[i] = {Place::Kind::fixed, 0, known.data()};
    if (graph.nodes[i].op != Op::dims) continue;
    places[i] = {Place::Kind::sizes, static_cast<int>(sizes.size())};
    sizes.push_back(NodeId{i});
  }
  return places;
}

StepList::Range StepList::add(const Loops& loops) {
  const size_t begin = memory.size();
  for (const LoopBuffer& buffer : loops.buffers) {
    memory.push_back(placement[buffer.node]);
    internal_check(memory.back().kind != Place::Kind::none, "a kernel's buffer has a place");
  }
  return {begin, memory.size()};
}

}  // namespace onrush::cpu
