// Graphs of one scatter, sort, scan, loop or random draw each, over shapes and values that hurt.
#pragma once

#include <cmath>
#include <fmt/format.h>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "ir/builder.h"
#include "reference/element.h"
#include "reference/evaluate.h"

namespace onrush::cuda {

// A graph of one size, run at several; outputs are compared with the evaluator's.
struct PrimitiveCase {
  std::string name;
  Graph graph;
  std::vector<int64_t> sizes;
  std::function<std::vector<Tensor>(int64_t)> inputs;
};

enum class Elements : uint8_t {
  few,     // few different numbers: many are equal
  any,     // any bits: NaN, infinities, subnormals, extremes
  around,  // positive numbers around 1, whose product stays finite
};

inline Tensor elements(DType dtype, Shape shape, Elements kind, unsigned seed) {
  std::mt19937 random(seed);
  Tensor tensor = reference::allocate(dtype, std::move(shape));
  if (kind == Elements::any && dtype != DType::boolean) {
    for (size_t i = 0; i < tensor.bytes(); ++i)
      static_cast<uint8_t*>(tensor.data())[i] = static_cast<uint8_t>(random());
    return tensor;
  }
  std::vector<double> values(static_cast<size_t>(tensor.count()));
  const bool negative = is_float(dtype) || is_signed_integer(dtype);
  for (double& value : values) {
    value = static_cast<double>(random() % 8) - (negative ? 4 : 0);
    if (kind == Elements::around) value = is_float(dtype) ? 0.875 + 0.03125 * (random() % 9) : 1;
    else if (is_float(dtype)) value = value == 3 ? -0.0 : value / 4;
  }
  reference::store<double>(values, tensor, 0);
  return tensor;
}

// Indices below `extent`, the same ones often.
inline Tensor indices(Shape shape, int64_t extent, unsigned seed, DType dtype = DType::i64) {
  std::mt19937 random(seed);
  Tensor tensor(dtype, std::move(shape));
  std::vector<int64_t> values(static_cast<size_t>(tensor.count()));
  for (int64_t& value : values) value = static_cast<int64_t>(random()) % extent;
  reference::store<int64_t>(values, tensor, 0);
  return tensor;
}

inline std::vector<DType> dtypes_with_kernels() {
  return {DType::f32,     DType::f64,        DType::f16,        DType::bf16,   DType::f8e4m3fn,
          DType::f8e5m2,  DType::f8e4m3fnuz, DType::f8e5m2fnuz, DType::f8e8m0, DType::f4e2m1,
          DType::boolean, DType::i8,         DType::i16,        DType::i32,    DType::i64,
          DType::u8,      DType::u16,        DType::u32,        DType::u64,    DType::i4,
          DType::u4,      DType::i2,         DType::u2};
}

class PrimitiveCases {
 public:
  // `thorough`: every dtype, and rows of many blocks.
  static std::vector<PrimitiveCase> all(bool thorough) {
    PrimitiveCases cases(thorough);
    cases.add_scatters();
    cases.add_sorts();
    cases.add_scans();
    for (const int64_t width : {3, 8}) cases.add_loop(width, false), cases.add_loop(width, true);
    cases.add_others();
    return std::move(cases.cases_);
  }

 private:
  explicit PrimitiveCases(bool thorough) : thorough_(thorough) {}

  std::vector<DType> dtypes() const {
    if (thorough_) return dtypes_with_kernels();
    return {DType::f32, DType::f64, DType::f16, DType::f8e5m2, DType::f4e2m1, DType::boolean,
            DType::i8,  DType::i64, DType::u32, DType::u64,    DType::i4};
  }
  static Builder new_graph() { return Builder(); }
  static Dim size(Builder& b) {
    return b.shapes().symbol("n", {SymbolSource::Kind::extent, 0, 0}, 5);
  }
  void add(std::string name, Builder& b, std::vector<int64_t> sizes,
           std::function<std::vector<Tensor>(int64_t)> inputs) {
    cases_.push_back({std::move(name), b.finish(), std::move(sizes), std::move(inputs)});
  }

