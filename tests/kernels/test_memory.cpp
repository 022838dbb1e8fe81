// Loads and stores against base/numeric.h, transposing copies.
#include <cstring>

#include "base/numeric.h"
#include "support.h"

namespace onrush::cpu {
namespace {

constexpr DType kDTypes[] = {DType::f32,        DType::f64,      DType::u8,         DType::i8,
                             DType::u16,        DType::i16,      DType::i32,        DType::u32,
                             DType::i64,        DType::u64,      DType::boolean,    DType::f16,
                             DType::bf16,       DType::f8e4m3fn, DType::f8e4m3fnuz, DType::f8e5m2,
                             DType::f8e5m2fnuz, DType::f8e8m0,   DType::f4e2m1,     DType::u4,
                             DType::i4,         DType::u2,       DType::i2};

constexpr int64_t kElements = 4 * 70 + 20;

std::vector<uint8_t> random_bytes(size_t count) {
  std::mt19937 generator(5);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(generator());
  return bytes;
}

// Calls f.operator()<T>() with the compute type of a dtype.
template <class F>
void visit_value(DType dtype, F f) {
  for_each_type([&]<class T>() {
    if (kComputeOf<T> == compute_of(dtype)) f.template operator()<T>();
  });
}

template <class T>
T expected_value(DType dtype, const void* data, int64_t index) {
  if constexpr (std::is_floating_point_v<T>) return static_cast<T>(load_f64(dtype, data, index));
  else return static_cast<T>(load_i64(dtype, data, index));
}

TEST(Memory, LoadsEveryDtypeAtEveryStride) {
  const std::vector<uint8_t> bytes = random_bytes(8 * kElements);
  for_each_target([&] {
    for (DType dtype : kDTypes)
      visit_value(dtype, [&]<class T>() {
        SCOPED_TRACE(name(dtype));
        for (int64_t stride : {0, 1, 2, 3, 4, -1, -2})
          for (size_t n = 0; n <= 70; ++n) {
            const int64_t offset = stride < 0 ? kElements - 1 : static_cast<int64_t>(n % 5);
            std::vector<T> out(n + 1, T{42});
            load_kernel(dtype)(out.data(), bytes.data(), offset, stride, n);
            for (size_t i = 0; i < n; ++i) {
              const auto expected =
                  expected_value<T>(dtype, bytes.data(), offset + static_cast<int64_t>(i) * stride);
              ASSERT_TRUE(identical(out[i], expected)) << stride << " " << n << " " << i;
            }
            ASSERT_EQ(out[n], T{42});
          }
      });
  });
}

TEST(Memory, GathersEveryDtype) {
  const std::vector<uint8_t> bytes = random_bytes(8 * kElements);
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i < 70; ++i) offsets.push_back(i * 37 % kElements);
  for_each_target([&] {
    for (DType dtype : kDTypes)
      visit_value(dtype, [&]<class T>() {
        SCOPED_TRACE(name(dtype));
        std::vector<T> out(70);
        gather_kernel(dtype)(out.data(), bytes.data(), offsets.data(), 70);
        for (size_t i = 0; i < 70; ++i)
          ASSERT_TRUE(identical(out[i], expected_value<T>(dtype, bytes.data(), offsets[i])));
      });
  });
}

template <class T>
void store_expected(DType dtype, void* data, int64_t index, T value) {
  if constexpr (std::is_floating_point_v<T>)
    store_f64(dtype, data, index, static_cast<double>(value));
  else store_i64(dtype, data, index, static_cast<int64_t>(value));
}

// Compared as values, since NaN has many codes; untouched elements keep their bits.
TEST(Memory, StoresEveryDtypeAtEveryStride) {
  const std::vector<uint8_t> before = random_bytes(8 * kElements);
  for_each_target([&] {
    for (DType dtype : kDTypes)
      visit_value(dtype, [&]<class T>() {
        SCOPED_TRACE(name(dtype));
        std::vector<T> values = awkward_values<T>();
        for (int64_t stride : {1, 2, 3, -1, -2})
          for (size_t n = 0; n <= 70; ++n) {
            const int64_t offset = stride < 0 ? kElements - 1 : static_cast<int64_t>(n % 5);
            std::vector<T> x(n);
            for (size_t i = 0; i < n; ++i) x[i] = values[(i + n) % values.size()];
            std::vector<uint8_t> actual = before, expected = before;
            store_kernel(dtype)(actual.data(), offset, stride, x.data(), n);
            for (size_t i = 0; i < n; ++i)
              store_expected(dtype, expected.data(), offset + static_cast<int64_t>(i) * stride,
                             x[i]);
            for (int64_t i = 0; i < kElements; ++i)
              ASSERT_TRUE(identical(expected_value<T>(dtype, actual.data(), i),
                                    expected_value<T>(dtype, expected.data(), i)))
                  << stride << " " << n << " " << i;
          }
      });
  });
}

TEST(Memory, StoresWithoutSaturation) {
  const float x[] = {1e9f, -1e9f, 1.0f};
  uint8_t out[3];
  store_kernel(DType::f8e5m2, false)(out, 0, 1, x, 3);
  EXPECT_EQ(small_float_to_f32(DType::f8e5m2, out[0]), INFINITY);
  EXPECT_EQ(small_float_to_f32(DType::f8e5m2, out[1]), -INFINITY);
  store_kernel(DType::f8e4m3fn, false)(out, 0, 1, x, 3);
  EXPECT_TRUE(std::isnan(small_float_to_f32(DType::f8e4m3fn, out[0])));
  EXPECT_EQ(small_float_to_f32(DType::f8e4m3fn, out[2]), 1.0f);
}

TEST(Memory, Transposes) {
  for_each_target([] {
    for (int bytes : {1, 2, 4, 8})
      for (int64_t rows : {0, 1, 3, 4, 7, 8, 15, 16, 17, 33, 50})
        for (int64_t cols : {0, 1, 2, 4, 5, 8, 16, 19, 32, 41}) {
          const int64_t src_stride = cols + 3, dst_stride = rows + 2;
          const auto src = random_bytes(static_cast<size_t>((rows + 1) * src_stride * bytes));
          const std::vector<uint8_t> before(static_cast<size_t>((cols + 1) * dst_stride * bytes),
                                            9);
          std::vector<uint8_t> dst = before, expected = before;
          transpose_copy(dst.data(), dst_stride, src.data(), src_stride, rows, cols, bytes);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c)
              std::memcpy(&expected[static_cast<size_t>((c * dst_stride + r) * bytes)],
                          &src[static_cast<size_t>((r * src_stride + c) * bytes)],
                          static_cast<size_t>(bytes));
          ASSERT_EQ(dst, expected) << bytes << ": " << rows << " x " << cols;
        }
  });
}

}  // namespace
}  // namespace onrush::cpu
