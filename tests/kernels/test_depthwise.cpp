#include "support.h"

namespace onrush::cpu {
namespace {

struct Window {
  int rows, columns, step, dilation;
};

void test_row(Window window, int64_t width, int64_t channels) {
  const auto size = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t image_width =
      (width - 1) * window.step + (window.columns - 1) * window.dilation + 1;
  const std::vector<float> input = random_floats(size(window.rows * image_width * channels), 1);
  const std::vector<float> weights =
      random_floats(size(window.rows * window.columns * channels), 2);
  const std::vector<float> bias = random_floats(size(channels), 3);
  std::vector<DepthwiseRow::WindowRow> rows;
  for (int r = 0; r < window.rows; ++r)
    rows.push_back({input.data() + r * image_width * channels,
                    weights.data() + r * window.columns * channels});
  const bool with_bias = channels % 2 == 0;

  const int64_t out_stride = channels + 3;
  std::vector<float> out(size(width * out_stride), 77.0f);
  depthwise_f32({.rows = rows.data(),
                 .row_count = window.rows,
                 .columns = window.columns,
                 .first_pixel = 0,
                 .first_weight = 0,
                 .pixel_step = window.step * channels,
                 .column_step = window.dilation * channels,
                 .weight_step = channels,
                 .bias = with_bias ? bias.data() : nullptr,
                 .out = out.data(),
                 .out_stride = out_stride,
                 .width = width,
                 .channels = channels,
                 .low = -0.5f,
                 .high = 1.0f});
  for (int64_t x = 0; x < width; ++x)
    for (int64_t c = 0; c < out_stride; ++c) {
      const float actual = out[size(x * out_stride + c)];
      if (c >= channels) {
        ASSERT_EQ(actual, 77.0f);
        continue;
      }
      double sum = with_bias ? bias[size(c)] : 0;
      for (const auto& row : rows)
        for (int j = 0; j < window.columns; ++j) {
          const int64_t pixel = x * window.step + j * window.dilation;
          sum += double(row.pixels[pixel * channels + c]) * row.weights[j * channels + c];
        }
      ASSERT_NEAR(actual, std::clamp(sum, -0.5, 1.0), 1e-5) << x << " " << c;
    }
}

TEST(Depthwise, MatchesTheSum) {
  for_each_target([] {
    for (int columns : {1, 2, 3, 5, 7})
      for (int step : {1, 2, 3})
        for (int dilation : {1, 2})
          for (int64_t width : {1, 2, 3, 4, 7, 9, 20})
            for (int64_t channels : {1, 3, 8, 16, 17, 24, 64, 72, 130})
              test_row({3, columns, step, dilation}, width, channels);
  });
}

TEST(Depthwise, WithoutTapsIsTheBias) {
  for_each_target([] { test_row({0, 3, 1, 1}, 5, 24); });
}

TEST(Depthwise, NanStays) {
  for_each_target([] {
    const float input = NAN, weight = 1;
    const DepthwiseRow::WindowRow row{&input, &weight};
    float out = 0;
    depthwise_f32({.rows = &row,
                   .row_count = 1,
                   .columns = 1,
                   .first_pixel = 0,
                   .first_weight = 0,
                   .pixel_step = 1,
                   .column_step = 1,
                   .weight_step = 1,
                   .bias = nullptr,
                   .out = &out,
                   .out_stride = 1,
                   .width = 1,
                   .channels = 1,
                   .low = 0,
                   .high = 6});
    EXPECT_TRUE(std::isnan(out));
  });
}

}  // namespace
}  // namespace onrush::cpu
