// Field numbers and enum values of onnx.proto and onnx-data.proto, IR versions 3 to 14. Fields of
// no use to inference are left out, so that the decoder skips them: denotations, quantization
// annotations, training information, device configurations, doc strings of attributes.
#pragma once

#include <array>
#include <cstdint>

namespace onrush::onnx::proto {

enum ModelField : uint32_t {
  model_ir_version = 1,
  model_producer_name = 2,
  model_producer_version = 3,
  model_domain = 4,
  model_model_version = 5,
  model_doc_string = 6,
  model_graph = 7,
  model_opset_import = 8,
  model_metadata = 14,
  model_functions = 25,
};

enum OpsetField : uint32_t { opset_domain = 1, opset_version = 2 };

enum EntryField : uint32_t { entry_key = 1, entry_value = 2 };

enum GraphField : uint32_t {
  graph_node = 1,
  graph_name = 2,
  graph_initializer = 5,
  graph_doc_string = 10,
  graph_input = 11,
  graph_output = 12,
  graph_value_info = 13,
  graph_sparse_initializer = 15,
  graph_metadata = 16,
};

enum NodeField : uint32_t {
  node_input = 1,
  node_output = 2,
  node_name = 3,
  node_op_type = 4,
  node_attribute = 5,
  node_doc_string = 6,
  node_domain = 7,
  node_overload = 8,
  node_metadata = 9,
};

enum AttributeField : uint32_t {
  attribute_name = 1,
  attribute_f = 2,
  attribute_i = 3,
  attribute_s = 4,
  attribute_t = 5,
  attribute_g = 6,
  attribute_floats = 7,
  attribute_ints = 8,
  attribute_strings = 9,
  attribute_tensors = 10,
  attribute_graphs = 11,
  attribute_tp = 14,
  attribute_type_protos = 15,
  attribute_type = 20,
  attribute_ref_attr_name = 21,
  attribute_sparse_tensor = 22,
  attribute_sparse_tensors = 23,
};

// AttributeProto.AttributeType for each alternative of Attribute::value, in the variant's order.
inline constexpr std::array<int32_t, 13> kAttributeTypes = {0, 1, 2, 3, 4,  5, 13,
                                                            6, 7, 8, 9, 10, 14};
inline constexpr int32_t kAttributeSparseTensor = 11;
inline constexpr int32_t kAttributeSparseTensors = 12;

enum FunctionField : uint32_t {
  function_name = 1,
  function_input = 4,
  function_output = 5,
  function_attribute = 6,
  function_node = 7,
  function_doc_string = 8,
  function_opset_import = 9,
  function_domain = 10,
  function_attribute_proto = 11,
  function_overload = 13,
};

enum ValueInfoField : uint32_t {
  value_info_name = 1,
  value_info_type = 2,
  value_info_doc_string = 3,
  value_info_metadata = 4,
};

enum TypeField : uint32_t {
  type_tensor = 1,
  type_sequence = 4,
  type_map = 5,
  type_sparse_tensor = 8,
  type_optional = 9,
};
enum TensorTypeField : uint32_t { tensor_type_element = 1, tensor_type_shape = 2 };
enum SequenceTypeField : uint32_t { sequence_type_element = 1 };  // TypeProto.Optional too
enum MapTypeField : uint32_t { map_type_key = 1, map_type_value = 2 };
enum ShapeField : uint32_t { shape_dim = 1 };
enum DimensionField : uint32_t { dimension_value = 1, dimension_param = 2 };

enum TensorField : uint32_t {
  tensor_dims = 1,
  tensor_data_type = 2,
  tensor_segment = 3,
  tensor_float_data = 4,
  tensor_int32_data = 5,
  tensor_string_data = 6,
  tensor_int64_data = 7,
  tensor_name = 8,
  tensor_raw_data = 9,
  tensor_double_data = 10,
  tensor_uint64_data = 11,
  tensor_external_data = 13,
  tensor_data_location = 14,
};
inline constexpr int32_t kDataLocationExternal = 1;

enum SparseTensorField : uint32_t { sparse_values = 1, sparse_indices = 2, sparse_dims = 3 };

// SequenceProto and OptionalProto number their fields alike.
enum SequenceField : uint32_t {
  sequence_name = 1,
  sequence_element_type = 2,
  sequence_tensor = 3,
  sequence_sparse_tensor = 4,
  sequence_sequence = 5,
  sequence_map = 6,
  sequence_optional = 7,
};
enum MapField : uint32_t {
  map_name = 1,
  map_key_type = 2,
  map_keys = 3,
  map_string_keys = 4,
  map_values = 5,
};

}  // namespace onrush::onnx::proto
