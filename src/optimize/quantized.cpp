#include "optimize/quantized.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/integer_products.h"
#include "optimize/rewriter.h"
#include "optimize/simplify_rules.h"

namespace onrush {
namespace {

using Result = std::optional<NodeId>;

constexpr int64_t kMostProducts = 32768;  // whose sum is an i32: 255 * 255 each

bool is_byte(DType dtype) { return dtype == DType::u8 || dtype == DType::i8; }

// (x - zero) * scale, in f32. scale and zero have x's rank, and extent 1 where they repeat; zero is
// of x's dtype.
struct Dequantised {
  NodeId x, scale;
  std::optional<NodeId> zero;
};

bool is_one_number(const Builder& b, NodeId x) {
  return std::ranges::all_of(b.shape(x), [](Dim d) { return is_one(d); });
}

// With `axes` leading axes of extent 1 where the rank is smaller.
NodeId with_rank(Builder& b, NodeId x, int rank) {
  Dims shape(static_cast<size_t>(rank - b.rank(x)), Dim(1));
  const Dims given = b.shape(x);
  shape.insert(shape.end(), given.begin(), given.end());
  return b.reshape(x, std::move(shape));
}

// Whether all elements along an axis of a constant are equal.
bool repeats_along(const Tensor& tensor, int axis) {
  const Shape& shape = tensor.shape();
  int64_t inner = bits(tensor.dtype()) / 8, outer = 1;
  for (size_t i = 0; i < shape.size(); ++i)
    (static_cast<int>(i) < axis ? outer : inner) *= static_cast<int>(i) == axis ? 1 : shape[i];
  const int64_t extent = shape[static_cast<size_t>(axis)];
  const auto* bytes = static_cast<const char*>(tensor.data());
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 1; i < extent; ++i)
      if (std::memcmp(bytes + o * extent * inner, bytes + (o * extent + i) * inner,
                      static_cast<size_t>(inner)) != 0)
        return false;
  return tensor.count() > 0;
}

// Before a broadcast, also one of a small constant that was computed beforehand.
NodeId unrepeated(Builder& b, NodeId id) {
  id = before_broadcast(b, id);
  const Tensor* tensor = b.constant_tensor(id);
  if (!tensor || tensor->bytes() > kMaxInspectedBytes || bits(tensor->dtype()) < 8) return id;
  for (int axis = 0; axis < b.rank(id); ++axis)
    if (tensor->shape()[static_cast<size_t>(axis)] > 1 && repeats_along(*tensor, axis)) {
      id = b.slice_axis(id, axis, 0, 1);
      if (!(tensor = b.constant_tensor(id))) break;
    }
  return id;
}

// What is subtracted, as an integer of x's dtype: it was widened, perhaps by a constant folder.
Result zero_point(Rewriter& r, NodeId widened, DType dtype) {
  Builder& b = r.b;
  const NodeId zero = unrepeated(b, widened);
  const auto narrow = [&](auto&& self, NodeId id) -> Result {
    if (r.is(id, Op::cast) && b.dtype(r.operand(id, 0)) == dtype) return r.operand(id, 0);
    if (!r.is(id, Op::reshape)) return std::nullopt;
    const auto inner = self(self, r.operand(id, 0));
    if (!inner) return std::nullopt;
    const Dims shape = b.shape(id);
    return b.reshape(*inner, shape);
  };
  if (const auto found = narrow(narrow, zero)) return found;
  // A constant that was widened from that dtype narrows without loss.
  if (!b.constant_tensor(zero)) return std::nullopt;
  return b.cast(zero, dtype);
}

std::optional<Dequantised> dequantised(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (r.is(id, Op::transpose)) {
    const auto inner = dequantised(r, r.operand(id, 0));
    if (!inner) return std::nullopt;
    const Axes permutation = b.node(id).as<TransposeAttr>().permutation;
    const auto moved = [&](NodeId x) { return b.transpose(x, permutation); };
    return Dequantised{moved(inner->x), moved(inner->scale),
                       inner->zero ? Result(moved(*inner->zero)) : std::nullopt};
  }
  if (r.is(id, Op::reshape)) {
    const auto inner = dequantised(r, r.operand(id, 0));
    if (!inner || !is_one_number(b, inner->scale) ||
        (inner->zero && !is_one_number(b, *inner->zero)))
      return std::nullopt;
    const Dims shape = b.shape(id), ones(shape.size(), Dim(1));
    return Dequantised{b.reshape(inner->x, shape), b.reshape(inner->scale, ones),
                       inner->zero ? Result(b.reshape(*inner->zero, ones)) : std::nullopt};
  }
  if (!r.is(id, Op::mul) || b.dtype(id) != DType::f32) return std::nullopt;
  const int rank = b.rank(id);
  NodeId x = r.operand(id, 0);
  const NodeId scale = unrepeated(b, r.operand(id, 1));
  Result zero;
  if (r.is(x, Op::sub)) {
    const NodeId widened = r.operand(x, 1);
    x = r.operand(x, 0);
    if (!r.is(x, Op::cast) || !is_byte(b.dtype(r.operand(x, 0)))) return std::nullopt;
    zero = zero_point(r, widened, b.dtype(r.operand(x, 0)));
    if (!zero) return std::nullopt;
    zero = with_rank(b, *zero, rank);
  }
  if (!r.is(x, Op::cast) || !is_byte(b.dtype(r.operand(x, 0)))) return std::nullopt;
  return Dequantised{r.operand(x, 0), with_rank(b, scale, rank), zero};
}

// --- products

bool has_ones(const Builder& b, NodeId x, const Axes& axes) {
  return std::ranges::all_of(
      axes, [&](int axis) { return is_one(b.shape(x)[static_cast<size_t>(axis)]); });
}
bool is_even_along(const Builder& b, const Dequantised& d, const Axes& axes) {
  return has_ones(b, d.scale, axes) && (!d.zero || has_ones(b, *d.zero, axes));
}

bool sums_fit(const Dims& shape, const Axes& axes) {
  Dim count = 1;
  for (int axis : axes) count = count * shape[static_cast<size_t>(axis)];
  return decide(less(count, kMostProducts + 1), "sums of 8-bit products in 32 bits");
}

Result dot_of_integers(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::dot) || b.dtype(id) != DType::f32) return std::nullopt;
  const auto lhs = dequantised(r, r.operand(id, 0)), rhs = dequantised(r, r.operand(id, 1));
  if (!lhs || !rhs) return std::nullopt;
  DotAttr attr = b.node(id).as<DotAttr>();
  if (!is_even_along(b, *lhs, attr.lhs_contract) || !is_even_along(b, *rhs, attr.rhs_contract) ||
      !sums_fit(b.shape(lhs->x), attr.lhs_contract))
    return std::nullopt;
  attr.dtype = DType::i32;
  const int lhs_free =
      b.rank(lhs->x) - static_cast<int>(attr.lhs_batch.size() + attr.lhs_contract.size());
  const int rhs_free =
      b.rank(rhs->x) - static_cast<int>(attr.rhs_batch.size() + attr.rhs_contract.size());
  const NodeId sums = integer_dot(b, {lhs->x, lhs->zero}, {rhs->x, rhs->zero}, attr);
  const NodeId scale = b.mul(beside_dot(b, lhs->scale, attr, true, rhs_free),
                             beside_dot(b, rhs->scale, attr, false, lhs_free));
  return b.mul(b.cast(sums, DType::f32), scale);
}

