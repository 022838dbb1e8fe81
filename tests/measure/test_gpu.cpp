#include <cstdlib>
#include <gtest/gtest.h>

#include "measure/gpu.h"

namespace onrush::measure {
namespace {

std::vector<GpuSample> samples(std::vector<double> clocks, uint64_t reasons = 0) {
  std::vector<GpuSample> result;
  for (const double mhz : clocks)
    result.push_back({.sm_mhz = mhz, .watts = 300, .throttle_reasons = reasons});
  return result;
}

TEST(Gpu, steady_clocks_are_no_reason_for_a_warning) {
  EXPECT_TRUE(remarks({}).empty());
  EXPECT_EQ(remarks(samples({1980, 1980, 1950})),
            std::vector<std::string>{"GPU: clock 1953 to 1980 MHz, 300 W at most"});
}

TEST(Gpu, throttling_is_named) {
  const auto texts = remarks(samples({1980, 1980, 1200}, 0x4 | 0x20));
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_EQ(texts[1], "the GPU's clock changed during the measurement");
  EXPECT_EQ(texts[2], "the GPU was slowed down by the power limit and the temperature");
}

TEST(Gpu, idle_samples_do_not_count) {
  auto all = samples({1980, 1980});
  all.push_back({.sm_mhz = 345, .throttle_reasons = 0x1});
  EXPECT_EQ(remarks(all).size(), 1u);
}

// The library that is opened in this process; fake_nvml.cpp has one GPU.
const int set = setenv("ONRUSH_NVML", FAKE_NVML, 1);

TEST(Gpu, is_read_through_nvml) {
  ASSERT_EQ(set, 0);
  const std::optional<Gpu> gpu = Gpu::open("0000:17:00.0");
  ASSERT_TRUE(gpu);
  EXPECT_EQ(gpu->name(), "Fake");
  EXPECT_EQ(gpu->used_bytes(), 30u);
  EXPECT_EQ(gpu->top_sm_mhz(), 1980);
  const GpuSample sample = gpu->sample();
  EXPECT_EQ(sample.sm_mhz, 1500);
  EXPECT_EQ(sample.memory_mhz, 2600);
  EXPECT_EQ(sample.watts, 321);
  EXPECT_EQ(sample.celsius, 0);  // which it does not tell
  EXPECT_EQ(throttle_text(sample.throttle_reasons), "the power limit");
}

TEST(Gpu, is_watched) {
  const GpuWatch watch(*Gpu::open("0000:17:00.0"));
  while (watch.samples().empty()) std::this_thread::yield();
  EXPECT_EQ(watch.samples()[0].watts, 321);
}

TEST(Gpu, one_that_is_not_there) { EXPECT_FALSE(Gpu::open("ffff:ff:1f.0")); }

}  // namespace
}  // namespace onrush::measure
