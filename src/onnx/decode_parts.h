// The parts of the decoder, one per group of messages. Internal to src/onnx.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "onnx/decode.h"
#include "onnx/external_data.h"
#include "onnx/model.h"
#include "onnx/place.h"

namespace onrush::onnx {

// Levels of graphs within graphs, of types and of values within each other. Bounds the decoder's
// recursion and that of everyone who walks a Model; protobuf's own limit allows 33 graphs.
inline constexpr int kMaxNesting = 64;

// What the parts share while one file is decoded.
struct DecodeContext {
  const LoadOptions& options;
  std::shared_ptr<const void> owner;  // of the file's bytes; null: tensors copy what they keep
  ExternalData external;
  size_t dense_bytes_left;  // of LoadOptions::max_dense_bytes

  DecodeContext(const LoadOptions& load_options, std::shared_ptr<const void> bytes_owner,
                std::optional<std::string> external_directory);
};

// Each takes the bytes of one message; `place` is that of the enclosing thing unless it is said to
// be the message's own.

// decode_tensor.cpp. The name is the TensorProto's own; of a sparse tensor that of its values.
Initializer decode_tensor(std::string_view message, const Place& parent, int64_t index,
                          DecodeContext& context);
// decode_sparse.cpp. Zeros where the file states no value.
Initializer decode_sparse_tensor(std::string_view message, const Place& parent, int64_t index,
                                 DecodeContext& context);
// The repeated int64 `dims` field, checked: no negative dimension, and the tensor's size in bits
// fits into 63 bits.
int64_t checked_count(DType dtype, const Shape& shape, const Place& place);
DType decode_dtype(int32_t number, const Place& place);  // undefined is refused

// decode_type.cpp
Type decode_type(std::string_view message, const Place& place, int depth);
ValueInfo decode_value_info(std::string_view message, const Place& parent, std::string_view kind,
                            int64_t index);

// decode_graph.cpp. Nodes come back sorted; `place` is the graph's own.
Graph decode_graph(std::string_view message, const Place& place, DecodeContext& context, int depth);
Node decode_node(std::string_view message, const Place& parent, int64_t index,
                 DecodeContext& context, int depth);
Attribute decode_attribute(std::string_view message, const Place& parent, int64_t index,
                           DecodeContext& context, int depth);
std::pair<std::string, std::string> decode_entry(std::string_view message, const Place& place);
std::string normal_domain(std::string_view domain);  // "ai.onnx" is ""

}  // namespace onrush::onnx