  // data [7, n], updates [n + 2, n], an index for each.
  void add_elements(DType dtype, ScatterKind kind) {
    Builder b = new_graph();
    const Dim n = size(b);
    const NodeId data = b.input("data", {dtype, {7, n}});
    const NodeId updates = b.input("updates", {dtype, {n + 2, n}});
    const NodeId index = b.input("index", {DType::i64, {n + 2, n}});
    b.output("y", b.scatter(data, updates, {&index, 1}, {~0, 1}, kind));
    const Elements values = values_for(kind);
    add(fmt::format("scatter_elements_{}_{}", name(kind), name(dtype)), b, {0, 1, 13, 67},
        [=](int64_t size) -> std::vector<Tensor> {
          return {elements(dtype, {7, size}, values, 1),
                  elements(dtype, {size + 2, size}, values, 2), indices({size + 2, size}, 7, 3)};
        });
  }
  // data [5, 3, n], updates [n, n], indices [n] and [n] for the first two axes: the last is free.
  void add_rows(DType dtype, ScatterKind kind) {
    Builder b = new_graph();
    const Dim n = size(b);
    const NodeId data = b.input("data", {dtype, {5, 3, n}});
    const NodeId updates = b.input("updates", {dtype, {n, n}});
    const NodeId first = b.input("first", {DType::i32, {n, 1}});
    const NodeId second = b.input("second", {DType::i64, {n, 1}});
    const NodeId both[] = {first, second};
    b.output("y", b.scatter(data, updates, both, {~0, ~1, 1}, kind));
    const Elements values = values_for(kind);
    add(fmt::format("scatter_rows_{}_{}", name(kind), name(dtype)), b, {0, 1, 6, 61},
        [=](int64_t size) -> std::vector<Tensor> {
          return {elements(dtype, {5, 3, size}, values, 4),
                  elements(dtype, {size, size}, values, 5), indices({size, 1}, 5, 6, DType::i32),
                  indices({size, 1}, 3, 7)};
        });
  }
  // More updates than a block sorts, all of few elements and some of many.
  void add_many(DType dtype, ScatterKind kind, int64_t extent) {
    Builder b = new_graph();
    const Dim n = size(b);
    const NodeId data = b.input("data", {dtype, {extent}});
    const NodeId updates = b.input("updates", {dtype, {n}});
    const NodeId index = b.input("index", {DType::i64, {n}});
    b.output("y", b.scatter(data, updates, {&index, 1}, {~0}, kind));
    add(fmt::format("scatter_{}_to_{}_{}", name(kind), extent, name(dtype)), b, {2048, 2049, 10007},
        [=](int64_t size) -> std::vector<Tensor> {
          return {elements(dtype, {extent}, Elements::around, 8),
                  elements(dtype, {size}, Elements::around, 9), indices({size}, extent, 10)};
        });
  }
  static Elements values_for(ScatterKind kind) {
    switch (kind) {
      case ScatterKind::add: return Elements::few;
      case ScatterKind::mul: return Elements::around;
      default: return Elements::any;
    }
  }
  void add_scatters() {
    for (const DType dtype : dtypes())
      for (const ScatterKind kind : {ScatterKind::set, ScatterKind::add, ScatterKind::mul,
                                     ScatterKind::max, ScatterKind::min}) {
        add_elements(dtype, kind);
        if (dtype == DType::f32 || dtype == DType::u8 || dtype == DType::i4) add_rows(dtype, kind);
      }
    for (const ScatterKind kind : {ScatterKind::set, ScatterKind::add, ScatterKind::max})
      for (const int64_t extent : {1, 5000})
        for (const DType dtype : {DType::f32, DType::i8, DType::i64}) add_many(dtype, kind, extent);
  }

  // The first `limit` of rows [outer, n, inner]; at most n of them.
  void add_sort(DType dtype, bool descending, int64_t outer, int64_t inner, Dim limit,
                Elements kind, std::vector<int64_t> sizes, Builder b, Dim n) {
    const NodeId x = b.input("x", {dtype, {outer, n, inner}});
    const NodeId sorted = b.sort(x, {1, descending, limit});
    b.output("values", b.get(sorted, 0));
    b.output("indices", b.get(sorted, 1));
    add(fmt::format("sort_{}{}_{}x{}_{}_{}", descending ? "down_" : "", name(dtype), outer, inner,
                    to_string(limit), static_cast<int>(kind)),
        b, std::move(sizes), [=](int64_t size) -> std::vector<Tensor> {
          return {elements(dtype, {outer, size, inner}, kind, 11)};
        });
  }
  void add_sorts() {
    const auto all = [&](DType dtype, bool descending, int64_t outer, int64_t inner, Elements kind,
                         std::vector<int64_t> sizes) {
      Builder b = new_graph();
      const Dim n = size(b);
      add_sort(dtype, descending, outer, inner, n, kind, std::move(sizes), std::move(b), n);
    };
    const auto some = [&](int64_t limit, int64_t outer, std::vector<int64_t> sizes) {
      Builder b = new_graph();
      const Dim n = size(b);
      add_sort(DType::f32, true, outer, 1, limit, Elements::any, std::move(sizes), std::move(b), n);
    };
    for (const DType dtype : dtypes())
      for (const bool descending : {false, true}) {
        all(dtype, descending, 3, 2, Elements::few, {1, 2, 17, 100});
        all(dtype, descending, 5, 1, Elements::any, {0, 1, 3, 64, 1000});
      }
    all(DType::f32, false, 2, 3, Elements::any, {2047, 2048, 2049, 6145});
    all(DType::i64, true, 3, 1, Elements::few, {2049, 10007});
    some(1, 70, {1, 33, 2049, 9000});
    some(5, 3, {5, 4097, 10007});
    some(3000, 1, {3000, 5000, thorough_ ? 300007 : 20011});
  }

