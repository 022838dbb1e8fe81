#include "backend/cuda/driver.h"

#include <atomic>
#include <cstdlib>
#include <pthread.h>
#include <string_view>

#include "base/check.h"

namespace onrush::cuda {
namespace {

// CUDA was in use when this process was forked.
std::atomic<bool> lost_in_fork = false;

CUresult initialise(const DriverApi& api) {
  const CUresult result = api.cuInit(0);
  if (result == CUDA_SUCCESS) ::pthread_atfork(nullptr, nullptr, [] { lost_in_fork = true; });
  return result;
}

// "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected"
std::string error_text(CUresult result) {
  const DriverApi& api = driver_api();
  const char* name = nullptr;
  const char* text = nullptr;
  if (api.cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
    return fmt::format("error {}", static_cast<int>(result));
  api.cuGetErrorString(result, &text);
  return text ? fmt::format("{}: {}", name, text) : name;
}

// Of a kernel, after which the context is lost.
bool is_fault(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED: return true;
    default: return false;
  }
}

CUdevice device_handle(int ordinal) {
  const int count = device_count();
  if (ordinal < 0 || ordinal >= count)
    fail(ErrorCode::not_found,
         "there is no device cuda:{}: this process sees {} (CUDA_VISIBLE_DEVICES may hide some)",
         ordinal, count);
  CUdevice device;
  check(driver().cuDeviceGet(&device, ordinal), "cuDeviceGet");
  return device;
}

// Makes current what was before a scope.
void leave() {
  CUcontext popped;
  driver_api().cuCtxPopCurrent(&popped);
}

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check(driver().cuDeviceGetAttribute(&value, which, device), "cuDeviceGetAttribute");
  return value;
}

}  // namespace

void check_process() {
  if (lost_in_fork)
    fail(ErrorCode::device,
         "CUDA was in use before this process was forked, and does not survive a fork: fork before "
         "it is first used, or start processes anew (in Python: multiprocessing's \"spawn\")");
}

const DriverApi& driver() {
  check_process();
  const DriverApi& api = driver_api();
  static const CUresult initialised = initialise(api);
  if (initialised != CUDA_SUCCESS)
    fail(ErrorCode::not_found,
         "CUDA is not available: cuInit of {}: {}. Does nvidia-smi show a GPU? In a container, "
         "start it with access to the GPU (docker run --gpus all); CUDA_VISIBLE_DEVICES may hide "
         "GPUs",
         driver_library().search.library->path(), error_text(initialised));
  return api;
}

bool checks_kernels() {
  const char* value = std::getenv("ONRUSH_CHECK_KERNELS");
  return value && *value && std::string_view(value) != "0";
}

void check(CUresult result, const char* call) {
  if (result == CUDA_SUCCESS) return;
  if (is_fault(result) && !checks_kernels())
    fail(ErrorCode::device,
         "{}: {}; a kernel failed before that, and this process cannot use the GPU any more. With "
         "ONRUSH_CHECK_KERNELS=1 in the environment the error names the kernel and its ONNX nodes",
         call, error_text(result));
  fail(result == CUDA_ERROR_OUT_OF_MEMORY ? ErrorCode::out_of_memory : ErrorCode::device, "{}: {}",
       call, error_text(result));
}

int device_count() {
  int count = 0;
  check(driver().cuDeviceGetCount(&count), "cuDeviceGetCount");
  return count;
}

DeviceInfo device_info(int ordinal) {
  const CUdevice device = device_handle(ordinal);
  const auto number = [device](CUdevice_attribute which) { return attribute(device, which); };
  const auto bytes = [device](CUdevice_attribute which) {
    return static_cast<size_t>(attribute(device, which));
  };
  DeviceInfo info;
  info.ordinal = ordinal;
  char name[256] = {};
  check(driver().cuDeviceGetName(name, sizeof name, device), "cuDeviceGetName");
  info.name = name;
  check(driver().cuDeviceTotalMem(&info.memory_bytes, device), "cuDeviceTotalMem");
  info.capability = {number(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                     number(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)};
  info.l2_bytes = bytes(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  info.multiprocessors = number(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  info.threads_per_multiprocessor = number(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  info.shared_bytes_per_block = bytes(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  info.shared_bytes_per_multiprocessor =
      bytes(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  return info;
}

std::shared_ptr<const Context> Context::open(int ordinal) {
  return std::shared_ptr<const Context>(new Context(ordinal));
}

Context::Context(int ordinal) : device_(device_info(ordinal)), id_(device_handle(ordinal)) {
  check(driver().cuDevicePrimaryCtxRetain(&handle_, id_), "cuDevicePrimaryCtxRetain");
}

Context::~Context() {
  if (!lost_in_fork) driver_api().cuDevicePrimaryCtxRelease(id_);
}

void Context::synchronize() const { check(driver().cuCtxSynchronize(), "cuCtxSynchronize"); }

ContextScope::ContextScope(const Context& context) {
  check(driver().cuCtxPushCurrent(context.handle()), "cuCtxPushCurrent");
}

ContextScope::~ContextScope() { leave(); }

CleanupScope::CleanupScope(const Context& context) noexcept
    : entered_(!lost_in_fork && driver_api().cuCtxPushCurrent(context.handle()) == CUDA_SUCCESS) {}

CleanupScope::~CleanupScope() {
  if (entered_) leave();
}

}  // namespace onrush::cuda
