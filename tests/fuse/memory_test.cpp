#include "plan/memory.h"

#include <gtest/gtest.h>
#include <random>

namespace onrush {
namespace {

bool overlap(const BufferLife& a, const BufferLife& b) {
  const bool in_time = a.first <= b.last && b.first <= a.last;
  return in_time && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

TEST(Memory, LivingBuffersDoNotOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<BufferLife> buffers;
    for (int i = 0; i < 40; ++i) {
      const int first = static_cast<int>(random() % 30);
      buffers.push_back({static_cast<int64_t>(random() % 5000 + 1), first,
                         first + static_cast<int>(random() % 6)});
    }
    const int64_t size = pack(buffers);
    for (size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_LE(buffers[i].offset + buffers[i].bytes, size);
      EXPECT_EQ(buffers[i].offset % 64, 0);
      for (size_t j = 0; j < i; ++j) EXPECT_FALSE(overlap(buffers[i], buffers[j]));
    }
  }
}

TEST(Memory, AChainTakesTwoBuffers) {
  std::vector<BufferLife> chain;
  for (int i = 0; i < 10; ++i) chain.push_back({1024, i, i + 1});
  EXPECT_EQ(pack(chain), 2048);
}

}  // namespace
}  // namespace onrush