  void add_scan(DType dtype, ReduceKind kind, bool exclusive, bool reverse, int64_t outer,
                int64_t inner, std::vector<int64_t> sizes) {
    Builder b = new_graph();
    const NodeId x = b.input("x", {dtype, {outer, size(b), inner}});
    b.output("y", b.scan(x, {kind, 1, exclusive, reverse}));
    const Elements values = kind == ReduceKind::sum ? Elements::few : Elements::around;
    add(fmt::format("scan_{}_{}{}{}_{}x{}", name(kind), exclusive ? "exclusive_" : "",
                    reverse ? "reverse_" : "", name(dtype), outer, inner),
        b, std::move(sizes), [=](int64_t size) -> std::vector<Tensor> {
          return {elements(dtype, {outer, size, inner}, values, 12)};
        });
  }
  void add_scans() {
    for (const DType dtype : dtypes())
      for (const ReduceKind kind : {ReduceKind::sum, ReduceKind::product})
        add_scan(dtype, kind, kind == ReduceKind::product, false, 2, 3, {0, 1, 7, 300});
    for (const bool exclusive : {false, true})
      for (const bool reverse : {false, true})
        for (const int64_t inner : {1, 5, 37})
          for (const DType dtype : {DType::f32, DType::i32})
            add_scan(dtype, ReduceKind::sum, exclusive, reverse, 3, inner,
                     {1, 31, 128, 129, 2048, 2049, 5003});
    add_scan(DType::f32, ReduceKind::sum, false, false, 1, 1, {thorough_ ? 5000011 : 100003});
  }

  // n trips over elements of `width` numbers, with each kind of operand and result: also carried
  // values that only pass on, and one value given twice.
  void add_loop(int64_t width, bool reverse) {
    Builder b = new_graph();
    const Dim n = size(b);
    const TensorType row{DType::f32, {width}};
    Builder body = b.for_body();
    const NodeId c = body.input("c", row), before = body.input("before", row),
                 x = body.input("x", row), k = body.input("k", row),
                 weight = body.input("weight", row), trip = body.input("trip", {DType::i64, {}});
    const NodeId next = body.add(body.mul(c, k), body.add(x, body.cast(trip, DType::f32)));
    for (const NodeId output : {next, c, next, before, body.mul(next, weight)})
      body.output("y", output);
    const LoopAttr attr{std::make_shared<const Graph>(body.finish()), n, 2, 1, reverse};
    const NodeId operands[] = {b.input("c", row), b.input("before", row),
                               b.input("x", {DType::f32, {n, width}}), b.input("k", row),
                               b.constant(elements(DType::f32, {width}, Elements::few, 14))};
    const NodeId loop = b.loop(attr, operands);
    for (const int part : {0, 1, 2, 3, 4}) b.output("y", b.get(loop, part));
    add(fmt::format("loop_{}{}", reverse ? "reverse_" : "", width), b, {0, 1, 2, 7},
        [=](int64_t size) -> std::vector<Tensor> {
          const auto values = [&](Shape shape, unsigned seed) {
            return elements(DType::f32, std::move(shape), Elements::few, seed);
          };
          return {values({width}, 15), values({width}, 16), values({size, width}, 17),
                  values({width}, 18)};
        });
  }

  void add_others() {
    Builder b = new_graph();
    const Dim n = size(b);
    const NodeId x = b.input("x", {DType::u32, {n}});
    const NodeId bits = b.random_bits({n, 3}, {0xfedcba9876543210u, 77, true});
    b.output("bits", bits);
    b.output("small", b.random_bits({n}, {1, 0, true}));
    b.output("floats", b.bitcast(x, DType::f32));
    add("random_and_bitcast", b, {0, 1, 1000}, [](int64_t size) -> std::vector<Tensor> {
      return {elements(DType::u32, {size}, Elements::any, 13)};
    });
  }

  bool thorough_;
  std::vector<PrimitiveCase> cases_;
};

// Equal elements; numbers that are rounded may differ in the last place.
inline void expect_same(const Tensor& got, const Tensor& expected) {
  ASSERT_EQ(got.dtype(), expected.dtype());
  ASSERT_EQ(got.shape(), expected.shape());
  size_t wrong = 0;
  const auto report = [&](size_t i, auto a, auto b) {
    if (++wrong <= 3) ADD_FAILURE() << "element " << i << ": " << a << ", expected " << b;
  };
  if (is_float(got.dtype())) {
    const auto a = reference::load_all<double>(got), b = reference::load_all<double>(expected);
    const double tolerance = got.dtype() == DType::f64   ? 1e-13
                             : got.dtype() == DType::f32 ? 1e-6
                                                         : 0;
    for (size_t i = 0; i < a.size(); ++i)
      if (!(a[i] == b[i] || (a[i] != a[i] && b[i] != b[i]) ||
            std::abs(a[i] - b[i]) <= tolerance * std::abs(b[i])))
        report(i, a[i], b[i]);
    return;
  }
  const auto a = reference::load_all<uint64_t>(got), b = reference::load_all<uint64_t>(expected);
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) report(i, a[i], b[i]);
}

}  // namespace onrush::cuda
