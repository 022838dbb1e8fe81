// An ONNX file as plain structs: syntax only, no meaning. Field names are those of onnx.proto.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <onrush/tensor.h>

namespace onrush::onnx {

struct Graph;

// One dimension of a declared shape: a number, a name, or neither (unknown).
struct Dimension {
  std::optional<int64_t> value;
  std::string param;
};

// A declared type. `undefined` says nothing. Nested types are shared and immutable.
struct Type {
  enum class Kind { undefined, tensor, sparse_tensor, sequence, optional, map };
  Kind kind = Kind::undefined;
  DType element = DType::undefined;             // tensors: element; map: key
  std::optional<std::vector<Dimension>> shape;  // tensors; empty optional: rank unknown
  std::shared_ptr<const Type> nested;           // sequence, optional, map: element or value type
};

struct ValueInfo {
  std::string name;
  Type type;
  std::string doc_string;
  std::vector<std::pair<std::string, std::string>> metadata;
};

// Elements of a dense tensor are views of the mapped file where the file holds them as raw,
// little-endian, aligned data; otherwise they are decoded copies. Sparse tensors become dense.
struct Attribute {
  std::string name;
  std::string ref_attr_name;  // inside functions: the caller's attribute of this name
  std::variant<std::monostate, float, int64_t, std::string, Tensor, std::shared_ptr<const Graph>,
               Type, std::vector<float>, std::vector<int64_t>, std::vector<std::string>,
               std::vector<Tensor>, std::vector<std::shared_ptr<const Graph>>, std::vector<Type>>
      value;
};

struct Node {
  std::string name;
  std::string op_type;
  std::string domain;  // "" is ai.onnx ("ai.onnx" is normalised to "")
  std::string overload;
  std::vector<std::string> inputs;  // "" is an absent optional input
  std::vector<std::string> outputs;
  std::vector<Attribute> attributes;
  std::string doc_string;
  std::vector<std::pair<std::string, std::string>> metadata;
  // Version of `domain`'s operator set where it differs from the model's, as in the body of an
  // inlined function; 0: the model's. Not stored in files. See Model::opset_of.
  int64_t opset_version = 0;

  const Attribute* find(std::string_view attribute) const;  // null if absent
};

struct Initializer {
  std::string name;
  Tensor tensor;
};

struct Graph {
  std::string name;
  std::string doc_string;
  std::vector<Node> nodes;  // in topological order, which decode() establishes or rejects
  std::vector<Initializer> initializers;
  std::vector<ValueInfo> inputs;
  std::vector<ValueInfo> outputs;
  std::vector<ValueInfo> value_info;
  std::vector<std::pair<std::string, std::string>> metadata;
};

struct Function {
  std::string name;
  std::string domain;
  std::string overload;
  std::string doc_string;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  std::vector<std::string> attributes;  // names without default
  std::vector<Attribute> attribute_defaults;
  std::vector<Node> nodes;
  std::vector<std::pair<std::string, int64_t>> opset_import;
};

struct Model {
  std::string path;  // empty for a model from memory; names the file in messages
  int64_t ir_version = 0;
  std::vector<std::pair<std::string, int64_t>> opset_import;  // domain ("" is ai.onnx), version
  std::string producer_name;
  std::string producer_version;
  std::string domain;
  int64_t model_version = 0;
  std::string doc_string;
  std::vector<std::pair<std::string, std::string>> metadata;
  Graph graph;
  std::vector<Function> functions;

  // Version of `domain`'s operator set; 0 if the model does not import it.
  int64_t opset(std::string_view domain) const;
  // Version of the operator set that `node` is written in; 0 if nothing imports it.
  int64_t opset_of(const Node& node) const;
};

}  // namespace onrush::onnx
