// Writes the body of one kernel: the value of any node at any coordinates.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "codegen/coordinates.h"
#include "codegen/loops.h"
#include "fuse/schedule.h"

namespace onrush {

// The space a kernel ranges over: the dims of one tensor (or the m, n, k ... of a contraction).
// Each dim is one axis, several where a reshape asked for a split, none where its extent is 1.
class Domain {
 public:
  struct Part {
    Dim extent;
    bool reduce = false;
  };
  explicit Domain(std::vector<Part> parts);

  const std::vector<Axis>& axes() const { return axes_; }
  const Coordinates& coordinates() const { return coordinates_; }  // one a part
  // Axes of the parts [begin, end).
  int axis_count(size_t begin, size_t end) const;

  // Splits `axis` so that its inner axis has extent `inner`; false if that is not possible.
  bool split(int axis, Dim inner);

 private:
  void number();
  std::vector<Part> parts_;
  std::vector<std::vector<Dim>> extents_;  // of each part, outer first
  std::vector<Axis> axes_;
  Coordinates coordinates_;
};

struct SplitRequest {
  int axis;
  Dim inner;
};

class Emitter {
 public:
  Emitter(const Schedule& schedule, const Group& group, const Domain& domain);

  ValueId value(NodeId node, const Coordinates& at);
  // Makes `value` what the node stands for at these coordinates.
  void define(NodeId node, const Coordinates& at, ValueId value);
  // The node is reduced over the domain's reduce axes; `at` are its operand's coordinates.
  void define_reduction(NodeId node, const Coordinates& at) { reductions_[node.index] = at; }

  ValueId append(decltype(LoopValue::data) data, DType dtype);
  ValueId constant(DType dtype, double f, int64_t i);
  ValueId op(Op op, std::vector<ValueId> operands, DType dtype);
  ValueId index(const Coordinate& coordinate);  // as an i64 value
  // An element of a buffer that is looked at in a shape of as many elements.
  ValueId load(NodeId node, const Dims& shape, const Coordinates& at);

  // The node's value where the bounds hold, else `fill`. Nothing is loaded from outside.
  ValueId value_within(const std::vector<Bound>& bounds, ConstantValue fill, NodeId node,
                       const Coordinates& at);

  Coordinates reshape(const Coordinates& at, const Dims& from, const Dims& to);
  void store(NodeId node, const Coordinates& at);
  void store_to(int buffer, Affine address, ValueId value) {
    loops_.stores.push_back({buffer, std::move(address), value});
  }
  int buffer(NodeId node);

  const std::vector<SplitRequest>& splits() const { return splits_; }
  // A result's coordinates are not affine: it could not be stored, and axes must be split.
  bool incomplete() const { return incomplete_; }
  Loops finish() { return std::move(loops_); }
  const Graph& graph() const { return graph_; }

 private:
  // The value where the bounds hold; elsewhere `fill` if `filled`, else anything.
  struct Bounded {
    ValueId value;
    bool filled;
  };
  Bounded bounded(const std::vector<Bound>& bounds, ConstantValue fill, NodeId node,
                  const Coordinates& at);
  ValueId select_within(const std::vector<Bound>& bounds, ValueId inside, ValueId outside);

  // Where the elements of a buffer are that is looked at in a shape, its own if its rows lie apart.
  struct Layout {
    Dims strides;
    Dim offset;
  };
  Layout layout(NodeId node, const Dims& shape) const;
  bool is_buffer(NodeId node) const;
  ValueId compute(NodeId node, const Coordinates& at);
  ValueId movement(const Node& node, const Coordinates& at);
  ValueId pad(const Node& node, const Coordinates& at);
  ValueId concat(const Node& node, const Coordinates& at);
  ValueId gather(const Node& node, const Coordinates& at);
  ValueId reduction(NodeId id, const Coordinates& at);
  Coordinate quotient(const Coordinate& a, Dim divisor);
  Coordinate remainder(const Coordinate& a, Dim divisor);
  Coordinate divided(Op op, const Coordinate& a, Dim divisor);
  uint64_t axes_of(const Affine& affine) const;
  uint64_t axes_of(const decltype(LoopValue::data)& data) const;

  const Graph& graph_;
  const Schedule& schedule_;
  const Group& group_;
  Loops loops_;
  std::unordered_map<std::string, ValueId> values_;
  std::map<uint32_t, Coordinates> reductions_;
  std::map<uint32_t, int> buffers_;
  // Bounds that hold for what is made now; loads outside of them give `fill`.
  struct Context {
    std::vector<Bound> bounds;
    ConstantValue fill{0, 0};
    std::string key;
  };
  std::vector<Context> contexts_ = {{}};
  int context_count_ = 0;
  std::vector<SplitRequest> splits_;
  bool incomplete_ = false;
};

}  // namespace onrush
