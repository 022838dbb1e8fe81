// The one way to make nodes. It infers types, checks operands (a defect of the caller is an
// internal error; a model's is found by lower/, which names the ONNX node), gives equal nodes one
// id, and keeps these forms canonical:
//   - movement that changes nothing vanishes; chains of reshape, of transpose, of broadcast, of
//     slice are one node; a cast to the operand's dtype vanishes
//   - `get` of a tuple built by nothing else stays; nodes without users are dropped by finish()
//   - small integer and boolean tensors computed from constants and dims become constant or dims
//   - what has no elements, whatever the inputs' sizes, becomes a constant
//   - other nodes of constants become constants, if the folder given at construction does so
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"

namespace onrush {

// Evaluates a node whose operands are all constant; nullopt to leave it as it is.
using Folder = std::function<std::optional<Tensor>(const Graph& graph, const Node& node)>;

class Builder {
 public:
  explicit Builder(Folder folder = {});
  // Continues with the inputs, the shape context and the origin names of `source`, for a pass that
  // rebuilds it.
  Builder(const Graph& source, Folder folder);
  // Continues with a whole graph, whose nodes keep their numbers.
  static Builder continuing(Graph graph, Folder folder);
  // An empty builder for the body of a loop: shares the shape context, the origins and the folder.
  Builder for_body() const;

  // Nodes made from now on carry these origins. A pass sets them from the node it rewrites.
  void set_origins(Origins origins) { origins_ = std::move(origins); }
  // From here on, what add_origins() is to speak of.
  void mark() { made_.clear(); }
  // To all nodes that were asked for since the mark, those that were there before as well.
  void add_origins(const Origins& origins);
  uint32_t add_origin(std::string name);

  // --- sources
  NodeId input(std::string name, TensorType type);  // a new graph input
  NodeId input_at(int index);                       // the node of an existing one
  NodeId constant(Tensor tensor);
  NodeId scalar(DType dtype, double value);  // rank 0
  NodeId scalar(DType dtype, int64_t value);
  NodeId scalar(DType dtype, int value) { return scalar(dtype, static_cast<int64_t>(value)); }
  NodeId dims(DType dtype, Dims elements, Dims shape);
  NodeId dims(Dims elements);                       // i64, rank 1
  NodeId iota(DType dtype, Dims shape, int axis);   // i32 or i64
  NodeId random_bits(Dims shape, RandomAttr attr);  // u32

  // --- elementwise
  NodeId unary(Op op, NodeId x);
  // Operands are broadcast against each other by ONNX's rule; one dtype. Throws
  // Error{invalid_model} where extents differ.
  NodeId binary(Op op, NodeId a, NodeId b);
  NodeId select(NodeId condition, NodeId a, NodeId b);
  NodeId cast(NodeId x, DType dtype, bool saturate = true);
  NodeId bitcast(NodeId x, DType dtype);  // same element size

  NodeId neg(NodeId x) { return unary(Op::neg, x); }
  NodeId exp(NodeId x) { return unary(Op::exp, x); }
  NodeId sqrt(NodeId x) { return unary(Op::sqrt, x); }
  NodeId logical_not(NodeId x) { return unary(Op::bit_not, x); }
  NodeId add(NodeId a, NodeId b) { return binary(Op::add, a, b); }
  NodeId sub(NodeId a, NodeId b) { return binary(Op::sub, a, b); }
  NodeId mul(NodeId a, NodeId b) { return binary(Op::mul, a, b); }
  NodeId div(NodeId a, NodeId b) { return binary(Op::div, a, b); }
  NodeId min(NodeId a, NodeId b) { return binary(Op::min, a, b); }
  NodeId max(NodeId a, NodeId b) { return binary(Op::max, a, b); }
  NodeId equal(NodeId a, NodeId b) { return binary(Op::equal, a, b); }
  NodeId less(NodeId a, NodeId b) { return binary(Op::less, a, b); }
  NodeId less_equal(NodeId a, NodeId b) { return binary(Op::less_equal, a, b); }
  NodeId logical_and(NodeId a, NodeId b) { return binary(Op::bit_and, a, b); }
  NodeId logical_or(NodeId a, NodeId b) { return binary(Op::bit_or, a, b); }
  // A scalar of x's dtype.
  NodeId like(NodeId x, double value) { return scalar(graph_.dtype(x), value); }

