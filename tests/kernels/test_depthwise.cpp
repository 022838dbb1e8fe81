#include "support.h"

namespace onrush::cpu {
namespace {

void test_row(int tap_count, int64_t width, int64_t channels, int sliding_columns = 0) {
  const auto size = [](int64_t n) { return static_cast<size_t>(n); };
  constexpr int64_t kRows = 7;  // distinct input pixels, the last one of zeros
  std::vector<float> input = random_floats(size(kRows * channels), 1);
  std::fill(input.end() - channels, input.end(), 0.0f);
  const std::vector<float> weights = random_floats(size(tap_count * channels), 2);
  const std::vector<float> bias = random_floats(size(channels), 3);
  std::vector<const float*> taps;
  for (int64_t x = 0; x < width; ++x)
    for (int t = 0; t < tap_count; ++t) {
      const int64_t place = sliding_columns ? x + t % sliding_columns + t / sliding_columns * 3
                                            : (x * tap_count + t) * 5;
      taps.push_back(input.data() + place % kRows * channels);
    }
  const bool with_bias = channels % 2 == 0;

  const int64_t out_stride = channels + 3;
  std::vector<float> out(size(width * out_stride), 77.0f);
  depthwise_f32({.taps = taps.data(),
                 .weights = weights.data(),
                 .bias = with_bias ? bias.data() : nullptr,
                 .out = out.data(),
                 .out_stride = out_stride,
                 .tap_count = tap_count,
                 .width = width,
                 .channels = channels,
                 .low = -0.5f,
                 .high = 1.0f,
                 .sliding_columns = sliding_columns});
  for (int64_t x = 0; x < width; ++x)
    for (int64_t c = 0; c < out_stride; ++c) {
      const float actual = out[size(x * out_stride + c)];
      if (c >= channels) {
        ASSERT_EQ(actual, 77.0f);
        continue;
      }
      double sum = with_bias ? bias[size(c)] : 0;
      for (int t = 0; t < tap_count; ++t)
        sum += double(taps[size(x * tap_count + t)][c]) * weights[size(t * channels + c)];
      ASSERT_NEAR(actual, std::clamp(sum, -0.5, 1.0), 1e-5) << x << " " << c;
    }
}

TEST(Depthwise, MatchesTheSum) {
  for_each_target([] {
    for (int tap_count : {1, 9, 25})
      for (int64_t width : {1, 2, 3, 4, 7, 9})
        for (int64_t channels : {1, 3, 8, 16, 17, 24, 64, 120, 130})
          test_row(tap_count, width, channels);
  });
}

TEST(Depthwise, MatchesTheSumWhereTheWindowSlides) {
  for_each_target([] {
    for (int columns : {1, 2, 3, 5, 7})
      for (int64_t width : {1, 2, 3, 4, 7, 9, 20})
        for (int64_t channels : {1, 8, 17, 40, 72}) test_row(3 * columns, width, channels, columns);
  });
}

TEST(Depthwise, NanStays) {
  for_each_target([] {
    const float input = NAN, weight = 1;
    const float* tap = &input;
    float out = 0;
    depthwise_f32({.taps = &tap,
                   .weights = &weight,
                   .bias = nullptr,
                   .out = &out,
                   .out_stride = 1,
                   .tap_count = 1,
                   .width = 1,
                   .channels = 1,
                   .low = 0,
                   .high = 6});
    EXPECT_TRUE(std::isnan(out));
  });
}

}  // namespace
}  // namespace onrush::cpu
