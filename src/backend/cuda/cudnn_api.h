// The functions of cuDNN's graph interface that Onrush calls, under their documented names. They
// are looked up at run time; so that the build does without the library's headers, what it needs of
// them is here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda.h>

#include "backend/cuda/shared_library.h"

namespace onrush::cuda {

using CudnnHandle = struct CudnnHandleOpaque*;
using CudnnDescriptor = void*;  // cudnnBackendDescriptor_t

// Values of enumerations, which the library's interface fixes.
namespace cudnn {
enum DataType : int { r_32f = 0, r_16f = 2, r_16bf = 9 };
enum ConvolutionMode : int { cross_correlation = 1 };
enum PointwiseMode : int { add = 0, mul = 1, relu = 100 };
enum HeuristicMode : int { mode_b = 1, mode_a = 3 };
enum NumericalNote : int {
  tensor_core = 0,
  down_convert_inputs = 1,
  reduced_precision_reduction = 2,
  fft = 3,
  nondeterministic = 4,
  winograd = 5,
};
enum Kind : int {  // cudnnBackendDescriptorType_t
  pointwise = 0,
  convolution = 1,
  engine = 2,
  engine_config = 3,
  heuristics = 4,
  execution_plan = 5,
  knob_choice = 7,
  convolution_operation = 10,
  pointwise_operation = 13,
  operation_graph = 15,
  variant_pack = 16,
  tensor = 17,
};
enum Type : int {  // cudnnBackendAttributeType_t
  type_handle = 0,
  type_data_type = 1,
  type_boolean = 2,
  type_int64 = 3,
  type_float = 4,
  type_pointer = 6,
  type_convolution_mode = 7,
  type_heuristic_mode = 8,
  type_knob = 9,
  type_numerical_note = 11,
  type_pointwise_mode = 14,
  type_descriptor = 15,
};
enum Attribute : int {  // cudnnBackendAttributeName_t
  pointwise_mode = 0,
  pointwise_precision = 1,
  convolution_precision = 100,
  convolution_mode = 101,
  convolution_dilations = 102,
  convolution_strides = 103,
  convolution_after = 104,
  convolution_before = 105,
  convolution_rank = 106,
  heuristics_mode = 200,
  heuristics_graph = 201,
  heuristics_results = 202,
  config_engine = 300,
  config_knobs = 302,
  plan_handle = 400,
  plan_config = 401,
  plan_workspace = 402,
  knob_type = 600,
  knob_value = 601,
  convolution_alpha = 700,
  convolution_beta = 701,
  convolution_descriptor = 702,
  convolution_w = 703,
  convolution_x = 704,
  convolution_y = 705,
  pointwise_descriptor = 750,
  pointwise_x = 751,
  pointwise_b = 752,
  pointwise_y = 753,
  graph_handle = 800,
  graph_operations = 801,
  tensor_alignment = 900,
  tensor_type = 901,
  tensor_extents = 902,
  tensor_strides = 903,
  tensor_id = 906,
  tensor_is_virtual = 907,
  tensor_is_value = 908,
  pack_ids = 1000,
  pack_pointers = 1001,
  pack_workspace = 1003,
  engine_graph = 1300,
  engine_index = 1301,
  engine_notes = 1303,
};
}  // namespace cudnn

struct CudnnApi {
  size_t (*cudnnGetVersion)();
  const char* (*cudnnGetErrorString)(int status);
  int (*cudnnCreate)(CudnnHandle*);
  int (*cudnnDestroy)(CudnnHandle);
  int (*cudnnSetStream)(CudnnHandle, CUstream);
  int (*cudnnBackendCreateDescriptor)(int kind, CudnnDescriptor*);
  int (*cudnnBackendDestroyDescriptor)(CudnnDescriptor);
  int (*cudnnBackendFinalize)(CudnnDescriptor);
  int (*cudnnBackendSetAttribute)(CudnnDescriptor, int attribute, int type, int64_t count,
                                  const void* elements);
  int (*cudnnBackendGetAttribute)(CudnnDescriptor, int attribute, int type, int64_t requested,
                                  int64_t* count, void* elements);
  int (*cudnnBackendExecute)(CudnnHandle, CudnnDescriptor plan, CudnnDescriptor pack);
};

// Fills the table; gives the first name that the library lacks, null if none.
const char* fill(CudnnApi& api, const SharedLibrary& library);

}  // namespace onrush::cuda
