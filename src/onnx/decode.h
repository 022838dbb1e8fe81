// From the bytes of an ONNX file to a Model, checked.
//
// Understands IR versions 1 to 14 and ai.onnx opsets 1 to 28. What has no use for inference is
// skipped: unknown fields, denotations, quantization annotations, training information, device
// configurations; Opaque types become Type::Kind::undefined; a negative declared dimension is
// unknown, as exporters mean it. Every defect of the bytes throws Error{invalid_model}, or
// unsupported for a version or a storage form this build does not know, with the file, the place
// and the remedy in the message. Functions are thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "onnx/model.h"
#include <onrush/value.h>

namespace onrush::onnx {

// Bytes and what keeps them alive. Without an owner they are copied before the call returns.
struct Bytes {
  std::span<const std::byte> data;
  std::shared_ptr<const void> owner = {};
};

struct LoadOptions {
  // Contents of external data files by `location`, consulted before the file system.
  std::map<std::string, Bytes> external_data = {};
  // Where external data files lie. Empty: beside the model file; for a model in memory, nowhere.
  std::string external_directory = {};
  // An absent external file gives a tensor of null data with shape and dtype, for inspection.
  // Every other defect of external data stays an error.
  bool allow_missing_external_data = false;
  // Compare external files with the SHA1 their tensors state; reads every byte of such a file.
  bool verify_checksums = true;
  // Bytes that sparse tensors may fill altogether when made dense.
  size_t max_dense_bytes = size_t{4} << 30;
};

// Maps the file; tensors are views of the mapping where raw data is aligned, else copies. Throws
// Error{not_found} if the file or its external data is not there.
Model load(const std::string& path, const LoadOptions& options = {});

// The same from memory. `name` stands for the path in messages.
Model decode(const Bytes& bytes, const LoadOptions& options = {}, const std::string& name = {});

// One serialized TensorProto, as in the .pb files of test data. External data is refused.
Tensor decode_tensor(std::span<const std::byte> bytes, const std::string& name = {});

// One serialized TensorProto, SparseTensorProto, SequenceProto, OptionalProto or MapProto,
// whichever `type` (of the graph's input or output) calls for; the bytes themselves do not tell.
Value decode_value(std::span<const std::byte> bytes, const Type& type,
                   const std::string& name = {});

}  // namespace onrush::onnx
