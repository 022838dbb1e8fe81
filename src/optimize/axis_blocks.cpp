#include "optimize/axis_blocks.h"

#include <algorithm>

#include "optimize/facts.h"

namespace onrush {
namespace {

// Axes that are not of extent 1, as a queue.
class Side {
 public:
  explicit Side(const Dims& shape) : shape_(shape) {
    for (int i = 0; i < static_cast<int>(shape.size()); ++i)
      if (!is_one(shape[i])) axes_.push_back(i);
  }
  bool empty() const { return next_ == axes_.size(); }
  // Moves the next axis into `axes`.
  void take(Axes& axes, Dim& product) {
    axes.push_back(axes_[next_]);
    product = product * shape_[axes_[next_++]];
  }

 private:
  const Dims& shape_;
  Axes axes_;
  size_t next_ = 0;
};

// Whether `a` is to grow next so that it may meet `b`.
bool is_part_of(Dim a, Dim b) {
  if (exact_quotient(b, a)) return true;
  if (exact_quotient(a, b)) return false;
  return a.value() <= b.value();
}

bool has_unknown(const Dims& dims) {
  return std::ranges::any_of(dims, [](Dim dim) { return dim.is_unknown() || is_zero(dim); });
}

}  // namespace

std::optional<std::vector<AxisBlock>> axis_blocks(const Dims& from, const Dims& to) {
  if (has_unknown(from) || has_unknown(to)) return std::nullopt;
  std::vector<AxisBlock> blocks;
  Side source(from), target(to);
  while (!source.empty() || !target.empty()) {
    AxisBlock block;
    Dim read = 1, written = 1;
    if (!source.empty()) source.take(block.from, read);
    if (!target.empty()) target.take(block.to, written);
    while (!always_equal(read, written)) {
      const bool grow_source = target.empty() || (!source.empty() && is_part_of(read, written));
      if (grow_source && source.empty()) return std::nullopt;
      if (grow_source) source.take(block.from, read);
      else target.take(block.to, written);
    }
    blocks.push_back(std::move(block));
  }
  return blocks;
}

namespace {

// The split axes of one block, from the last on; false if the extents have no common division.
bool split_block(const AxisBlock& block, const Dims& from, const Dims& to, SplitAndMerge& result) {
  size_t r = block.from.size(), w = block.to.size();
  Dim read = 1, written = 1;
  std::vector<std::pair<Dim, int>> pieces;  // extent, axis of `to`; last first
  while (r > 0 || w > 0 || !is_one(read) || !is_one(written)) {
    if (is_one(read) && r > 0) read = from[block.from[--r]];
    if (is_one(written) && w > 0) written = to[block.to[--w]];
    const Dim piece = exact_quotient(read, written) ? written : read;
    const auto rest_read = exact_quotient(read, piece),
               rest_written = exact_quotient(written, piece);
    if (!rest_read || !rest_written || is_one(piece)) return false;
    pieces.emplace_back(piece, block.to[w]);
    read = *rest_read;
    written = *rest_written;
  }
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
    result.merged[piece->second].push_back(static_cast<int>(result.split.size()));
    result.split.push_back(piece->first);
  }
  return true;
}

}  // namespace

std::optional<SplitAndMerge> split_and_merge(const Dims& from, const Dims& to) {
  const auto blocks = axis_blocks(from, to);
  if (!blocks) return std::nullopt;
  SplitAndMerge result{{}, std::vector<Axes>(to.size())};
  for (const AxisBlock& block : *blocks)
    if (block.from.empty() || block.to.empty() || !split_block(block, from, to, result))
      return std::nullopt;
  return result;
}

std::optional<Dims> narrow_reshape(const Dims& from, const Dims& to, const Dims& narrow) {
  const auto blocks = axis_blocks(from, to);
  if (!blocks) return std::nullopt;
  Dims result = to;
  for (const AxisBlock& block : *blocks) {
    const auto is_narrow = [&](int axis) { return is_one(narrow[axis]); };
    if (std::ranges::none_of(block.from, is_narrow)) continue;
    if (!std::ranges::all_of(block.from, is_narrow)) return std::nullopt;
    for (int axis : block.to) result[axis] = 1;
  }
  return result;
}

}  // namespace onrush
