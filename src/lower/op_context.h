// What the lowering of one ONNX operator sees: its operands, its attributes, and the builder.
//
// Errors: fail() throws Error{invalid_model} that names the node; an Error thrown by the builder
// gets the node's name added by the caller. A size or value that only the run will tell makes
// dims_of and value_of throw NotYetKnown, on which the caller ends the segment before this node.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "ir/builder.h"
#include "lower/lowered.h"
#include "onnx/model.h"

namespace onrush {

// Thrown when an operator needs a value that this segment computes; never leaves lower/.
struct NotYetKnown {
  NodeId value;
};

// Gives values to the lowering: elements of small integer tensors as dims, others by content.
class ValueResolver {
 public:
  virtual ~ValueResolver() = default;
  // Elements as dims, from constants, shape arithmetic and small integer inputs.
  virtual std::optional<Dims> dims_of(NodeId node) = 0;
  // The concrete tensor, its dims fixed and its inputs' content guarded.
  virtual std::optional<Tensor> value_of(NodeId node) = 0;
  // The results of a subgraph of the model for these inputs; its nodes are lowered on the spot.
  // Throws NotYetKnown where one of them would end the segment.
  virtual std::vector<Lowered> inline_graph(const onnx::Graph& graph,
                                            std::vector<Lowered> inputs) = 0;
};

class OpContext {
 public:
  OpContext(Builder& builder, ValueResolver& values, const onnx::Node& node, int64_t opset,
            std::vector<Lowered> inputs)
      : b(builder), values_(values), node_(node), opset_(opset), inputs_(std::move(inputs)) {}

  Builder& b;

  const onnx::Node& node() const { return node_; }
  int64_t opset() const { return opset_; }  // of the node's domain
  [[noreturn]] void fail(std::string_view what) const;
  void require(bool condition, std::string_view what) const {
    if (!condition) fail(what);
  }

  // --- operands
  int input_count() const { return static_cast<int>(inputs_.size()); }
  int output_count() const { return static_cast<int>(node_.outputs.size()); }
  bool wants_output(int i) const;  // named by the model
  bool has(int i) const;
  NodeId in(int i) const;  // a tensor; fails if absent
  std::optional<NodeId> maybe(int i) const;
  const Lowered& lowered(int i) const;  // absent if not there
  std::vector<NodeId> all_inputs() const;

  const Dims& shape(int i) const { return b.shape(in(i)); }
  int rank(int i) const { return b.rank(in(i)); }
  DType dtype(int i) const { return b.dtype(in(i)); }

  // --- values needed now
  Dims dims_of(NodeId node) const;                  // flat elements of an integer tensor
  std::vector<int64_t> ints_of(NodeId node) const;  // fixed to the values at hand
  Tensor value_of(NodeId node) const;
  double number_of(NodeId node) const;  // the one element, as f64
  // See ValueResolver.
  std::vector<Lowered> inline_graph(const onnx::Graph& graph, std::vector<Lowered> inputs) const {
    return values_.inline_graph(graph, std::move(inputs));
  }
  // Integers given as input `i` in newer opsets, as attribute `name` in older ones.
  std::optional<std::vector<int64_t>> ints_input_or_attr(int i, std::string_view name) const;

  // --- attributes; each fails if the attribute has another type
  bool has_attr(std::string_view name) const { return node_.find(name) != nullptr; }
  int64_t attr(std::string_view name, int64_t otherwise) const;
  int attr(std::string_view name, int otherwise) const {
    return static_cast<int>(attr(name, static_cast<int64_t>(otherwise)));
  }
  float attr(std::string_view name, float otherwise) const;
  std::string attr(std::string_view name, const char* otherwise) const;
  std::optional<std::vector<int64_t>> ints(std::string_view name) const;
  std::optional<std::vector<float>> floats(std::string_view name) const;
  std::optional<std::vector<std::string>> strings(std::string_view name) const;
  std::optional<Tensor> tensor(std::string_view name) const;

  // --- axes: negative ones count from the end; fails outside [-rank, rank)
  int axis(int64_t axis, int rank) const;
  Axes axes(std::span<const int64_t> axes, int rank) const;  // normalised, ascending, distinct

 private:
  const onnx::Attribute& required(std::string_view name) const;

  ValueResolver& values_;
  const onnx::Node& node_;
  int64_t opset_;
  std::vector<Lowered> inputs_;
};

// The outputs of an operator, in order; missing trailing ones are absent.
struct Results {
  std::vector<Lowered> values;
  Results(NodeId node) : values{Lowered(node)} {}       // NOLINT: implicit by intent
  Results(Lowered value) : values{std::move(value)} {}  // NOLINT
  Results(std::vector<Lowered> several) : values(std::move(several)) {}  // NOLINT
  Results(std::initializer_list<NodeId> nodes) : values(nodes.begin(), nodes.end()) {}
};

using LowerFunction = Results (*)(OpContext&);

// One row of an operator table. The function reads opset() where versions differ.
struct OpRow {
  std::string_view op_type;
  LowerFunction function;
};

}  // namespace onrush
