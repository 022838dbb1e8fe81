#include "backend/cuda/driver_api.h"

namespace onrush::cuda {

// The symbols are spelt out with their versions: headers later than CUDA 12.0 map some names to
// symbols that older drivers lack (cuEventElapsedTime_v2).
const char* fill(DriverApi& api, const SharedLibrary& library) {
  SymbolBinder bind(library);
  bind(api.cuInit, "cuInit");
  bind(api.cuDriverGetVersion, "cuDriverGetVersion");
  bind(api.cuGetErrorName, "cuGetErrorName");
  bind(api.cuGetErrorString, "cuGetErrorString");

  bind(api.cuDeviceGet, "cuDeviceGet");
  bind(api.cuDeviceGetCount, "cuDeviceGetCount");
  bind(api.cuDeviceGetName, "cuDeviceGetName");
  bind(api.cuDeviceGetAttribute, "cuDeviceGetAttribute");
  bind(api.cuDeviceTotalMem, "cuDeviceTotalMem_v2");
  bind(api.cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  bind(api.cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
  bind(api.cuCtxPushCurrent, "cuCtxPushCurrent_v2");
  bind(api.cuCtxPopCurrent, "cuCtxPopCurrent_v2");
  bind(api.cuCtxSynchronize, "cuCtxSynchronize");

  bind(api.cuMemGetInfo, "cuMemGetInfo_v2");
  bind(api.cuMemAlloc, "cuMemAlloc_v2");
  bind(api.cuMemFree, "cuMemFree_v2");
  bind(api.cuMemHostAlloc, "cuMemHostAlloc");
  bind(api.cuMemFreeHost, "cuMemFreeHost");
  bind(api.cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
  bind(api.cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
  bind(api.cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
  bind(api.cuMemsetD8Async, "cuMemsetD8Async");
  bind(api.cuMemPoolCreate, "cuMemPoolCreate");
  bind(api.cuMemPoolDestroy, "cuMemPoolDestroy");
  bind(api.cuMemPoolSetAttribute, "cuMemPoolSetAttribute");
  bind(api.cuMemAllocFromPoolAsync, "cuMemAllocFromPoolAsync");
  bind(api.cuMemFreeAsync, "cuMemFreeAsync");
  bind(api.cuPointerGetAttribute, "cuPointerGetAttribute");

  bind(api.cuStreamCreate, "cuStreamCreate");
  bind(api.cuStreamDestroy, "cuStreamDestroy_v2");
  bind(api.cuStreamSynchronize, "cuStreamSynchronize");
  bind(api.cuStreamWaitEvent, "cuStreamWaitEvent");
  bind(api.cuStreamIsCapturing, "cuStreamIsCapturing");
  bind(api.cuThreadExchangeStreamCaptureMode, "cuThreadExchangeStreamCaptureMode");
  bind(api.cuEventCreate, "cuEventCreate");
  bind(api.cuEventDestroy, "cuEventDestroy_v2");
  bind(api.cuEventRecord, "cuEventRecord");
  bind(api.cuEventQuery, "cuEventQuery");
  bind(api.cuEventSynchronize, "cuEventSynchronize");
  bind(api.cuEventElapsedTime, "cuEventElapsedTime");

  bind(api.cuModuleLoadData, "cuModuleLoadData");
  bind(api.cuModuleUnload, "cuModuleUnload");
  bind(api.cuModuleGetFunction, "cuModuleGetFunction");
  bind(api.cuFuncGetAttribute, "cuFuncGetAttribute");
  bind(api.cuFuncSetAttribute, "cuFuncSetAttribute");
  bind(api.cuOccupancyMaxActiveBlocksPerMultiprocessor,
       "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  bind(api.cuLaunchKernelEx, "cuLaunchKernelEx");
  bind(api.cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled");

  bind(api.cuStreamBeginCapture, "cuStreamBeginCapture_v2");
  bind(api.cuStreamEndCapture, "cuStreamEndCapture");
  bind(api.cuStreamGetCaptureInfoV2, "cuStreamGetCaptureInfo_v2");
  bind(api.cuGraphDestroy, "cuGraphDestroy");
  bind(api.cuGraphGetNodes, "cuGraphGetNodes");
  bind(api.cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags");
  bind(api.cuGraphExecDestroy, "cuGraphExecDestroy");
  bind(api.cuGraphExecKernelNodeSetParams, "cuGraphExecKernelNodeSetParams_v2");
  bind(api.cuGraphExecUpdate, "cuGraphExecUpdate_v2");
  bind(api.cuGraphUpload, "cuGraphUpload");
  bind(api.cuGraphLaunch, "cuGraphLaunch");
  return bind.missing();
}

const char* fill(NvrtcApi& api, const SharedLibrary& library) {
  SymbolBinder bind(library);
  bind(api.nvrtcGetErrorString, "nvrtcGetErrorString");
  bind(api.nvrtcVersion, "nvrtcVersion");
  bind(api.nvrtcGetNumSupportedArchs, "nvrtcGetNumSupportedArchs");
  bind(api.nvrtcGetSupportedArchs, "nvrtcGetSupportedArchs");
  bind(api.nvrtcCreateProgram, "nvrtcCreateProgram");
  bind(api.nvrtcDestroyProgram, "nvrtcDestroyProgram");
  bind(api.nvrtcCompileProgram, "nvrtcCompileProgram");
  bind(api.nvrtcGetCUBINSize, "nvrtcGetCUBINSize");
  bind(api.nvrtcGetCUBIN, "nvrtcGetCUBIN");
  bind(api.nvrtcGetProgramLogSize, "nvrtcGetProgramLogSize");
  bind(api.nvrtcGetProgramLog, "nvrtcGetProgramLog");
  return bind.missing();
}

}  // namespace onrush::cuda
