#include "codegen/coordinates.h"

#include "base/check.h"

namespace onrush {

Coordinate operator+(const Coordinate& a, const Coordinate& b) {
  Coordinate sum{a.affine + b.affine, a.dynamic};
  sum.dynamic.insert(sum.dynamic.end(), b.dynamic.begin(), b.dynamic.end());
  return sum;
}

Coordinate operator*(const Coordinate& a, Dim scale) {
  Coordinate result{a.affine * scale, {}};
  for (const auto& [value, stride] : a.dynamic) result.dynamic.emplace_back(value, stride * scale);
  return result;
}

Coordinate constant_coordinate(Dim value) { return {{value, {}}, {}}; }

bool same(const Affine& a, const Affine& b) {
  if (!same(a.offset, b.offset) || a.terms.size() != b.terms.size()) return false;
  for (size_t i = 0; i < a.terms.size(); ++i)
    if (a.terms[i].first != b.terms[i].first || !same(a.terms[i].second, b.terms[i].second))
      return false;
  return true;
}

bool same(const Coordinates& a, const Coordinates& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!a[i].is_affine() || !b[i].is_affine() || !same(a[i].affine, b[i].affine)) return false;
  return true;
}

void append_key(std::string& key, const Coordinates& coordinates) {
  for (const Coordinate& c : coordinates) {
    append_key(key, c.affine.offset);
    for (const auto& [axis, stride] : c.affine.terms) {
      key += fmt::format("+a{}*", axis);
      append_key(key, stride);
    }
    for (const auto& [value, stride] : c.dynamic) {
      key += fmt::format("+v{}*", value);
      append_key(key, stride);
    }
    key += ';';
  }
}

std::optional<Division> divide(const Affine& a, Dim divisor, const std::vector<Axis>& axes) {
  Division result;
  Dim largest = 0;  // of the remainder
  const auto add = [&](Affine& sum, int axis, Dim stride) {
    sum = sum + Affine{0, {{axis, stride}}};
  };
  for (const auto& [axis, stride] : a.terms) {
    if (const auto quotient = exact_quotient(stride, divisor)) {
      add(result.quotient, axis, *quotient);
      continue;
    }
    if (prove(less_equal(0, stride)) != true) return std::nullopt;
    add(result.remainder, axis, stride);
    largest = largest + (axes[static_cast<size_t>(axis)].extent - 1) * stride;
  }
  if (const auto quotient = exact_quotient(a.offset, divisor)) {
    result.quotient.offset = *quotient;
  } else {
    if (prove(less_equal(0, a.offset)) != true) return std::nullopt;
    result.remainder.offset = a.offset;
    largest = largest + a.offset;
  }
  if (prove(less(largest, divisor)) != true) return std::nullopt;
  return result;
}

std::vector<ReshapeSegment> reshape_segments(const Dims& from, const Dims& to) {
  std::vector<ReshapeSegment> segments;
  size_t i = 0, j = 0;
  while (i < from.size() || j < to.size()) {
    ReshapeSegment segment{i, i, j, j};
    // A run starts with one dim on each side and grows until the products agree.
    Dim left = i < from.size() ? from[i] : Dim(1);
    Dim right = j < to.size() ? to[j] : Dim(1);
    if (i < from.size()) ++i;
    if (j < to.size()) ++j;
    if (!always_equal(left, right) && is_one(left) && segment.from_begin < from.size()) {
      segment.from_end = i, j = segment.to_begin, segment.to_end = j;  // a dim of extent 1 alone
      segments.push_back(segment);
      continue;
    }
    if (!always_equal(left, right) && is_one(right) && segment.to_begin < to.size()) {
      segment.to_end = j, i = segment.from_begin, segment.from_end = i;
      segments.push_back(segment);
      continue;
    }
    while (!always_equal(left, right)) {
      // Take from the side whose product divides the other's; by value where neither is proven.
      const bool left_smaller = exact_quotient(right, left)   ? true
                                : exact_quotient(left, right) ? false
                                                              : left.value() < right.value();
      if ((left_smaller || j == to.size()) && i < from.size()) left = left * from[i++];
      else if (j < to.size()) right = right * to[j++];
      else break;  // the rest belongs together
    }
    segment.from_end = i, segment.to_end = j;
    segments.push_back(segment);
  }
  return segments;
}

bool splits_evenly(const Dims& from, const Dims& to) {
  for (const ReshapeSegment& s : reshape_segments(from, to)) {
    const bool one_from = s.from_end - s.from_begin <= 1;
    const bool one_to = s.to_end - s.to_begin <= 1;
    if (!one_from && !one_to) return false;
    Dim inner = 1;
    for (size_t k = s.to_end; one_from && k-- > s.to_begin + 1;) {
      inner = inner * to[k];
      if (!exact_quotient(from[s.from_begin], inner)) return false;
    }
  }
  return true;
}

Dims row_major_strides(const Dims& shape) {
  Dims strides(shape.size());
  Dim stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = stride;
    stride = stride * shape[i];
  }
  return strides;
}

}  // namespace onrush
