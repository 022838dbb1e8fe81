// One description of a kernel for all backends: what is computed, not in which order.
//
// A kernel ranges over `axes`. Its body is a list of values in dependency order; each depends on
// some of the axes. A load reads a buffer at an address that is affine in the axes, plus terms that
// depend on values (gather), under bounds outside of which it gives a fill value and reads nothing.
// A reduction combines a value over all reduce axes. Stores write values that depend on the
// parallel axes (or on all: what follows a reduction may be as large as what went into it).
//
// Arithmetic is in f32, f64, i32, i64 or u64 by the dtype of each value (see compute type in
// backend/cpu/kernels); other dtypes convert at load and store.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ir/graph.h"

namespace onrush {

struct Axis {
  Dim extent;
  bool reduce = false;
};

// offset + sum of stride * axis. Terms are ascending by axis, strides are not the constant 0.
struct Affine {
  Dim offset = 0;
  std::vector<std::pair<int, Dim>> terms;
};
Affine operator+(const Affine& a, const Affine& b);
Affine operator*(const Affine& a, Dim scale);
Dim stride_of(const Affine& affine, int axis);  // 0 if it does not depend on the axis

// 0 <= index < extent
struct Bound {
  Affine index;
  Dim extent;
};

using ValueId = int;  // position in Loops::body

struct ConstantValue {
  double f;   // for floating-point dtypes
  int64_t i;  // for others
};
struct SizeValue {
  Dim dim;
};
struct IndexValue {
  Affine index;
};
// The value's part of the address: value * stride, with 0 <= value < extent checked at run time.
struct DynamicTerm {
  ValueId value;
  Dim stride;
  Dim extent;
};
struct LoadValue {
  int buffer;
  Affine address;  // in elements
  std::vector<DynamicTerm> dynamic;
  std::vector<Bound> bounds;
  ConstantValue fill{0, 0};
};
struct OpValue {
  Op op;  // elementwise, not cast
  std::vector<ValueId> operands;
};
struct ConvertValue {  // Op::cast; rounds to the dtype it converts to
  ValueId operand;
  bool saturate;
};
struct BoundsValue {  // boolean: all bounds hold
  std::vector<Bound> bounds;
};
struct ReduceValue {
  ReduceKind kind;
  ValueId operand;
  bool last;        // argmax, argmin: of equal elements the last
  Affine position;  // argmax, argmin: the index that is the result
};
// What a contraction accumulated for this element; its axes are the kernel's.
struct AccumulatorValue {};

struct LoopValue {
  std::variant<ConstantValue, SizeValue, IndexValue, LoadValue, OpValue, ConvertValue, BoundsValue,
               ReduceValue, AccumulatorValue>
      data;
  DType dtype;
  uint64_t axes;  // bit i: depends on axis i
};

struct LoopBuffer {
  DType dtype;
  NodeId node;  // whose elements it holds, row-major
};

struct Store {
  int buffer;  // -1: the operand tile of a contraction
  Affine address;
  ValueId value;
};

struct Loops {
  std::vector<Axis> axes;
  std::vector<LoopBuffer> buffers;
  std::vector<LoopValue> body;
  std::vector<Store> stores;
};

std::string to_string(const Loops& loops);

// A contraction: for each (batch, m, n) the sum over k of lhs(batch, m, k) * rhs(batch, n, k), then
// the epilogue. All three kernels number the same axes: batch, m, n, k in that order.
struct Contraction {
  int batch_axes = 0, m_axes = 0, n_axes = 0, k_axes = 0;
  DType operand = DType::f32;  // of the products' factors, as stored
  DType rhs_operand = DType::f32;
  DType accumulator = DType::f32;
  Loops lhs, rhs;  // one store each, to buffer -1
  Loops epilogue;
};
std::string to_string(const Contraction& contraction);

// A text that is equal for two kernels of one ShapeContext exactly if they differ in nothing but
// the nodes whose elements their buffers hold.
void append_key(std::string& key, const Loops& loops);
void append_key(std::string& key, const Contraction& contraction);

}  // namespace onrush
