#include <gtest/gtest.h>
#include <unistd.h>
#include <vector>

#include "measure/process.h"

namespace onrush::measure {
namespace {

TEST(Process, memory_grows_with_what_is_touched) {
  constexpr size_t kBytes = size_t{64} << 20;
  const ResidentMemory before = resident_memory();
  {
    std::vector<char> block(kBytes, 1);
    EXPECT_GT(resident_memory(getpid()).now, before.now + kBytes / 2) << block[kBytes / 2];
  }
  EXPECT_GT(resident_memory().peak, before.now + kBytes / 2);
}

TEST(Process, processor_time_is_counted) {
  const ProcessorUse machine;
  const double before = processor_seconds(getpid());
  const Stopwatch watch;
  while (watch.seconds() < 0.2) {
  }
  EXPECT_GT(processor_seconds(getpid()), before);
  EXPECT_GT(machine.use().busy, 0.1);
  EXPECT_EQ(resident_memory(-1).now, 0u);
}

}  // namespace
}  // namespace onrush::measure
