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

TEST_F(MemoryTest, AnArenaGrowsInPlace) {
  VirtualArena arena(context_, 64 * kMiB);
  EXPECT_EQ(arena.mapped(), 0u);
  arena.grow(1000);
  EXPECT_EQ(arena.mapped(), arena.granularity());
  const CUdeviceptr at = arena.pointer();
  fill(at, std::byte(5), 1000, stream());

  arena.grow(40 * kMiB);
  EXPECT_EQ(arena.pointer(), at);
  EXPECT_GE(arena.mapped(), 40 * kMiB);
  fill(at + 1000, std::byte(6), 40 * kMiB - 1000, stream());  // across both mappings
  EXPECT_EQ(download<uint8_t>(at + 999, 2), (std::vector<uint8_t>{5, 6}));
  EXPECT_EQ(download<uint8_t>(at + 40 * kMiB - 1, 1), std::vector<uint8_t>{6});

  const size_t mapped = arena.mapped();
  arena.grow(10);
  EXPECT_EQ(arena.mapped(), mapped);
  arena.trim(10);
  EXPECT_EQ(arena.mapped(), arena.granularity());
  EXPECT_EQ(download<uint8_t>(at, 1), std::vector<uint8_t>{5});
  arena.grow(64 * kMiB);
  fill(at, std::byte(7), 64 * kMiB, stream());
  stream().synchronize();
}

TEST_F(MemoryTest, AnArenaKeepsItsLimit) {
  VirtualArena arena(context_, 8 * kMiB);
  arena.grow(8 * kMiB);
  try {
    arena.grow(8 * kMiB + 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    EXPECT_NE(std::string(error.what()).find("limit of 8.0 MiB"), std::string::npos)
        << error.what();
  }
  fill(arena.pointer(), std::byte(1), 8 * kMiB, stream());
  stream().synchronize();
}

TEST_F(MemoryTest, AnArenaSurvivesOutOfMemory) {
  const size_t before = memory_use().free;
  {
    VirtualArena arena(context_, context_->device().memory_bytes * 2);
    arena.grow(4 * kMiB);
    fill(arena.pointer(), std::byte(3), 4 * kMiB, stream());
    EXPECT_THROW(arena.grow(context_->device().memory_bytes + 4 * kMiB), Error);
    EXPECT_EQ(arena.mapped(), 4 * kMiB);
    EXPECT_EQ(download<uint8_t>(arena.pointer() + 4 * kMiB - 1, 1), std::vector<uint8_t>{3});
    arena.grow(8 * kMiB);
    fill(arena.pointer(), std::byte(4), 8 * kMiB, stream());
    stream().synchronize();
  }
  EXPECT_EQ(memory_use().free, before);
}

}  // namespace
}  // namespace onrush::cuda
