#include "backend/cuda/memory.h"
#include "cuda/gpu.h"

namespace onrush::cuda {
namespace {

class MemoryTest : public GpuTest {};

constexpr size_t kMiB = 1 << 20;

TEST_F(MemoryTest, CopiesAndFills) {
  const std::vector<int> values = {1, 2, 3, 4};
  const DeviceBuffer a = upload(values);
  const DeviceBuffer b(context_, a.bytes());
  fill(b.pointer(), std::byte(0xff), b.bytes(), stream());
  copy_on_device(b.pointer() + 4, a.pointer(), 8, stream());
  EXPECT_EQ(download<int>(b.pointer(), 4), (std::vector<int>{-1, 1, 2, -1}));
}

TEST_F(MemoryTest, BuffersMayBeEmpty) {
  const DeviceBuffer device(context_, 0);
  const PinnedBuffer pinned(context_, 0);
  EXPECT_EQ(device.pointer(), 0u);
  EXPECT_EQ(pinned.data(), nullptr);
  copy_to_device(device.pointer(), pinned.data(), 0, stream());
}

TEST_F(MemoryTest, BuffersMoveAndAreFreed) {
  const size_t before = memory_use().free;
  {
    DeviceBuffer a(context_, 256 * kMiB);
    DeviceBuffer b(context_, 256 * kMiB);
    EXPECT_LE(memory_use().free, before - 512 * kMiB);
    b = std::move(a);
  }
  EXPECT_EQ(memory_use().free, before);
}

TEST_F(MemoryTest, OutOfMemoryIsClearAndHarmless) {
  try {
    const DeviceBuffer buffer(context_, context_->device().memory_bytes * 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    const std::string text = error.what();
    EXPECT_NE(text.find("MiB asked for"), std::string::npos) << text;
    EXPECT_NE(text.find(context_->device().name), std::string::npos) << text;
  }
  EXPECT_EQ(download<int>(upload(std::vector<int>{7}).pointer(), 1), std::vector<int>{7});
}

}  // namespace
}  // namespace onrush::cuda
