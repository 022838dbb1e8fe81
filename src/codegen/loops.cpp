#include "codegen/loops.h"

#include <algorithm>

#include "base/check.h"

namespace onrush {

Affine operator+(const Affine& a, const Affine& b) {
  Affine sum{a.offset + b.offset, a.terms};
  for (const auto& [axis, stride] : b.terms) {
    const auto at = std::lower_bound(sum.terms.begin(), sum.terms.end(), axis,
                                     [](const auto& term, int key) { return term.first < key; });
    if (at == sum.terms.end() || at->first != axis) {
      sum.terms.insert(at, {axis, stride});
      continue;
    }
    at->second = at->second + stride;
    if (same(at->second, 0)) sum.terms.erase(at);
  }
  return sum;
}

Affine operator*(const Affine& a, Dim scale) {
  if (same(scale, 0)) return {};
  Affine result{a.offset * scale, {}};
  for (const auto& [axis, stride] : a.terms) result.terms.emplace_back(axis, stride * scale);
  return result;
}

Dim stride_of(const Affine& affine, int axis) {
  for (const auto& [a, stride] : affine.terms)
    if (a == axis) return stride;
  return 0;
}

namespace {

std::string text(const Affine& a) {
  std::string result;
  for (const auto& [axis, stride] : a.terms) {
    if (!result.empty()) result += " + ";
    result +=
        same(stride, 1) ? fmt::format("a{}", axis) : fmt::format("{}*a{}", to_string(stride), axis);
  }
  if (result.empty()) return to_string(a.offset);
  return same(a.offset, 0) ? result : result + " + " + to_string(a.offset);
}

std::string text(const std::vector<Bound>& bounds) {
  std::string result;
  for (const Bound& bound : bounds)
    result += fmt::format("{}0 <= {} < {}", result.empty() ? "" : ", ", text(bound.index),
                          to_string(bound.extent));
  return result;
}

struct Printer {
  DType dtype;
  std::string operator()(const ConstantValue& v) const {
    return is_float(dtype) ? fmt::format("{}", v.f) : fmt::format("{}", v.i);
  }
  std::string operator()(const SizeValue& v) const { return "size " + to_string(v.dim); }
  std::string operator()(const IndexValue& v) const { return "index " + text(v.index); }
  std::string operator()(const LoadValue& v) const {
    std::string result = fmt::format("load b{}[{}", v.buffer, text(v.address));
    for (const DynamicTerm& term : v.dynamic)
      result += fmt::format(" + {}*v{}", to_string(term.stride), term.value);
    result += "]";
    if (!v.bounds.empty()) result += fmt::format(" if {} else {}", text(v.bounds), (*this)(v.fill));
    return result;
  }
  std::string operator()(const OpValue& v) const {
    std::string result(name(v.op));
    for (ValueId operand : v.operands) result += fmt::format(" v{}", operand);
    return result;
  }
  std::string operator()(const ConvertValue& v) const {
    return fmt::format("convert v{}", v.operand);
  }
  std::string operator()(const BoundsValue& v) const { return text(v.bounds); }
  std::string operator()(const ReduceValue& v) const {
    return fmt::format("reduce {} v{}", name(v.kind), v.operand);
  }
  std::string operator()(const AccumulatorValue&) const { return "accumulator"; }
};

}  // namespace

std::string to_string(const Loops& loops) {
  std::string result = "for";
  for (size_t i = 0; i < loops.axes.size(); ++i)
    result += fmt::format(" {}a{}<{}", loops.axes[i].reduce ? "reduce " : "", i,
                          to_string(loops.axes[i].extent));
  result += "\n";
  for (size_t i = 0; i < loops.body.size(); ++i)
    result += fmt::format("  v{} = {} : {}\n", i,
                          std::visit(Printer{loops.body[i].dtype}, loops.body[i].data),
                          name(loops.body[i].dtype));
  for (const Store& store : loops.stores) {
    if (store.buffer < 0) result += fmt::format("  give v{}\n", store.value);
    else
      result +=
          fmt::format("  store b{}[{}] = v{} : {}\n", store.buffer, text(store.address),
                      store.value, name(loops.buffers[static_cast<size_t>(store.buffer)].dtype));
  }
  return result;
}

std::string to_string(const Contraction& c) {
  return fmt::format("contraction batch={} m={} n={} k={} {} x {} -> {}\nlhs {}rhs {}epilogue {}",
                     c.batch_axes, c.m_axes, c.n_axes, c.k_axes, name(c.operand),
                     name(c.rhs_operand), name(c.accumulator), to_string(c.lhs), to_string(c.rhs),
                     to_string(c.epilogue));
}

namespace {

class KeyWriter {
 public:
  explicit KeyWriter(std::string& key) : key_(key) {}

  template <class Number>
  void number(Number x) {
    key_.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  template <class List>
  void list(const List& items) {
    number(items.size());
    for (const auto& item : items) (*this)(item);
  }

  void operator()(Dim dim) { append_key(key_, dim); }
  void operator()(int x) { number(x); }
  void operator()(const std::pair<int, Dim>& term) { number(term.first), (*this)(term.second); }
  void operator()(const Affine& a) { (*this)(a.offset), list(a.terms); }
  void operator()(const Bound& b) { (*this)(b.index), (*this)(b.extent); }
  void operator()(const DynamicTerm& t) { number(t.value), (*this)(t.stride), (*this)(t.extent); }
  void operator()(const Axis& axis) { (*this)(axis.extent), number(axis.reduce); }
  void operator()(const LoopBuffer& buffer) { number(buffer.dtype); }
  void operator()(const Store& s) { number(s.buffer), (*this)(s.address), number(s.value); }
  void operator()(const LoopValue& value) {
    number(value.data.index()), number(value.dtype), number(value.axes);
    std::visit(*this, value.data);
  }

  void operator()(const ConstantValue& v) { number(v.f), number(v.i); }
  void operator()(const SizeValue& v) { (*this)(v.dim); }
  void operator()(const IndexValue& v) { (*this)(v.index); }
  void operator()(const LoadValue& v) {
    number(v.buffer), (*this)(v.address), list(v.dynamic), list(v.bounds), (*this)(v.fill);
  }
  void operator()(const OpValue& v) { number(v.op), list(v.operands); }
  void operator()(const ConvertValue& v) { number(v.operand), number(v.saturate); }
  void operator()(const BoundsValue& v) { list(v.bounds); }
  void operator()(const ReduceValue& v) {
    number(v.kind), number(v.operand), number(v.last), (*this)(v.position);
  }
  void operator()(const AccumulatorValue&) {}

  void operator()(const Loops& loops) {
    list(loops.axes), list(loops.buffers), list(loops.body), list(loops.stores);
  }
  void operator()(const Contraction& c) {
    for (int axes : {c.batch_axes, c.m_axes, c.n_axes, c.k_axes}) number(axes);
    for (DType dtype : {c.operand, c.rhs_operand, c.accumulator}) number(dtype);
    (*this)(c.lhs), (*this)(c.rhs), (*this)(c.epilogue);
  }

 private:
  std::string& key_;
};

}  // namespace

void append_key(std::string& key, const Loops& loops) { KeyWriter{key}(loops); }
void append_key(std::string& key, const Contraction& c) { KeyWriter{key}(c); }

}  // namespace onrush
