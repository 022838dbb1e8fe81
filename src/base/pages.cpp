#include "base/pages.h"

#include <sys/mman.h>

#include "base/check.h"

namespace onrush {

Tensor paged_tensor(DType dtype, Shape shape) {
  constexpr size_t kLeast = size_t{1} << 20, kLargePage = size_t{2} << 20;
  const size_t bytes = byte_size(dtype, element_count(shape));
  if (bytes < kLeast) return Tensor(dtype, std::move(shape));
  // The first large page begins somewhere in the first kLargePage bytes.
  const size_t mapped = bytes + kLargePage;
  void* memory =
      ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_to_allocate(bytes);
  std::shared_ptr<const void> owner(
      memory, [mapped](const void* p) { ::munmap(const_cast<void*>(p), mapped); });
  const auto address = reinterpret_cast<uintptr_t>(memory);
  auto* data = reinterpret_cast<void*>((address + kLargePage - 1) / kLargePage * kLargePage);
  if (const size_t whole = bytes / kLargePage * kLargePage) ::madvise(data, whole, MADV_HUGEPAGE);
  return Tensor(dtype, std::move(shape), data, std::move(owner));
}

void fail_to_allocate(size_t bytes) {
  fail(ErrorCode::out_of_memory,
       "cannot allocate {} bytes of host memory; give smaller inputs, or run where there is more",
       bytes);
}

}  // namespace onrush
