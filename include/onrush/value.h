// What a model's inputs and outputs hold: a tensor, a sequence, an optional or a map.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <onrush/tensor.h>

namespace onrush {

class Value;

// ONNX Sequence: elements of one type, in order.
struct Sequence {
  std::vector<Value> elements;
};
// ONNX Optional: empty, or one value.
struct Optional {
  std::shared_ptr<const Value> value;  // null: empty
};
// ONNX Map: integer or string keys (a rank-1 i64 or string tensor), one value a key.
struct Map {
  Tensor keys;
  std::vector<Value> values;
};

class Value {
 public:
  Value() = default;
  Value(Tensor tensor) : data_(std::move(tensor)) {}        // NOLINT: implicit by intent
  Value(Sequence sequence) : data_(std::move(sequence)) {}  // NOLINT
  Value(Optional optional) : data_(std::move(optional)) {}  // NOLINT
  Value(Map map) : data_(std::move(map)) {}                 // NOLINT

  // Keeps the memory of a tensor's shape for the next one.
  Value& operator=(const Tensor& tensor) {
    data_ = tensor;
    return *this;
  }

  bool is_tensor() const { return std::holds_alternative<Tensor>(data_); }
  bool is_sequence() const { return std::holds_alternative<Sequence>(data_); }
  bool is_optional() const { return std::holds_alternative<Optional>(data_); }
  bool is_map() const { return std::holds_alternative<Map>(data_); }

  // Each throws Error{invalid_argument} when the value holds something else.
  const Tensor& tensor() const;
  const Sequence& sequence() const;
  const Optional& optional() const;
  const Map& map() const;

 private:
  std::variant<Tensor, Sequence, Optional, Map> data_;
};

}  // namespace onrush
