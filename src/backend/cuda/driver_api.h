// The functions of the CUDA driver and of NVRTC that Onrush calls, under their documented names.
// They are looked up at run time; cuda.h and nvrtc.h give the types only.
#pragma once

#include <cuda.h>
#include <nvrtc.h>

#include "backend/cuda/shared_library.h"

namespace onrush::cuda {

// All of them are in drivers of CUDA 12.0 and later.
struct DriverApi {
  decltype(&::cuInit) cuInit;
  decltype(&::cuDriverGetVersion) cuDriverGetVersion;
  decltype(&::cuGetErrorName) cuGetErrorName;
  decltype(&::cuGetErrorString) cuGetErrorString;

  decltype(&::cuDeviceGet) cuDeviceGet;
  decltype(&::cuDeviceGetCount) cuDeviceGetCount;
  decltype(&::cuDeviceGetName) cuDeviceGetName;
  decltype(&::cuDeviceGetAttribute) cuDeviceGetAttribute;
  decltype(&::cuDeviceTotalMem) cuDeviceTotalMem;
  decltype(&::cuDevicePrimaryCtxRetain) cuDevicePrimaryCtxRetain;
  decltype(&::cuDevicePrimaryCtxRelease) cuDevicePrimaryCtxRelease;
  decltype(&::cuCtxPushCurrent) cuCtxPushCurrent;
  decltype(&::cuCtxPopCurrent) cuCtxPopCurrent;
  decltype(&::cuCtxSynchronize) cuCtxSynchronize;

  decltype(&::cuMemGetInfo) cuMemGetInfo;
  decltype(&::cuMemAlloc) cuMemAlloc;
  decltype(&::cuMemFree) cuMemFree;
  decltype(&::cuMemHostAlloc) cuMemHostAlloc;
  decltype(&::cuMemFreeHost) cuMemFreeHost;
  decltype(&::cuMemcpyHtoDAsync) cuMemcpyHtoDAsync;
  decltype(&::cuMemcpyDtoHAsync) cuMemcpyDtoHAsync;
  decltype(&::cuMemcpyDtoDAsync) cuMemcpyDtoDAsync;
  decltype(&::cuMemsetD8Async) cuMemsetD8Async;
  decltype(&::cuMemPoolCreate) cuMemPoolCreate;
  decltype(&::cuMemPoolDestroy) cuMemPoolDestroy;
  decltype(&::cuMemPoolSetAttribute) cuMemPoolSetAttribute;
  decltype(&::cuMemAllocFromPoolAsync) cuMemAllocFromPoolAsync;
  decltype(&::cuMemFreeAsync) cuMemFreeAsync;
  decltype(&::cuPointerGetAttribute) cuPointerGetAttribute;

  decltype(&::cuStreamCreate) cuStreamCreate;
  decltype(&::cuStreamDestroy) cuStreamDestroy;
  decltype(&::cuStreamSynchronize) cuStreamSynchronize;
  decltype(&::cuStreamWaitEvent) cuStreamWaitEvent;
  decltype(&::cuStreamIsCapturing) cuStreamIsCapturing;
  decltype(&::cuThreadExchangeStreamCaptureMode) cuThreadExchangeStreamCaptureMode;
  decltype(&::cuEventCreate) cuEventCreate;
  decltype(&::cuEventDestroy) cuEventDestroy;
  decltype(&::cuEventRecord) cuEventRecord;
  decltype(&::cuEventQuery) cuEventQuery;
  decltype(&::cuEventSynchronize) cuEventSynchronize;
  decltype(&::cuEventElapsedTime) cuEventElapsedTime;

  decltype(&::cuModuleLoadData) cuModuleLoadData;
  decltype(&::cuModuleUnload) cuModuleUnload;
  decltype(&::cuModuleGetFunction) cuModuleGetFunction;
  decltype(&::cuFuncGetAttribute) cuFuncGetAttribute;
  decltype(&::cuFuncSetAttribute) cuFuncSetAttribute;
  decltype(&::cuOccupancyMaxActiveBlocksPerMultiprocessor)
      cuOccupancyMaxActiveBlocksPerMultiprocessor;
  decltype(&::cuLaunchKernelEx) cuLaunchKernelEx;
  decltype(&::cuTensorMapEncodeTiled) cuTensorMapEncodeTiled;

  decltype(&::cuStreamBeginCapture) cuStreamBeginCapture;
  decltype(&::cuStreamEndCapture) cuStreamEndCapture;
  // The second version, also where the header declares a later one with more parameters.
  CUresult (*cuStreamGetCaptureInfoV2)(CUstream, CUstreamCaptureStatus*, cuuint64_t* id, CUgraph*,
                                       const CUgraphNode** dependencies, size_t* count);
  decltype(&::cuGraphDestroy) cuGraphDestroy;
  decltype(&::cuGraphGetNodes) cuGraphGetNodes;
  decltype(&::cuGraphInstantiateWithFlags) cuGraphInstantiateWithFlags;
  decltype(&::cuGraphExecDestroy) cuGraphExecDestroy;
  decltype(&::cuGraphExecKernelNodeSetParams) cuGraphExecKernelNodeSetParams;
  decltype(&::cuGraphExecUpdate) cuGraphExecUpdate;
  decltype(&::cuGraphUpload) cuGraphUpload;
  decltype(&::cuGraphLaunch) cuGraphLaunch;
};

struct NvrtcApi {
  decltype(&::nvrtcGetErrorString) nvrtcGetErrorString;
  decltype(&::nvrtcVersion) nvrtcVersion;
  decltype(&::nvrtcGetNumSupportedArchs) nvrtcGetNumSupportedArchs;
  decltype(&::nvrtcGetSupportedArchs) nvrtcGetSupportedArchs;
  decltype(&::nvrtcCreateProgram) nvrtcCreateProgram;
  decltype(&::nvrtcDestroyProgram) nvrtcDestroyProgram;
  decltype(&::nvrtcCompileProgram) nvrtcCompileProgram;
  decltype(&::nvrtcGetCUBINSize) nvrtcGetCUBINSize;
  decltype(&::nvrtcGetCUBIN) nvrtcGetCUBIN;
  decltype(&::nvrtcGetProgramLogSize) nvrtcGetProgramLogSize;
  decltype(&::nvrtcGetProgramLog) nvrtcGetProgramLog;
};

// Fills the table; gives the first name that the library lacks, null if none.
const char* fill(DriverApi& api, const SharedLibrary& library);
const char* fill(NvrtcApi& api, const SharedLibrary& library);

}  // namespace onrush::cuda
