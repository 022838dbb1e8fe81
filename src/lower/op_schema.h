// What ONNX says that operators take and give, for each version of their operator sets.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "onnx/model.h"

namespace onrush {

// The type of a value, as far as schemas tell types apart. Those of maps and sparse tensors count
// as unknown.
struct ValueType {
  enum class Kind : uint8_t { unknown, tensor, sequence, optional, optional_sequence };
  static constexpr int kKinds = 5;
  Kind kind = Kind::unknown;
  DType element = DType::undefined;  // of the tensors

  bool known() const { return kind != Kind::unknown; }
  bool operator==(const ValueType&) const = default;
};
ValueType tensor_of(DType dtype);  // unknown if that is undefined
ValueType value_type(const onnx::Type& type);
std::string to_string(ValueType type);  // as ONNX writes it: "seq(tensor(float))"

class TypeSet {
 public:
  void add(ValueType type);
  bool contains(ValueType type) const;
  ValueType only() const;  // unknown unless it has one type
  // Those of that kind; all of them if it has none.
  std::string to_string(ValueType::Kind kind) const;

 private:
  std::array<uint32_t, ValueType::kKinds> elements_ = {};  // a bit for each DType
};

struct OpSchema {
  struct Parameter {
    enum class Option : uint8_t { single, optional, variadic };
    std::string_view name;
    Option option;
    int least = 0;            // of a variadic one
    bool homogeneous = true;  // all values of a variadic one have one type
    size_t type;              // index into `types`
  };
  // Values of parameters that share a variable have one type.
  struct TypeVariable {
    std::string_view name;
    TypeSet types;
  };
  struct Attribute {
    std::string_view name;
    bool required;
    std::string_view type;  // "float", "ints", "type_proto" ...
  };
  int64_t since = 0;
  bool deprecated = false;
  std::vector<Parameter> inputs, outputs;
  std::vector<TypeVariable> types;
  std::vector<Attribute> attributes;

  // The parameter of the value at that position; null if there are not as many.
  static const Parameter* at(const std::vector<Parameter>& parameters, size_t position);
};

// The schema of an operator in an operator set; its `since` is 0 if ONNX has no operator of that
// name there, and above `opset` if only later sets have it. Thread safe.
const OpSchema& find_schema(std::string_view domain, std::string_view op_type, int64_t opset);

}  // namespace onrush