Result conv_of_integers(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::conv) || b.dtype(id) != DType::f32) return std::nullopt;
  ConvAttr attr = b.node(id).as<ConvAttr>();
  if (std::ranges::any_of(attr.input_dilation, [](int64_t d) { return d != 1; }))
    return std::nullopt;
  const auto x = dequantised(r, r.operand(id, 0)), w = dequantised(r, r.operand(id, 1));
  if (!x || !w || !is_one_number(b, x->scale) || (x->zero && !is_one_number(b, *x->zero)))
    return std::nullopt;
  Axes within;
  for (int axis = 1; axis < b.rank(w->x); ++axis) within.push_back(axis);
  if (!is_even_along(b, *w, within) || !sums_fit(b.shape(w->x), within)) return std::nullopt;
  attr.dtype = DType::i32;
  const NodeId sums = integer_conv(b, {x->x, x->zero}, {w->x, w->zero}, std::move(attr));
  const Dim channels = b.shape(w->scale)[0];
  const NodeId w_scale = b.reshape(w->scale, is_one(channels) ? Dims{} : Dims{channels});
  const NodeId scale = b.mul(b.reshape(x->scale, {}), w_scale);
  return b.mul(b.cast(sums, DType::f32), scale);
}

// --- what only picks or moves integers

NodeId dequantise(Builder& b, const Dequantised& d) {
  NodeId x = b.cast(d.x, DType::f32);
  if (d.zero) x = b.sub(x, b.cast(*d.zero, DType::f32));
  return b.mul(x, d.scale);
}

