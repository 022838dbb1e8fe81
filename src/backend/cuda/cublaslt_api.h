// The functions of cuBLASLt that Onrush calls, under their documented names. They are looked up at
// run time; so that the build does without the library's headers, what it needs of them is here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cuda.h>

#include "backend/cuda/shared_library.h"

namespace onrush::cuda {

using CublasLtHandle = struct CublasLtHandleOpaque*;
using CublasLtOperation = struct CublasLtOperationOpaque*;    // cublasLtMatmulDesc_t
using CublasLtLayout = struct CublasLtLayoutOpaque*;          // cublasLtMatrixLayout_t
using CublasLtPreference = struct CublasLtPreferenceOpaque*;  // cublasLtMatmulPreference_t
using CublasLtAlgorithm = std::array<uint64_t, 8>;            // cublasLtMatmulAlgo_t

struct CublasLtResult {  // cublasLtMatmulHeuristicResult_t
  CublasLtAlgorithm algorithm;
  size_t workspace_bytes;
  int status;
  float waves;
  int reserved[4];
};

// Values of enumerations, which the library's interface fixes.
namespace cublaslt {
enum Compute : int { f32 = 68, f32_by_tf32 = 77 };
enum Type : int { r_32f = 0, r_16f = 2, r_16bf = 14 };
enum Transpose : int { no = 0, yes = 1 };
enum Epilogue : int { plain = 1, relu = 2, bias = 4, relu_bias = 6 };
enum ReductionScheme : uint32_t { none = 0 };
enum OperationAttribute : int { transpose_a = 3, transpose_b = 4, epilogue = 7, bias_pointer = 8 };
enum LayoutAttribute : int { batch_count = 5, batch_stride = 6 };
enum PreferenceAttribute : int {
  most_workspace_bytes = 1,
  reduction_schemes = 3,
  alignment_a = 5,
  alignment_b = 6,
  alignment_c = 7,
  alignment_d = 8,
};
}  // namespace cublaslt

struct CublasLtApi {
  size_t (*cublasLtGetVersion)();
  const char* (*cublasLtGetStatusString)(int status);
  int (*cublasLtCreate)(CublasLtHandle*);
  int (*cublasLtDestroy)(CublasLtHandle);
  int (*cublasLtMatmulDescCreate)(CublasLtOperation*, int compute, int scale_type);
  int (*cublasLtMatmulDescDestroy)(CublasLtOperation);
  int (*cublasLtMatmulDescSetAttribute)(CublasLtOperation, int attribute, const void*, size_t);
  int (*cublasLtMatrixLayoutCreate)(CublasLtLayout*, int type, uint64_t rows, uint64_t columns,
                                    int64_t leading);
  int (*cublasLtMatrixLayoutDestroy)(CublasLtLayout);
  int (*cublasLtMatrixLayoutSetAttribute)(CublasLtLayout, int attribute, const void*, size_t);
  int (*cublasLtMatmulPreferenceCreate)(CublasLtPreference*);
  int (*cublasLtMatmulPreferenceDestroy)(CublasLtPreference);
  int (*cublasLtMatmulPreferenceSetAttribute)(CublasLtPreference, int attribute, const void*,
                                              size_t);
  int (*cublasLtMatmulAlgoGetHeuristic)(CublasLtHandle, CublasLtOperation, CublasLtLayout a,
                                        CublasLtLayout b, CublasLtLayout c, CublasLtLayout d,
                                        CublasLtPreference, int requested, CublasLtResult*,
                                        int* found);
  int (*cublasLtMatmulAlgoCheck)(CublasLtHandle, CublasLtOperation, CublasLtLayout a,
                                 CublasLtLayout b, CublasLtLayout c, CublasLtLayout d,
                                 const CublasLtAlgorithm*, CublasLtResult*);
  int (*cublasLtMatmul)(CublasLtHandle, CublasLtOperation, const void* alpha, const void* a,
                        CublasLtLayout, const void* b, CublasLtLayout, const void* beta,
                        const void* c, CublasLtLayout, void* d, CublasLtLayout,
                        const CublasLtAlgorithm*, void* workspace, size_t workspace_bytes,
                        CUstream);
};

// Fills the table; gives the first name that the library lacks, null if none.
const char* fill(CublasLtApi& api, const SharedLibrary& library);

}  // namespace onrush::cuda
