#include "backend/cuda/memory.h"

#include <map>
#include <mutex>

#include "base/check.h"

namespace onrush::cuda {
namespace {

// As check(), with what the device has in the message.
void check_allocation(CUresult result, const char* call, size_t bytes, const Context& context) {
  if (result != CUDA_ERROR_OUT_OF_MEMORY) return check(result, call);
  const MemoryUse use = memory_use();
  fail(ErrorCode::out_of_memory,
       "{} ran out of memory: {:.1f} MiB asked for, {:.1f} of {:.1f} MiB on {} (cuda:{}) are free",
       call, mebibytes(bytes), mebibytes(use.free), mebibytes(use.total), context.device().name,
       context.device().ordinal);
}

CUdeviceptr allocate(const Context& context, size_t bytes) {
  CUdeviceptr pointer = 0;
  if (bytes) check_allocation(driver().cuMemAlloc(&pointer, bytes), "cuMemAlloc", bytes, context);
  return pointer;
}

void* allocate_pinned(size_t bytes) {
  void* pointer = nullptr;
  if (!bytes) return pointer;
  const CUresult result = driver().cuMemHostAlloc(&pointer, bytes, CU_MEMHOSTALLOC_PORTABLE);
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    fail(ErrorCode::out_of_memory, "cuMemHostAlloc: the host has no {:.1f} MiB of pinned memory",
         mebibytes(bytes));
  check(result, "cuMemHostAlloc");
  return pointer;
}

}  // namespace

double mebibytes(size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

MemoryUse memory_use() {
  MemoryUse use;
  check(driver().cuMemGetInfo(&use.free, &use.total), "cuMemGetInfo");
  return use;
}

DeviceBuffer::DeviceBuffer(ContextPtr context, size_t bytes) : bytes_(bytes) {
  const CUdeviceptr pointer = allocate(*context, bytes);
  handle_ = {std::move(context), pointer};
}

MemoryPool::MemoryPool(const ContextPtr& context) {
  const ContextScope scope(*context);
  CUmemPoolProps properties = {};
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = context->device().ordinal};
  CUmemoryPool pool;
  check(driver().cuMemPoolCreate(&pool, &properties), "cuMemPoolCreate");
  handle_ = {context, pool};
  cuuint64_t everything = UINT64_MAX;
  check(driver().cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &everything),
        "cuMemPoolSetAttribute");
}

std::shared_ptr<const MemoryPool> MemoryPool::of_device(int ordinal) {
  check_process();
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<const MemoryPool>> pools;
  const std::lock_guard lock(mutex);
  std::weak_ptr<const MemoryPool>& known = pools[ordinal];
  if (auto pool = known.lock()) return pool;
  std::shared_ptr<const MemoryPool> pool(new MemoryPool(Context::open(ordinal)));
  known = pool;
  return pool;
}

Tensor MemoryPool::tensor(DType dtype, Shape shape) const {
  const size_t bytes = byte_size(dtype, element_count(shape));
  CUdeviceptr address = 0;
  if (bytes) {
    const ContextScope scope(*context());
    check_allocation(
        driver().cuMemAllocFromPoolAsync(&address, bytes, handle_.get(), CU_STREAM_LEGACY),
        "cuMemAllocFromPoolAsync", bytes, *context());
  }
  const auto give_back = [pool = shared_from_this()](const void* pointer) {
    if (!pointer) return;
    if (const CleanupScope scope(*pool->context()); scope)
      scope.driver().cuMemFreeAsync(device_address(pointer), CU_STREAM_LEGACY);
  };
  void* data = as_pointer(address);
  return Tensor(dtype, std::move(shape), data, std::shared_ptr<const void>(data, give_back),
                {Device::Kind::cuda, context()->device().ordinal});
}

PinnedBuffer::PinnedBuffer(ContextPtr context, size_t bytes)
    : handle_(std::move(context), allocate_pinned(bytes)), bytes_(bytes) {}

}  // namespace onrush::cuda
