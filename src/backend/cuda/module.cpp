#include "backend/cuda/module.h"

#include "base/check.h"

namespace onrush::cuda {
namespace {

CUmodule load(std::span<const std::byte> cubin) {
  CUmodule module;
  check(driver().cuModuleLoadData(&module, cubin.data()), "cuModuleLoadData");
  return module;
}

}  // namespace

int Function::attribute(CUfunction_attribute which) const {
  int value = 0;
  check(driver().cuFuncGetAttribute(&value, which, handle_), "cuFuncGetAttribute");
  return value;
}

int Function::registers() const { return attribute(CU_FUNC_ATTRIBUTE_NUM_REGS); }

size_t Function::local_bytes() const {
  return static_cast<size_t>(attribute(CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES));
}

size_t Function::static_shared_bytes() const {
  return static_cast<size_t>(attribute(CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES));
}

int Function::blocks_per_multiprocessor(uint32_t threads, uint32_t shared_bytes) const {
  int blocks = 0;
  check(driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(
            &blocks, handle_, static_cast<int>(threads), shared_bytes),
        "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  return blocks;
}

void Function::allow_shared_bytes(uint32_t bytes) const {
  check(driver().cuFuncSetAttribute(handle_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                    static_cast<int>(bytes)),
        "cuFuncSetAttribute");
}

void Function::allow_large_clusters() const {
  check(
      driver().cuFuncSetAttribute(handle_, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
      "cuFuncSetAttribute");
}

Module::Module(ContextPtr context, std::span<const std::byte> cubin)
    : handle_(std::move(context), load(cubin)) {}

Function Module::function(const char* name) const {
  CUfunction function;
  const CUresult result = driver().cuModuleGetFunction(&function, handle_.get(), name);
  if (result == CUDA_ERROR_NOT_FOUND)
    internal_error(fmt::format("the cubin has no kernel '{}'; is it extern \"C\"?", name));
  check(result, "cuModuleGetFunction");
  return Function(function);
}

void launch(Function function, const LaunchShape& shape, const Stream& stream,
            std::span<void* const> arguments) {
  const auto& [grid, block, cluster, shared_bytes, programmatic] = shape;
  if (!grid.x || !grid.y || !grid.z) return;

  std::array<CUlaunchAttribute, 2> attributes = {};
  unsigned count = 0;
  if (programmatic) {
    CUlaunchAttribute& attribute = attributes[count++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster != Dim3()) {
    CUlaunchAttribute& attribute = attributes[count++];
    attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    attribute.value.clusterDim = {cluster.x, cluster.y, cluster.z};
  }
  CUlaunchConfig config = {};
  config.gridDimX = grid.x;
  config.gridDimY = grid.y;
  config.gridDimZ = grid.z;
  config.blockDimX = block.x;
  config.blockDimY = block.y;
  config.blockDimZ = block.z;
  config.sharedMemBytes = shared_bytes;
  config.hStream = stream.handle();
  config.attrs = attributes.data();
  config.numAttrs = count;
  // The driver reads the addresses and what they point to, and writes neither.
  void** parameters = const_cast<void**>(arguments.data());
  check(driver().cuLaunchKernelEx(&config, function.handle(), parameters, nullptr),
        "cuLaunchKernelEx");
}

}  // namespace onrush::cuda