Result maximum_of_integers(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::window)) return std::nullopt;
  const WindowAttr attr = b.node(id).as<WindowAttr>();
  if (attr.kind != ReduceKind::max) return std::nullopt;
  auto x = dequantised(r, r.operand(id, 0));
  if (!x || !is_one_number(b, x->scale) || (x->zero && !is_one_number(b, *x->zero)))
    return std::nullopt;
  const auto scale = r.facts.splat(x->scale);
  if (!scale || *scale <= 0) return std::nullopt;
  x->x = b.window(x->x, attr);
  return dequantise(b, *x);
}

// Rows of a table, for example.
Result gathered_integers(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::gather)) return std::nullopt;
  auto x = dequantised(r, r.operand(id, 0));
  if (!x || !is_one_number(b, x->scale) || (x->zero && !is_one_number(b, *x->zero)))
    return std::nullopt;
  const Node& gather = b.node(id);
  const std::vector<NodeId> indices(gather.inputs.begin() + 1, gather.inputs.end());
  const Dims shape = b.shape(id), ones(shape.size(), Dim(1));
  x->x = b.gather(x->x, indices, std::vector<int>(gather.as<IndexAttr>().source), shape);
  x->scale = b.reshape(x->scale, ones);
  if (x->zero) x->zero = b.reshape(*x->zero, ones);
  return dequantise(b, *x);
}

// Quantised alike: the scale is the same number, and so is the zero point.
Result quantised_again(Rewriter& r, NodeId id) {
  Builder& b = r.b;
  if (!r.is(id, Op::cast)) return std::nullopt;
  const DType dtype = b.dtype(id);
  if (!is_byte(dtype) || b.dtype(r.operand(id, 0)) != DType::f32) return std::nullopt;
  const auto number = [&](NodeId node, Op op, double& value) -> Result {
    if (!r.is(node, op)) return std::nullopt;
    const auto found = r.facts.splat(r.operand(node, 1));
    if (!found) return std::nullopt;
    value = *found;
    return r.operand(node, 0);
  };
  double low = 0, high = 0, zero = 0, scale = 0;
  const auto above = number(r.operand(id, 0), Op::min, high);
  const auto rounded = above ? number(*above, Op::max, low) : std::nullopt;
  if (!rounded) return std::nullopt;
  const NodeId units = number(*rounded, Op::add, zero).value_or(*rounded);
  const auto real =
      r.is(units, Op::round) ? number(r.operand(units, 0), Op::div, scale) : std::nullopt;
  if (!real) return std::nullopt;
  const auto x = dequantised(r, *real);
  const double least = dtype == DType::u8 ? 0 : -128;
  if (!x || b.dtype(x->x) != dtype || low != least || high != least + 255 || scale <= 0 ||
      !std::isnormal(scale) || r.facts.splat(x->scale) != scale)
    return std::nullopt;
  const auto old_zero = x->zero ? r.facts.splat(*x->zero) : std::optional(0.0);
  return old_zero == zero ? std::optional(x->x) : std::nullopt;
}

constexpr Rule kRules[] = {
    {"dot_of_integers", dot_of_integers},         {"conv_of_integers", conv_of_integers},
    {"maximum_of_integers", maximum_of_integers}, {"gathered_integers", gathered_integers},
    {"quantised_again", quantised_again},
};

}  // namespace

Graph quantized(Graph graph, const OptimizeOptions&) { return rewrite(std::move(graph), kRules); }

}  // namespace onrush