  // --- movement
  NodeId reshape(NodeId x, Dims shape);
  NodeId transpose(NodeId x, Axes permutation);
  NodeId broadcast(NodeId x, Dims shape);  // ONNX rule: lower ranks are padded with ones first
  NodeId slice(NodeId x, Dims start, std::vector<int64_t> step, Dims shape);
  NodeId slice_axis(NodeId x, int axis, Dim start, Dim extent, int64_t step = 1);
  NodeId pad(NodeId x, NodeId value, Dims low, Dims high);  // value: scalar of x's dtype
  NodeId concat(std::span<const NodeId> parts, int axis);
  NodeId squeeze(NodeId x, const Axes& axes);    // removes axes of extent 1
  NodeId unsqueeze(NodeId x, const Axes& axes);  // positions in the result, ascending

  // --- along axes
  NodeId reduce(ReduceKind kind, NodeId x, Axes axes, bool last = false);  // keeps rank
  NodeId mean(NodeId x, Axes axes);                                        // keeps rank; float
  NodeId window(NodeId x, WindowAttr attr);
  NodeId scan(NodeId x, ScanAttr attr);
  NodeId sort(NodeId x, SortAttr attr);  // tuple

  // --- indexed. Indices are i32 or i64, in range, of the result's (updates') shape.
  NodeId gather(NodeId data, std::span<const NodeId> indices, std::vector<int> source, Dims shape);
  NodeId scatter(NodeId data, NodeId updates, std::span<const NodeId> indices,
                 std::vector<int> source, ScatterKind kind);

  // --- contractions
  NodeId dot(NodeId lhs, NodeId rhs, DotAttr attr);
  NodeId matmul(NodeId lhs,
                NodeId rhs);  // ONNX MatMul's rule for rank >= 2 operands; result dtype lhs's
  NodeId conv(NodeId x, NodeId w, ConvAttr attr);

  // --- others
  NodeId call(CallAttr attr, std::span<const NodeId> operands, std::vector<TensorType> results);
  NodeId loop(LoopAttr attr, std::span<const NodeId> operands);
  NodeId get(NodeId tuple, int index);

  // A copy of `node` (of another graph with the same shape context) over new operands.
  NodeId rebuild(const Node& node, std::vector<NodeId> operands);

  // --- reading. References last as long as the builder, but end with finish().
  const Graph& graph() const { return graph_; }
  const Node& node(NodeId id) const { return graph_[id]; }
  const TensorType& type(NodeId id) const { return graph_.type(id); }
  const Dims& shape(NodeId id) const { return graph_.shape(id); }
  DType dtype(NodeId id) const { return graph_.dtype(id); }
  int rank(NodeId id) const { return graph_.rank(id); }
  ShapeContext& shapes() { return *graph_.shapes; }
  // Elements of a small integer or boolean tensor that are known now, as dims.
  std::optional<Dims> elements(NodeId id) const;
  // The tensor of a constant node.
  const Tensor* constant_tensor(NodeId id) const;

  void output(std::string name, NodeId node);
  // The graph without nodes that no output needs. The builder is empty afterwards.
  Graph finish();
  // The first nodes as they are, without those added later: the graph that this continued with.
  Graph give_back(size_t nodes);

 private:
  NodeId add_node(Op op, std::vector<NodeId> inputs, Attr attr, Type type);
  std::optional<NodeId> fold(const Node& node);
  void broadcast_together(std::span<NodeId* const> operands);

  Graph graph_;
  Folder folder_;
  Origins origins_;
  // Nodes by what they compute, of which a hash is kept: among a million nodes, two that differ
  // share one with a probability of 2^-89.
  struct Hash {
    uint64_t high, low;
    bool operator==(const Hash&) const = default;
  };
  struct LowHalf {
    size_t operator()(const Hash& hash) const { return hash.low; }
  };
  Hash hash_of(const Node& node);
  void hash_nodes();

  std::unordered_map<Hash, NodeId, LowHalf> by_hash_;  // of the first `hashed_` nodes
  size_t hashed_ = 0;
  std::string key_;  // of the node at hand
  std::vector<NodeId> made_;
};

// The shape that ONNX's broadcasting of a and b gives; records what it relies on as guards.
// Throws Error{invalid_model} where extents differ and neither is 1.
Dims broadcast_shapes(const Dims& a, const Dims& b);

// Spatial extent of a convolution or window: floor((in_dilated + low + high - span) / stride) + 1.
Dim window_extent(Dim in, Dim low, Dim high, int64_t size, int64_t stride, int64_t dilation);

}  // namespace onrush
