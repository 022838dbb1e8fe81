#include "codegen/merge_axes.h"

#include <algorithm>

namespace onrush {
namespace {

// Calls visit(affine) for everything that is a function of the axes.
template <class AnyLoops, class Visit>
void for_each_affine(AnyLoops& loops, const Visit& visit) {
  const auto bounds = [&](auto& all) {
    for (auto& bound : all) visit(bound.index);
  };
  for (auto& value : loops.body) {
    if (auto* v = std::get_if<IndexValue>(&value.data)) visit(v->index);
    if (auto* v = std::get_if<ReduceValue>(&value.data)) visit(v->position);
    if (auto* v = std::get_if<BoundsValue>(&value.data)) bounds(v->bounds);
    if (auto* v = std::get_if<LoadValue>(&value.data)) visit(v->address), bounds(v->bounds);
  }
  for (auto& store : loops.stores) visit(store.address);
}

bool mergeable(const Loops& loops, int outer) {
  const Dim extent = loops.axes[static_cast<size_t>(outer) + 1].extent;
  bool all = true;
  for_each_affine(loops, [&](const Affine& affine) {
    all = all && same(stride_of(affine, outer), stride_of(affine, outer + 1) * extent);
  });
  return all;
}

void merge(Loops& loops, int outer) {
  const auto at = static_cast<size_t>(outer);
  loops.axes[at].extent = loops.axes[at].extent * loops.axes[at + 1].extent;
  loops.axes.erase(loops.axes.begin() + outer + 1);
  for_each_affine(loops, [&](Affine& affine) {
    std::erase_if(affine.terms, [&](const auto& term) { return term.first == outer; });
    for (auto& [axis, stride] : affine.terms) axis -= axis > outer ? 1 : 0;
  });
  const uint64_t low = (uint64_t{2} << outer) - 1;  // axes up to `outer`
  for (LoopValue& value : loops.body)
    value.axes = (value.axes & low) | ((value.axes >> 1) & ~(low >> 1));
}

}  // namespace

void permute_axes(Loops& loops, const std::vector<int>& to) {
  std::vector<Axis> axes(to.size());
  for (size_t i = 0; i < to.size(); ++i) axes[static_cast<size_t>(to[i])] = loops.axes[i];
  loops.axes = std::move(axes);
  for_each_affine(loops, [&](Affine& affine) {
    for (auto& [axis, stride] : affine.terms) axis = to[static_cast<size_t>(axis)];
    std::sort(affine.terms.begin(), affine.terms.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  });
  for (LoopValue& value : loops.body) {
    uint64_t mask = 0;
    for (size_t i = 0; i < to.size(); ++i) mask |= (value.axes >> i & 1) << to[i];
    value.axes = mask;
  }
}

bool moves_alike(const Loops& loops, int slow, int fast, int64_t ratio) {
  bool all = true;
  for_each_affine(loops, [&](const Affine& affine) {
    all = all && same(stride_of(affine, slow), stride_of(affine, fast) * ratio);
  });
  return all;
}

std::vector<int> merge_axes(Loops& loops, std::vector<int> kinds) {
  for (size_t i = 0; i + 1 < kinds.size();) {
    if (kinds[i] == kinds[i + 1] && mergeable(loops, static_cast<int>(i))) {
      merge(loops, static_cast<int>(i));
      kinds.erase(kinds.begin() + static_cast<std::ptrdiff_t>(i));
      i -= i > 0 ? 1 : 0;
    } else {
      ++i;
    }
  }
  return kinds;
}

}  // namespace onrush
