#include <cmath>
#include <gtest/gtest.h>
#include <limits>

#include "engines/accuracy.h"

namespace onrush::engines {
namespace {

Tensor floats(Shape shape, std::vector<float> values) {
  return Tensor::of<float>(DType::f32, std::move(shape), values);
}
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Accuracy, equal_outputs) {
  const Tensor a = floats({2, 2}, {1, -2, kNan, kInf});
  const Difference d = difference(a, a, "y");
  EXPECT_EQ(d.mismatch, "");
  EXPECT_EQ(d.absolute, 0);
  EXPECT_EQ(d.ulps, 0);
  EXPECT_EQ(d.cosine, 1);
  EXPECT_EQ(d.first_nan, "");
}

TEST(Accuracy, figures) {
  const Difference d = difference(floats({2, 2}, {1, 2, 4, 3}), floats({2, 2}, {1, 2, 3, 4}), "y");
  EXPECT_EQ(d.absolute, 1);
  EXPECT_EQ(d.relative, 0.25);
  EXPECT_DOUBLE_EQ(d.cosine, 29.0 / 30);
  EXPECT_EQ(d.top1, 0.5);
  EXPECT_EQ(difference(floats({1}, {std::nextafter(1.0f, 2.0f)}), floats({1}, {1}), "y").ulps, 1);
  EXPECT_EQ(difference(floats({1}, {-0.0f}), floats({1}, {1e-45f}), "y").ulps, 1);
}

TEST(Accuracy, first_nan_has_its_place) {
  const Difference d =
      difference(floats({2, 2}, {1, 2, kNan, kNan}), floats({2, 2}, {1, 2, 3, 4}), "y");
  EXPECT_EQ(d.first_nan, "y [1,0]");
  EXPECT_EQ(d.absolute, 0);
}

TEST(Accuracy, mismatches) {
  const Tensor two = floats({2}, {1, 2});
  EXPECT_EQ(difference(two, floats({1, 2}, {1, 2}), "y").mismatch,
            "y has shape [2] in place of [1,2]");
  const Tensor ints = Tensor::of<int32_t>(DType::i32, {2}, std::vector<int32_t>{1, 2});
  EXPECT_EQ(difference(ints, two, "y").mismatch, "y has type int32 in place of float");
  Tensor doubles(DType::f64, {2});
  doubles.as<double>()[0] = 1, doubles.as<double>()[1] = 2.5;
  EXPECT_EQ(difference(doubles, two, "y").mismatch, "");
  EXPECT_EQ(difference(doubles, two, "y").absolute, 0.5);
  EXPECT_EQ(difference(std::vector{two}, std::vector{two, two}).mismatch,
            "1 outputs in place of 2");
  const Tensor text = Tensor::of_strings({1}, {"a"}), other = Tensor::of_strings({1}, {"b"});
  EXPECT_EQ(difference(text, other, "y").mismatch, "y has other elements");
  EXPECT_EQ(difference(text, text, "y").mismatch, "");
}

TEST(Accuracy, worst_of_all_outputs) {
  const std::vector<Tensor> own = {floats({1}, {1}), floats({1}, {5})};
  const std::vector<Tensor> expected = {floats({1}, {1.5}), floats({1}, {4})};
  EXPECT_EQ(difference(own, expected).absolute, 1);
}

}  // namespace
}  // namespace onrush::engines
