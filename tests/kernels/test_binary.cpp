#include <algorithm>
#include <cstring>

#include "ir/ops.h"
#include "support.h"

namespace onrush::cpu {
namespace {

constexpr Op kArithmetic[] = {Op::add, Op::sub, Op::mul, Op::div, Op::rem,
                              Op::mod, Op::pow, Op::min, Op::max};
constexpr Op kBitwise[] = {Op::bit_and, Op::bit_or, Op::bit_xor, Op::shift_left, Op::shift_right};
constexpr Op kComparisons[] = {Op::equal, Op::less, Op::less_equal};

// Operand pairs: every awkward value with every other, then random ones.
template <class T>
struct Pairs {
  std::vector<T> a, b;
  Pairs() {
    const std::vector<T> values = awkward_values<T>();
    for (T x : values)
      for (T y : values) add(x, y);
    const std::vector<T> x = random_values<T>(4000, 2), y = random_values<T>(4000, 3);
    for (size_t i = 0; i < x.size(); ++i) add(x[i], y[i]);
  }
  void add(T x, T y) {
    a.push_back(x);
    b.push_back(y);
  }
};

double exact_float(Op op, double a, double b) {
  switch (op) {
    case Op::add: return a + b;
    case Op::sub: return a - b;
    case Op::mul: return a * b;
    case Op::div: return a / b;
    case Op::rem: return std::fmod(a, b);
    case Op::mod: {
      const double r = std::fmod(a, b);
      if (r == 0) return std::copysign(r, b);
      return (r < 0) != (b < 0) ? r + b : r;
    }
    case Op::pow: return std::pow(a, b);
    case Op::min: return std::isnan(a) || a < b ? a : b;
    case Op::max: return std::isnan(a) || a > b ? a : b;
    default: ADD_FAILURE(); return 0;
  }
}

template <class T>
T exact_integer(Op op, T a, T b) {
  using U = std::make_unsigned_t<T>;
  using Wide = __int128;
  constexpr U kBits = 8 * sizeof(T);
  switch (op) {
    case Op::add: return static_cast<T>(U(a) + U(b));
    case Op::sub: return static_cast<T>(U(a) - U(b));
    case Op::mul: return static_cast<T>(U(a) * U(b));
    case Op::div: return b == 0 ? T{0} : static_cast<T>(Wide{a} / Wide{b});
    case Op::rem: return b == 0 ? T{0} : static_cast<T>(Wide{a} % Wide{b});
    case Op::mod: return b == 0 ? T{0} : static_cast<T>((Wide{a} % Wide{b} + Wide{b}) % Wide{b});
    case Op::min: return std::min(a, b);
    case Op::max: return std::max(a, b);
    case Op::bit_and: return a & b;
    case Op::bit_or: return a | b;
    case Op::bit_xor: return a ^ b;
    case Op::shift_left: return U(b) < kBits ? static_cast<T>(U(a) << U(b)) : T{0};
    case Op::shift_right:
      return U(b) < kBits ? static_cast<T>(a >> b) : a < 0 ? static_cast<T>(-1) : T{0};
    case Op::pow: {
      if (std::is_signed_v<T> && b < 0) return a == 1 ? 1 : U(a) == U(-1) ? (b % 2 ? a : T{1}) : 0;
      U result = 1, square = static_cast<U>(a);
      for (U e = static_cast<U>(b); e != 0; e /= 2, square *= square)
        if (e % 2) result *= square;
      return static_cast<T>(result);
    }
    default: ADD_FAILURE(); return 0;
  }
}

template <class T>
void expect_near(Op op, T a, T b, T value) {
  if constexpr (std::is_same_v<T, float>) {
    const double exact = exact_float(op, a, b);
    // A modulo of a tiny negative and a large number rounds once more in f32.
    const double allowed = op == Op::pow || op == Op::mod ? 1 : 0.5;
    ASSERT_LE(ulp_error(value, exact), allowed) << a << " " << b << " gives " << value;
    if (value == 0) {
      ASSERT_EQ(std::signbit(value), std::signbit(exact)) << a << " " << b;
    }
  } else if constexpr (std::is_same_v<T, double>) {
    ASSERT_TRUE(identical(value, exact_float(op, a, b))) << a << " " << b << " gives " << value;
  } else {
    ASSERT_EQ(value, exact_integer(op, a, b)) << a << " " << b;
  }
}

template <class T>
void test_arithmetic(Op op, const Pairs<T>& pairs) {
  SCOPED_TRACE(name(op));
  std::vector<T> out(pairs.a.size());
  binary_kernel(op, kComputeOf<T>)(out.data(), pairs.a.data(), pairs.b.data(), out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    expect_near(op, pairs.a[i], pairs.b[i], out[i]);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Binary, Arithmetic) {
  for_each_target([] {
    for_each_type([]<class T>() {
      const Pairs<T> pairs;
      for (Op op : kArithmetic) test_arithmetic(op, pairs);
      if constexpr (std::is_integral_v<T>)
        for (Op op : kBitwise) test_arithmetic(op, pairs);
      else
        for (Op op : kBitwise) EXPECT_EQ(binary_kernel(op, kComputeOf<T>), nullptr);
    });
  });
}

TEST(Binary, Comparisons) {
  for_each_target([] {
    for_each_type([]<class T>() {
      const Pairs<T> pairs;
      std::vector<int32_t> out(pairs.a.size());
      for (Op op : kComparisons) {
        SCOPED_TRACE(name(op));
        binary_kernel(op, kComputeOf<T>)(out.data(), pairs.a.data(), pairs.b.data(), out.size());
        for (size_t i = 0; i < out.size(); ++i) {
          const T a = pairs.a[i], b = pairs.b[i];
          const bool expected = op == Op::equal ? a == b : op == Op::less ? a < b : a <= b;
          ASSERT_EQ(out[i], expected) << a << " " << b;
        }
      }
    });
  });
}

// One operand repeated by hand gives the same bits. Powers with a special exponent may differ by
// their own rounding.
template <class T>
void test_splat(Op op, const std::vector<T>& values) {
  SCOPED_TRACE(name(op));
  const bool comparison = class_of(op) == OpClass::comparison;
  using Out = std::vector<T>;
  for (T one : values) {
    const std::vector<T> repeated(values.size(), one);
    Out plain(values.size()), splat(values.size());
    const auto check = [&] {
      if (comparison) {
        ASSERT_EQ(std::memcmp(plain.data(), splat.data(), values.size() * sizeof(int32_t)), 0);
        return;
      }
      const bool power = std::is_same_v<T, float> && op == Op::pow;
      for (size_t i = 0; i < values.size(); ++i)
        ASSERT_TRUE(identical(plain[i], splat[i]) ||
                    (power && ulp_error(static_cast<float>(splat[i]), double(plain[i])) <= 2))
            << values[i] << " and " << one << ": " << plain[i] << " " << splat[i];
    };
    constexpr Compute type = kComputeOf<T>;
    binary_kernel(op, type)(plain.data(), values.data(), repeated.data(), values.size());
    binary_kernel(op, type, Splat::b)(splat.data(), values.data(), &one, values.size());
    check();
    binary_kernel(op, type)(plain.data(), repeated.data(), values.data(), values.size());
    binary_kernel(op, type, Splat::a)(splat.data(), &one, values.data(), values.size());
    check();
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(Binary, Splat) {
  for_each_target([] {
    for_each_type([]<class T>() {
      const std::vector<T> values = awkward_values<T>();
      for (Op op : kArithmetic) test_splat(op, values);
      for (Op op : kComparisons) test_splat(op, values);
      if constexpr (std::is_integral_v<T>)
        for (Op op : kBitwise) test_splat(op, values);
    });
  });
}

TEST(Binary, EveryLength) {
  for_each_target([] {
    for (Op op : {Op::add, Op::max, Op::pow, Op::mod})
      for (size_t n = 0; n <= 70; ++n) {
        const std::vector<float> a = random_floats(80, 1), b = random_floats(80, 2);
        std::vector<float> all(80), out = a, reversed = b;
        binary_kernel(op, Compute::f32)(all.data(), a.data(), b.data(), 80);
        binary_kernel(op, Compute::f32)(out.data(), out.data(), b.data(), n);
        binary_kernel(op, Compute::f32)(reversed.data(), a.data(), reversed.data(), n);
        for (size_t i = 0; i < 80; ++i) {
          ASSERT_TRUE(identical(out[i], i < n ? all[i] : a[i])) << n << " " << i;
          ASSERT_TRUE(identical(reversed[i], i < n ? all[i] : b[i])) << n << " " << i;
        }
      }
  });
}

TEST(Binary, MultiplyAdd) {
  for_each_target([] {
    for (size_t n = 0; n <= 70; ++n) {
      const std::vector<float> a = random_floats(n, 1), b = random_floats(n, 2),
                               c = random_floats(n, 3);
      std::vector<float> out(n + 1, 7.0f);
      multiply_add_kernel()(out.data(), a.data(), b.data(), c.data(), n);
      for (size_t i = 0; i < n; ++i)
        ASSERT_NEAR(out[i], double(a[i]) * b[i] + c[i], 2e-7) << n << " " << i;
      ASSERT_EQ(out[n], 7.0f);
    }
  });
}

TEST(Select, PicksByCondition) {
  for_each_target([] {
    for_each_type([]<class T>() {
      const std::vector<T> a = random_values<T>(70, 1), b = random_values<T>(70, 2);
      for (size_t n = 0; n <= 70; ++n) {
        std::vector<int32_t> condition(n);
        for (size_t i = 0; i < n; ++i) condition[i] = static_cast<int32_t>(i % 3) - 1;
        std::vector<T> out(n);
        select_kernel(kComputeOf<T>)(out.data(), condition.data(), a.data(), b.data(), n);
        for (size_t i = 0; i < n; ++i)
          ASSERT_TRUE(identical(out[i], condition[i] ? a[i] : b[i])) << i;
      }
    });
  });
}

}  // namespace
}  // namespace onrush::cpu
