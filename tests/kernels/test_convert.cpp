// Between compute types, and to the precision or range of a dtype.
#include "base/numeric.h"
#include "support.h"

namespace onrush::cpu {
namespace {

template <class To, class From>
To exact(From x) {
  if constexpr (std::is_integral_v<From> || std::is_floating_point_v<To>) {
    return static_cast<To>(x);
  } else {
    const auto wide = static_cast<double>(x);
    if (std::is_same_v<To, uint64_t> && wide >= 0x1p63)
      return static_cast<To>(wide >= 0x1p64 ? UINT64_MAX : static_cast<uint64_t>(wide));
    if (std::isnan(wide) || wide < -0x1p63) return static_cast<To>(INT64_MIN);
    return static_cast<To>(wide >= 0x1p63 ? INT64_MAX : static_cast<int64_t>(wide));
  }
}

TEST(Convert, EveryPairOfTypes) {
  for_each_target([] {
    for_each_type([]<class From>() {
      std::vector<From> x = awkward_values<From>();
      const std::vector<From> more = random_values<From>(2000);
      x.insert(x.end(), more.begin(), more.end());
      for_each_type([&]<class To>() {
        std::vector<To> y(x.size());
        convert_kernel(kComputeOf<From>, kComputeOf<To>)(y.data(), x.data(), x.size());
        for (size_t i = 0; i < x.size(); ++i)
          ASSERT_TRUE(identical(y[i], exact<To>(x[i]))) << x[i] << " gives " << y[i];
      });
    });
  });
}

TEST(Convert, RoundsToThePrecisionOfADtype) {
  std::vector<float> x = awkward_values<float>();
  for (int i = 0; i < 4000; ++i)  // numbers with many ties
    x.push_back(std::ldexp(static_cast<float>(i % 400 - 200) + 0.5f, i % 40 - 30));
  for_each_target([&] {
    for (DType dtype : {DType::f16, DType::bf16, DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2,
                        DType::f8e5m2fnuz, DType::f8e8m0, DType::f4e2m1})
      for (bool saturate : {true, false}) {
        SCOPED_TRACE(name(dtype));
        std::vector<float> y(x.size());
        round_kernel(dtype, saturate)(y.data(), x.data(), x.size());
        for (size_t i = 0; i < x.size(); ++i) {
          const float expected =
              dtype == DType::f16    ? f16_to_f32(f32_to_f16(x[i]))
              : dtype == DType::bf16 ? bf16_to_f32(f32_to_bf16(x[i]))
              : dtype == DType::f4e2m1
                  ? small_float_to_f32(dtype, f32_to_small_float(dtype, x[i]))
                  : small_float_to_f32(dtype, f32_to_small_float(dtype, x[i], saturate));
          ASSERT_TRUE(identical(y[i], expected)) << x[i] << " gives " << y[i];
        }
      }
  });
  EXPECT_EQ(round_kernel(DType::f32), nullptr);
}

template <class T>
void test_wrap(DType dtype) {
  SCOPED_TRACE(name(dtype));
  const std::vector<T> x = awkward_values<T>();
  std::vector<T> y(x.size());
  wrap_kernel(dtype)(y.data(), x.data(), x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    uint64_t memory = 0;
    store_i64(dtype, &memory, 0, static_cast<int64_t>(x[i]));
    ASSERT_EQ(y[i], static_cast<T>(load_i64(dtype, &memory, 0))) << x[i];
  }
}

TEST(Convert, WrapsToTheRangeOfADtype) {
  for_each_target([] {
    for (DType dtype :
         {DType::i8, DType::u8, DType::i16, DType::u16, DType::i4, DType::u4, DType::i2, DType::u2})
      test_wrap<int32_t>(dtype);
    test_wrap<int64_t>(DType::u32);
  });
  for (DType dtype : {DType::i32, DType::i64, DType::u64, DType::boolean, DType::f32})
    EXPECT_EQ(wrap_kernel(dtype), nullptr);
}

}  // namespace
}  // namespace onrush::cpu
