// Running sums and products, and the largest elements.
#include "lower/family_parts.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

template <ReduceKind kind>
Results lower_cumulative(OpContext& c) {
  const std::vector<int64_t> axis = c.ints_of(c.in(1));
  c.require(axis.size() == 1, "the axis must be a single number");
  return c.b.scan(c.in(0), {kind, c.axis(axis[0], c.rank(0)), c.attr("exclusive", 0) != 0,
                            c.attr("reverse", 0) != 0});
}

// How many to take: an input since opset 10, an attribute before.
Dim top_k_count(const OpContext& c) {
  if (c.opset() < 10) {
    c.require(c.has_attr("k"), "attribute 'k' is required");
    return c.attr("k", int64_t{0});
  }
  const Dims dims = c.dims_of(c.in(1));
  c.require(dims.size() == 1, "K must be a single number");
  return dims[0];
}

Results lower_top_k(OpContext& c) {
  const int axis = c.axis(c.attr("axis", -1), c.rank(0));
  const Dim k = top_k_count(c), extent = c.shape(0)[static_cast<size_t>(axis)];
  if (!decide(less_equal(0, k), "TopK") || !decide(less_equal(k, extent), "TopK"))
    c.fail(fmt::format("K is {}, but must lie in [0, {}], the extent of axis {}", k.value(),
                       extent.value(), axis));
  const NodeId sorted = c.b.sort(c.in(0), {axis, c.attr("largest", 1) != 0, k});
  return {c.b.get(sorted, 0), c.b.get(sorted, 1)};
}

constexpr OpRow kOps[] = {
    {"CumSum", lower_cumulative<ReduceKind::sum>},
    {"CumProd", lower_cumulative<ReduceKind::product>},
    {"TopK", lower_top_k},
};

}  // namespace

std::span<const OpRow> ordered_ops() { return kOps; }

}  // namespace onrush
