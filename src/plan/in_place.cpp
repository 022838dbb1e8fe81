#include "plan/in_place.h"

#include <algorithm>

namespace onrush {
namespace {

bool same_address(const Affine& a, const Affine& b) {
  return same(a.offset, b.offset) &&
         std::ranges::equal(a.terms, b.terms, [](const auto& x, const auto& y) {
           return x.first == y.first && same(x.second, y.second);
         });
}

}  // namespace

std::optional<NodeId> operand_in_place(const Step& step, std::span<const DType> storage) {
  const auto* kernels = std::get_if<std::vector<Loops>>(&step.kernel);
  if (step.group->kind != Group::Kind::pointwise || !kernels || kernels->size() != 1 ||
      step.group->outputs.size() != 1)
    return std::nullopt;
  const Loops& loops = kernels->front();
  if (loops.stores.size() != 1) return std::nullopt;
  const Store& store = loops.stores[0];
  const NodeId result = loops.buffers[static_cast<size_t>(store.buffer)].node;
  std::optional<NodeId> found;
  std::vector<NodeId> others;
  for (const LoopValue& value : loops.body) {
    const auto* load = std::get_if<LoadValue>(&value.data);
    if (!load) continue;
    const NodeId node = loops.buffers[static_cast<size_t>(load->buffer)].node;
    const bool fits = load->bounds.empty() && load->dynamic.empty() &&
                      storage[node.index] == storage[result.index] &&
                      same_address(load->address, store.address);
    if (fits && !found) found = node;
    else others.push_back(node);
  }
  if (!found || std::ranges::find(others, *found) != others.end()) return std::nullopt;
  return found;
}

}  // namespace onrush
