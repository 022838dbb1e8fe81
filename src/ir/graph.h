// A network as primitive operations in topological order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ir/attributes.h"
#include "ir/dim.h"
#include "ir/ops.h"

namespace onrush {

struct TensorType {
  DType dtype = DType::undefined;
  Dims shape;
  int rank() const { return static_cast<int>(shape.size()); }
};
struct TupleType {
  std::vector<TensorType> parts;
};
using Type = std::variant<TensorType, TupleType>;

std::string to_string(const TensorType& type);  // "f32[s0,768]"
std::string to_string(const Type& type);

// A node of one Graph: an index, valid while that graph lives. Operands come before their users.
struct NodeId {
  uint32_t index = UINT32_MAX;
  bool valid() const { return index != UINT32_MAX; }
  bool operator==(const NodeId&) const = default;
  bool operator<(const NodeId& other) const { return index < other.index; }
};

// The ONNX nodes a primitive stems from: ascending indices into Graph::origin_names.
using Origins = std::vector<uint32_t>;
void merge(Origins& into, const Origins& from);

struct Node {
  Op op;
  std::vector<NodeId> inputs;
  Attr attr;
  Type type;
  Origins origins;

  template <class T>
  const T& as() const {
    return std::get<T>(attr);
  }
};

struct GraphInput {
  std::string name;
  TensorType type;
};
struct GraphOutput {
  std::string name;
  NodeId node;
};

struct Graph {
  std::deque<Node> nodes;          // references stay valid while nodes are added
  std::vector<GraphInput> inputs;  // node Op::input refers to them; unused ones have no node
  std::vector<GraphOutput> outputs;
  std::shared_ptr<ShapeContext> shapes = std::make_shared<ShapeContext>();
  std::shared_ptr<std::vector<std::string>> origin_names =
      std::make_shared<std::vector<std::string>>();

  const Node& operator[](NodeId id) const { return nodes[id.index]; }
  // Type of a node that gives one tensor.
  const TensorType& type(NodeId id) const { return std::get<TensorType>(nodes[id.index].type); }
  const Dims& shape(NodeId id) const { return type(id).shape; }
  DType dtype(NodeId id) const { return type(id).dtype; }
  int rank(NodeId id) const { return type(id).rank(); }
};

// One line a node: "%12 = add %10 %11 : f32[s0,768]  # encoder/layer.0/add".
std::string to_string(const Graph& graph);

// Users of every node, in order; outputs of the graph count once each in `output_uses`.
struct Uses {
  std::vector<std::vector<NodeId>> users;
  std::vector<int> output_uses;
  int count(NodeId id) const {
    return static_cast<int>(users[id.index].size()) + output_uses[id.index];
  }
};
Uses uses_of(const Graph& graph);
std::vector<int> use_counts(const Graph& graph);  // Uses::count of every node

// What must hold after each stage; throws Error{internal} naming the node.
enum class Stage { lowered, optimized };
void verify(const Graph& graph, Stage stage);

}  // namespace onrush
