#include "support.h"

namespace onrush::cpu {
namespace {

struct Window {
  int rows, columns, step, dilation;
};

// Elements in memory as `dtype`, and `values` rounded to it.
std::vector<uint16_t> stored(DType dtype, std::vector<float>& values) {
  std::vector<uint16_t> memory(values.size() * 2);
  store_kernel(dtype)(memory.data(), 0, 1, values.data(), values.size());
  load_kernel(dtype)(values.data(), memory.data(), 0, 1, values.size());
  return memory;
}

void test_row(Window window, int64_t width, int64_t channels, DType dtype = DType::f32) {
  const auto size = [](int64_t n) { return static_cast<size_t>(n); };
  const int64_t image_width =
      (width - 1) * window.step + (window.columns - 1) * window.dilation + 1;
  std::vector<float> input = random_floats(size(window.rows * image_width * channels), 1);
  // No more than there is: reading beyond it is an error that a sanitizer finds.
  std::vector<uint16_t> memory = stored(dtype, input);
  memory.resize(input.size() * (dtype == DType::f32 ? 2 : 1));
  memory.shrink_to_fit();
  const std::vector<float> weights =
      random_floats(size(window.rows * window.columns * channels), 2);
  const std::vector<float> bias = random_floats(size(channels), 3);
  std::vector<DepthwiseRow::WindowRow> rows;
  for (int r = 0; r < window.rows; ++r)
    rows.push_back({memory.data() + r * image_width * channels * (dtype == DType::f32 ? 2 : 1),
                    weights.data() + r * window.columns * channels});
  const bool with_bias = channels % 2 == 0;

  const int64_t out_stride = channels + 3;
  std::vector<float> out(size(width * out_stride), 77.0f);
  depthwise_f32({.rows = rows.data(),
                 .row_count = window.rows,
                 .pixel_dtype = dtype,
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
      for (int r = 0; r < window.rows; ++r)
        for (int j = 0; j < window.columns; ++j) {
          const int64_t pixel = r * image_width + x * window.step + j * window.dilation;
          sum +=
              double(input[size(pixel * channels + c)]) * rows[size(r)].weights[j * channels + c];
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

TEST(Depthwise, PixelsOfBf16) {
  for_each_target([] {
    for (int columns : {2, 3, 5})
      for (int step : {1, 2})
        for (int64_t width : {3, 9})
          for (int64_t channels : {3, 16, 24, 130})
            test_row({3, columns, step, 1}, width, channels, DType::bf16);
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
