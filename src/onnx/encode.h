// From a Model to the bytes of an ONNX file.
#pragma once

#include <string>

#include "onnx/model.h"
#include <onrush/value.h>

namespace onrush::onnx {

// Serialized protobuf messages. Tensors are written as raw data, strings as string_data; sparse
// tensors stay dense. decode(encode(model)) gives an equal model, Node::opset_version aside.
//
// Throws Error{invalid_argument} for a tensor that is not in host memory or has no data, and
// Error{unsupported} for a message beyond 2 GiB, which protobuf does not allow.
std::string encode(const Model& model);                                         // ModelProto
std::string encode_tensor(const Tensor& tensor, const std::string& name = {});  // TensorProto
// TensorProto, SequenceProto, OptionalProto or MapProto, by what the value holds.
std::string encode_value(const Value& value, const std::string& name = {});

}  // namespace onrush::onnx
