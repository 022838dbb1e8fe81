// ONNX nodes to a Graph of primitives, for the values at hand.
//
// A segment is the longest run of nodes that can be compiled without knowing a value that they
// compute themselves. A node that needs such a value (the target of a Reshape computed from data,
// the condition of an If), that reads a result of data-dependent size, or that loops, is left in
// `rest` together with everything that depends on it; it is lowered with the next segment, when
// the value is there. An If whose condition is known is replaced by the nodes of its branch.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"
#include "lower/lowered.h"
#include "lower/splice.h"
#include "onnx/model.h"
#include <onrush/value.h>

namespace onrush {

// Values by ONNX name in one scope (a graph, a loop body); lookups go on in the enclosing scope.
// Names must outlive the environment: they are those of the model and of plans.
class Environment {
 public:
  explicit Environment(const Environment* outer = nullptr) : outer_(outer) {}
  void set(std::string_view name, Value value) { entry(name) = std::move(value); }
  void set(std::string_view name, const Tensor& tensor) { entry(name) = tensor; }
  // A value that is the same in every run, and may be compiled in.
  void set_constant(std::string_view name, Tensor tensor) { constants_[name] = std::move(tensor); }
  // Forgets the values, but keeps memory to set them again.
  void clear();
  const Value* find(std::string_view name) const;            // null if absent
  const Tensor* find_constant(std::string_view name) const;  // null where a value hides it
  bool contains(std::string_view name) const { return find(name) || find_constant(name); }

 private:
  struct Entry {
    Value value;
    bool is_set = false;
  };
  Value& entry(std::string_view name);

  const Environment* outer_;
  std::unordered_map<std::string_view, Entry> values_;
  std::unordered_map<std::string_view, Tensor> constants_;
};

// Structure, dtypes and ranks of a value.
using Signature = std::vector<int>;
Signature signature(const Value& value);
bool has_signature(const Value& value, const Signature& signature);

struct SegmentRequest {
  const onnx::Model* model = nullptr;
  std::vector<NodePtr> nodes;       // in topological order
  std::vector<std::string> wanted;  // names to be there when all nodes have run
  // Brings a tensor whose elements are needed to host memory; empty: all are there.
  std::function<Tensor(const Tensor&)> on_host = {};
};

// A tensor among the environment's values: an element of a sequence, the value of an optional.
struct ValuePath {
  std::string name;
  std::vector<int> steps;  // positions in nested sequences
};

// The input must hold exactly these elements for the segment to apply.
struct ContentGuard {
  int input;
  Tensor content;
};

// How a result is put together from the graph's outputs.
struct Skeleton {
  enum class Kind { absent, tensor, sequence, empty_optional, optional };
  Kind kind = Kind::absent;
  int output = -1;  // tensor: index of the graph output
  std::vector<Skeleton> children;
};

struct LoweredSegment {
  Graph graph;
  std::vector<ValuePath> inputs;  // of the graph, in order
  std::vector<ContentGuard> contents;
  std::vector<std::pair<std::string, Signature>> signatures;  // of every value that was read
  std::vector<std::pair<std::string, Skeleton>> results;
  std::vector<NodePtr> rest;
};

// Throws Error{invalid_model} or Error{unsupported} that names file and node.
LoweredSegment lower(const SegmentRequest& request, const Environment& environment);

// Loop, Scan, SequenceMap: run by the session, their bodies as scopes of their own.
bool is_loop(const onnx::Node& node);

// The tensor at a path; the value of its name must have the signature that the segment was lowered
// with.
const Tensor& tensor_at(const Environment& environment, const ValuePath& path);
const Tensor& tensor_at(const Value& value, const ValuePath& path);

// "model.onnx: node 'conv1' (Conv)"
std::string describe(const onnx::Model& model, const onnx::Node& node);

}  // namespace onrush
