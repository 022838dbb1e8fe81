// Fewer axes for the same kernel.
#pragma once

#include <vector>

#include "codegen/loops.h"

namespace onrush {

// Joins neighbouring axes of one kind that every address and index walks as one. `kinds` has one
// entry an axis (batch, m, n, k of a contraction, say); result: the kinds of the axes that are
// left.
std::vector<int> merge_axes(Loops& loops, std::vector<int> kinds);

// Renumbers the axes: axis i becomes `to[i]`.
void permute_axes(Loops& loops, const std::vector<int>& to);

// Whether a step along `slow` moves every address and index by `ratio` steps along `fast`.
bool moves_alike(const Loops& loops, int slow, int fast, int64_t ratio);

}  // namespace onrush
