#include "support.h"

namespace onrush::cpu {
namespace {

constexpr ReduceKind kFolds[] = {ReduceKind::sum, ReduceKind::product, ReduceKind::max,
                                 ReduceKind::min};

template <class T>
T combine(ReduceKind kind, T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    if (kind == ReduceKind::sum) return static_cast<T>(U(a) + U(b));
    if (kind == ReduceKind::product) return static_cast<T>(U(a) * U(b));
  } else {
    if (kind == ReduceKind::sum) return a + b;
    if (kind == ReduceKind::product) return a * b;
  }
  if (a != a || b != b) return a != a ? a : b;
  return kind == ReduceKind::max ? std::max(a, b) : std::min(a, b);
}

// Integers of any size; floats near 1, so that neither sums nor products go far in f32.
template <class T>
std::vector<T> operands(size_t n) {
  if constexpr (std::is_integral_v<T>) return random_values<T>(n);
  std::vector<T> values;
  for (float x : random_floats(n)) values.push_back(static_cast<T>(1 + 0.1f * x));
  return values;
}

TEST(Reduce, AlongATile) {
  for_each_target([] {
    for_each_type([]<class T>() {
      for (ReduceKind kind : kFolds)
        for (size_t n = 0; n <= 140; ++n) {
          SCOPED_TRACE(name(kind));
          const std::vector<T> x = operands<T>(n);
          T start = 3, expected = 3;
          for (T value : x) expected = combine(kind, expected, value);
          reduce_kernel(kind, kComputeOf<T>)(&start, x.data(), n);
          if constexpr (std::is_integral_v<T>) ASSERT_EQ(start, expected) << n;
          else
            ASSERT_NEAR(double(start), double(expected), 1e-5 * std::fabs(double(expected))) << n;
        }
    });
  });
}

TEST(Reduce, AcrossTiles) {
  for_each_target([] {
    for_each_type([]<class T>() {
      for (ReduceKind kind : kFolds)
        for (size_t n = 0; n <= 70; ++n) {
          SCOPED_TRACE(name(kind));
          const std::vector<T> x = random_values<T>(n, 1);
          std::vector<T> sums = random_values<T>(n, 2), expected = sums;
          for (size_t i = 0; i < n; ++i) expected[i] = combine(kind, expected[i], x[i]);
          accumulate_kernel(kind, kComputeOf<T>)(sums.data(), x.data(), n);
          for (size_t i = 0; i < n; ++i) ASSERT_TRUE(identical(sums[i], expected[i])) << i;
        }
    });
  });
}

TEST(Reduce, IdentityChangesNothing) {
  for_each_target([] {
    for_each_type([]<class T>() {
      for (ReduceKind kind : kFolds) {
        std::vector<T> sums(100);
        fill_identity(kind, kComputeOf<T>, sums.data(), sums.size());
        for (T value : awkward_values<T>())
          for (T identity : sums) {
            const T result = combine(kind, identity, value);
            ASSERT_TRUE(result == value || (result != result && value != value)) << value;
          }
      }
    });
  });
}

TEST(Reduce, NanPropagates) {
  for_each_target([] {
    for (ReduceKind kind : {ReduceKind::max, ReduceKind::min})
      for (size_t n = 1; n <= 140; ++n)
        for (size_t at = 0; at < n; at += 3) {
          std::vector<float> x = random_floats(n);
          x[at] = NAN;
          float result = 0;
          reduce_kernel(kind, Compute::f32)(&result, x.data(), n);
          ASSERT_TRUE(std::isnan(result)) << n << " " << at;
        }
  });
}

TEST(Reduce, SumOfAMillionIsAccurate) {
  for_each_target([] {
    if (hwy::SupportedTargets() == HWY_SCALAR) return;
    const std::vector<float> x = random_floats(1 << 20);
    double exact = 0, magnitude = 0;
    float sum = 0;
    for (float value : x) {
      exact += value;
      magnitude += std::fabs(value);
    }
    for (size_t i = 0; i < x.size(); i += 4096)
      reduce_kernel(ReduceKind::sum, Compute::f32)(&sum, x.data() + i, 4096);
    EXPECT_NEAR(sum, exact, 1e-8 * magnitude);
  });
}

template <class T>
bool beats(bool max, T a, T b) {
  if (a != a || b != b) return b == b;
  return max ? a > b : a < b;
}

template <class T>
int64_t exact_arg(bool max, bool last, const std::vector<T>& x) {
  int64_t best = -1;
  for (size_t i = 0; i < x.size(); ++i) {
    const T held = best < 0 ? x[i] : x[static_cast<size_t>(best)];
    if (best < 0 || beats(max, x[i], held) || (last && !beats(max, held, x[i])))
      best = static_cast<int64_t>(i);
  }
  return best;
}

// Few distinct values, so that there are ties; some NaN.
template <class T>
std::vector<T> tied_values(size_t n, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<T> values(n);
  for (T& value : values) {
    value = static_cast<T>(generator() % 5);
    if (std::is_floating_point_v<T> && seed % 3 == 0 && generator() % 40 == 0)
      value = std::numeric_limits<T>::quiet_NaN();
  }
  return values;
}

TEST(ReduceArg, AlongTiles) {
  for_each_target([] {
    for_each_type([]<class T>() {
      for (bool max : {true, false})
        for (bool last : {true, false})
          for (size_t n = 1; n <= 300; n += n < 70 ? 1 : 23) {
            const std::vector<T> x = tied_values<T>(n, n);
            const auto kernel = arg_reduce_kernel(max ? ReduceKind::argmax : ReduceKind::argmin,
                                                  kComputeOf<T>, last);
            T value{};
            int64_t index = -1;
            const size_t half = n / 2;
            kernel(&value, &index, x.data(), 0, half);
            kernel(&value, &index, x.data() + half, static_cast<int64_t>(half), n - half);
            const int64_t expected = exact_arg(max, last, x);
            ASSERT_EQ(index, expected) << max << last << " " << n;
            ASSERT_TRUE(identical(value, x[static_cast<size_t>(expected)]));
          }
    });
  });
}

TEST(ReduceArg, AcrossTiles) {
  constexpr size_t kTiles = 9;
  for_each_target([] {
    for_each_type([]<class T>() {
      for (bool max : {true, false})
        for (bool last : {true, false})
          for (size_t n = 0; n <= 70; ++n) {
            std::vector<T> values(n);
            std::vector<int64_t> indices(n, -1);
            std::vector<std::vector<T>> tiles;
            for (size_t t = 0; t < kTiles; ++t) {
              tiles.push_back(tied_values<T>(n, 3 * (t + n)));
              arg_accumulate_kernel(max ? ReduceKind::argmax : ReduceKind::argmin, kComputeOf<T>,
                                    last)(values.data(), indices.data(), tiles[t].data(),
                                          static_cast<int64_t>(t), n);
            }
            for (size_t i = 0; i < n; ++i) {
              std::vector<T> column;
              for (const auto& tile : tiles) column.push_back(tile[i]);
              ASSERT_EQ(indices[i], exact_arg(max, last, column)) << n << " " << i;
              ASSERT_TRUE(identical(values[i], column[static_cast<size_t>(indices[i])]));
            }
          }
    });
  });
}

}  // namespace
}  // namespace onrush::cpu
