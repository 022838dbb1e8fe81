#include "ir/ops.h"
#include "support.h"

namespace onrush::cpu {
namespace {

struct FloatCase {
  Op op;
  double (*exact)(double);
  double ulp;  // allowed in f32
};

double round_half_even(double x) { return std::nearbyint(x); }
double negate(double x) { return -x; }
double magnitude(double x) { return std::fabs(x); }
double sign(double x) { return std::isnan(x) ? x : (x > 0) - (x < 0); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

const FloatCase kFloatCases[] = {
    {Op::neg, negate, 0},       {Op::abs, magnitude, 0},     {Op::sign, sign, 0},
    {Op::ceil, std::ceil, 0},   {Op::floor, std::floor, 0},  {Op::round, round_half_even, 0},
    {Op::trunc, std::trunc, 0}, {Op::sqrt, std::sqrt, 0.5},  {Op::exp, std::exp, 1},
    {Op::expm1, std::expm1, 2}, {Op::log, std::log, 1},      {Op::log1p, std::log1p, 2},
    {Op::sin, std::sin, 2},     {Op::cos, std::cos, 2},      {Op::tan, std::tan, 3},
    {Op::asin, std::asin, 3},   {Op::acos, std::acos, 2},    {Op::atan, std::atan, 3},
    {Op::sinh, std::sinh, 3},   {Op::cosh, std::cosh, 2},    {Op::tanh, std::tanh, 2.5},
    {Op::asinh, std::asinh, 2}, {Op::acosh, std::acosh, 2},  {Op::atanh, std::atanh, 3},
    {Op::erf, std::erf, 1},     {Op::sigmoid, sigmoid, 2.5},
};

std::vector<float> arguments() {
  std::vector<float> values = awkward_values<float>();
  const std::vector<float> more = random_values<float>(20000);
  values.insert(values.end(), more.begin(), more.end());
  return values;
}

TEST(Unary, F32IsWithinItsBound) {
  const std::vector<float> x = arguments();
  for_each_target([&] {
    for (const FloatCase& test : kFloatCases) {
      SCOPED_TRACE(name(test.op));
      std::vector<float> y(x.size());
      unary_kernel(test.op, Compute::f32)(y.data(), x.data(), x.size());
      double worst = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        const double error = ulp_error(y[i], test.exact(x[i]));
        worst = std::max(worst, error);
        ASSERT_LE(error, test.ulp) << "at " << x[i] << " gives " << y[i];
      }
      RecordProperty(std::string(name(test.op)), std::to_string(worst));
    }
  });
}

TEST(Unary, F32KeepsTheSignOfZero) {
  for_each_target([] {
    for (Op op : {Op::neg, Op::ceil, Op::floor, Op::round, Op::trunc, Op::sqrt, Op::expm1,
                  Op::log1p, Op::sin, Op::tan, Op::asin, Op::atan, Op::sinh, Op::tanh, Op::asinh,
                  Op::atanh, Op::erf}) {
      SCOPED_TRACE(name(op));
      const float zeros[] = {0.0f, -0.0f};
      float y[2];
      unary_kernel(op, Compute::f32)(y, zeros, 2);
      EXPECT_EQ(y[0], 0);
      EXPECT_EQ(y[1], 0);
      EXPECT_EQ(std::signbit(y[0]), op == Op::neg);
      EXPECT_EQ(std::signbit(y[1]), op != Op::neg);
    }
  });
}

TEST(Unary, F64IsTheLibrarys) {
  std::vector<double> x = awkward_values<double>();
  const std::vector<double> more = random_values<double>(1000);
  x.insert(x.end(), more.begin(), more.end());
  for_each_target([&] {
    for (const FloatCase& test : kFloatCases) {
      SCOPED_TRACE(name(test.op));
      std::vector<double> y(x.size());
      unary_kernel(test.op, Compute::f64)(y.data(), x.data(), x.size());
      for (size_t i = 0; i < x.size(); ++i) {
        const double expected = test.exact(x[i]);
        const bool close = test.op == Op::sigmoid &&
                           (std::fabs(y[i] - expected) <= 1e-15 * expected || expected < 1e-300);
        ASSERT_TRUE(close || identical(y[i], expected)) << "at " << x[i] << " gives " << y[i];
      }
    }
  });
}

template <class T>
T exact_integer(Op op, T x) {
  using U = std::make_unsigned_t<T>;
  switch (op) {
    case Op::neg: return static_cast<T>(U{0} - U(x));
    case Op::abs: return x < 0 ? static_cast<T>(U{0} - U(x)) : x;
    case Op::sign: return x == 0 ? 0 : x < 0 ? static_cast<T>(-1) : 1;
    case Op::bit_not: return static_cast<T>(~x);
    default: return x;
  }
}

TEST(Unary, Integers) {
  for_each_target([] {
    for_each_type([]<class T>() {
      if constexpr (std::is_integral_v<T>) {
        std::vector<T> x = awkward_values<T>();
        for (Op op :
             {Op::neg, Op::abs, Op::sign, Op::bit_not, Op::ceil, Op::floor, Op::round, Op::trunc}) {
          SCOPED_TRACE(name(op));
          std::vector<T> y(x.size());
          unary_kernel(op, kComputeOf<T>)(y.data(), x.data(), x.size());
          for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], exact_integer(op, x[i])) << x[i];
        }
        EXPECT_EQ(unary_kernel(Op::exp, kComputeOf<T>), nullptr);
      }
    });
  });
}

TEST(Unary, IsNan) {
  for_each_target([] {
    for_each_type([]<class T>() {
      const std::vector<T> x = awkward_values<T>();
      std::vector<int32_t> y(x.size());
      unary_kernel(Op::is_nan, kComputeOf<T>)(y.data(), x.data(), x.size());
      for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], x[i] != x[i] ? 1 : 0);
    });
  });
}

// Every length, in place, and nothing written beyond.
TEST(Unary, EveryLength) {
  for_each_target([] {
    for (Op op : {Op::neg, Op::exp, Op::sin, Op::floor})
      for (size_t n = 0; n <= 70; ++n) {
        std::vector<float> x = random_floats(80), all(80);
        unary_kernel(op, Compute::f32)(all.data(), x.data(), 80);
        std::vector<float> y = x;
        unary_kernel(op, Compute::f32)(y.data(), y.data(), n);
        for (size_t i = 0; i < 80; ++i) ASSERT_EQ(y[i], i < n ? all[i] : x[i]) << n << " " << i;
      }
  });
}

}  // namespace
}  // namespace onrush::cpu
