#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "backend/cpu/kernels/gemm_parts.h"
#include "backend/cpu/kernels/gemm_split.h"
#include "base/numeric.h"
#include "support.h"

namespace onrush::cpu {
namespace {

size_t size(int64_t n) { return static_cast<size_t>(n); }

struct Free {
  void operator()(void* p) const { std::free(p); }
};
std::unique_ptr<void, Free> aligned_bytes(int64_t count) {
  return std::unique_ptr<void, Free>(std::aligned_alloc(64, size((count + 63) / 64 * 64)));
}

float rounded_to(DType dtype, float x) {
  return dtype == DType::bf16 ? bf16_to_f32(f32_to_bf16(x)) : x;
}

// B, its panel, and A as a block of the kernel's operand dtype.
struct Problem {
  const GemmKernel& kernel;
  int64_t k;
  int cols;
  std::vector<float> a, b;  // rounded to the operand dtype: [kernel.rows][k], [k][cols]
  int64_t a_stride;
  std::unique_ptr<void, Free> block, panel;

  Problem(const GemmKernel& kernel, int64_t k, int cols)
      : kernel(kernel), k(k), cols(cols), a_stride(kernel.block_stride(k)) {
    a = random_floats(size(kernel.rows * k), 1);
    b = random_floats(size(k * cols), 2);
    const int64_t bytes = bits(kernel.operand) / 8;
    block = aligned_bytes(kernel.rows * a_stride * bytes);
    std::memset(block.get(), 0, size(kernel.rows * a_stride * bytes));
    for (int r = 0; r < kernel.rows; ++r)
      store_kernel(kernel.operand)(block.get(), r * a_stride, 1, a.data() + r * k, size(k));
    panel = aligned_bytes(kernel.panel_size(k) * bytes);
    kernel.pack_b(panel.get(), b.data(), DType::f32, cols, 1, k, cols);
    for (float& x : a) x = rounded_to(kernel.operand, x);
    for (float& x : b) x = rounded_to(kernel.operand, x);
  }

  double exact(int64_t row, int64_t col) const {
    double sum = 0;
    for (int64_t p = 0; p < k; ++p) sum += double(a[size(row * k + p)]) * b[size(p * cols + col)];
    return sum;
  }
};

void test_tile(const Problem& problem, int rows, bool accumulate, const GemmEpilogue* epilogue) {
  const int64_t c_stride = problem.kernel.cols + 5;
  const std::vector<float> before = random_floats(size(rows * c_stride), 3);
  std::vector<float> c = before;
  problem.kernel.run({.rows = rows,
                      .cols = problem.cols,
                      .k = problem.kernel.padded_k(problem.k),
                      .a = problem.block.get(),
                      .a_stride = problem.a_stride,
                      .b = problem.panel.get(),
                      .c = c.data(),
                      .c_stride = c_stride,
                      .accumulate = accumulate,
                      .epilogue = epilogue});
  for (int r = 0; r < rows; ++r)
    for (int64_t j = 0; j < c_stride; ++j) {
      const float actual = c[size(r * c_stride + j)], old = before[size(r * c_stride + j)];
      if (j >= problem.cols) {
        ASSERT_EQ(actual, old) << "beyond the columns";
        continue;
      }
      double expected = problem.exact(r, j) + (accumulate ? old : 0);
      if (epilogue) {
        if (epilogue->bias) expected += epilogue->bias[j];
        if (epilogue->residual)
          expected +=
              static_cast<const float*>(epilogue->residual)[r * epilogue->residual_stride + j];
        expected = std::clamp(expected, double(epilogue->low), double(epilogue->high));
      }
      ASSERT_NEAR(actual, expected, 1e-6 * std::sqrt(double(problem.k)) * 4)
          << "row " << r << " of " << rows << ", column " << j << ", k " << problem.k;
    }
}

// C and a residual of bf16: as in f32, rounded; activations need not be more exact than that.
void test_narrow_tile(const Problem& problem, int rows, Activation activation) {
  const int64_t stride = problem.kernel.cols + 3;
  const auto count = size(rows * stride);
  const std::vector<float> bias = random_floats(size(problem.cols), 3);
  std::vector<uint16_t> narrow(count);
  store_kernel(DType::bf16)(narrow.data(), 0, 1, random_floats(count, 5).data(), count);
  std::vector<float> wide(count), residual(count);
  load_kernel(DType::bf16)(wide.data(), narrow.data(), 0, 1, count);
  residual = wide;
  GemmEpilogue epilogue{.bias = bias.data(),
                        .residual = residual.data(),
                        .residual_stride = stride,
                        .activation = activation};
  GemmTile tile{.rows = rows,
                .cols = problem.cols,
                .k = problem.kernel.padded_k(problem.k),
                .a = problem.block.get(),
                .a_stride = problem.a_stride,
                .b = problem.panel.get(),
                .c = wide.data(),
                .c_stride = stride,
                .epilogue = &epilogue};
  problem.kernel.run(tile);
  // The residual may be C's own memory.
  epilogue.residual = tile.c = narrow.data();
  epilogue.residual_dtype = tile.c_dtype = DType::bf16;
  problem.kernel.run(tile);
  for (size_t i = 0; i < count; ++i) {
    const float expected = rounded_to(DType::bf16, wide[i]);
    const double tolerance =
        activation == Activation::none ? 0 : 1e-6 + 0.008 * std::abs(double(expected));
    ASSERT_NEAR(bf16_to_f32(narrow[i]), expected, tolerance) << "element " << i;
  }
}

void test_kernel(const GemmKernel& kernel) {
  SCOPED_TRACE(kernel.name);
  const GemmScope scope(kernel);
  const std::vector<float> bias = random_floats(64, 4), residual = random_floats(64 * 64, 5);
  const GemmEpilogue relu{.bias = bias.data(), .low = 0};
  const GemmEpilogue clip{.residual = residual.data(), .residual_stride = 64, .low = -1, .high = 2};
  for (int64_t k : {1, 2, 15, 16, 17, 32, 64, 513})
    for (int cols : {1, 5, kernel.cols - 1, kernel.cols}) {
      const Problem problem(kernel, k, cols);
      for (int rows = 1; rows <= kernel.rows; ++rows) {
        test_tile(problem, rows, false, nullptr);
        test_tile(problem, rows, true, nullptr);
        test_tile(problem, rows, false, &relu);
        test_tile(problem, rows, true, &clip);
        test_narrow_tile(problem, rows, Activation::none);
        for (Activation activation :
             {Activation::silu, Activation::hard_swish, Activation::gelu, Activation::gelu_tanh})
          test_narrow_tile(problem, rows, activation);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
}

TEST(Gemm, F32) {
  for_each_target([] { test_kernel(gemm_f32()); });
}

TEST(Gemm, Bf16) {
  const std::optional<GemmKernel> kernel = gemm_bf16();
  if (!kernel) GTEST_SKIP() << "no bf16 on this machine";
  for_each_target([&] { test_kernel(*kernel); });
}

TEST(Gemm, Bf16WithoutAmx) {
  const std::optional<GemmKernel> kernel = gemm_bf16_dot();
  if (!kernel) GTEST_SKIP() << "no AVX512_BF16 on this machine";
  test_kernel(*kernel);
}

// --- 8-bit integers

std::vector<uint8_t> random_bytes(size_t n, unsigned seed) {
  std::mt19937 generator(seed);
  std::vector<uint8_t> bytes(n);
  for (uint8_t& x : bytes) x = static_cast<uint8_t>(generator());
  // The extremes of both kinds, which add up to the largest sums.
  for (size_t i = 0; i < n; i += 3) bytes[i] = i % 2 == 0 ? 255 : 128;
  return bytes;
}
int as_number(DType dtype, uint8_t byte) {
  return dtype == DType::u8 ? int{byte} : int{static_cast<int8_t>(byte)};
}

void test_integers(const GemmKernel& kernel, int64_t k, int cols) {
  const std::vector<uint8_t> a = random_bytes(size(kernel.rows * k), 1),
                             b = random_bytes(size(k * cols), 2);
  const int64_t a_stride = kernel.block_stride(k), c_stride = kernel.cols + 3;
  const auto block = aligned_bytes(kernel.rows * a_stride);
  std::memset(block.get(), 0, size(kernel.rows * a_stride));
  for (int64_t r = 0; r < kernel.rows; ++r)
    std::memcpy(static_cast<uint8_t*>(block.get()) + r * a_stride, a.data() + r * k, size(k));
  const auto panel = aligned_bytes(kernel.panel_size(k));
  kernel.pack_b(panel.get(), b.data(), kernel.rhs, cols, 1, k, cols);
  for (int rows = 1; rows <= kernel.rows; ++rows) {
    std::vector<int32_t> c(size(rows * c_stride), 12345);
    kernel.run({.rows = rows,
                .cols = cols,
                .k = kernel.padded_k(k),
                .a = block.get(),
                .a_stride = a_stride,
                .b = panel.get(),
                .c = c.data(),
                .c_stride = c_stride});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < c_stride; ++j) {
        int32_t expected = j < cols ? 0 : 12345;
        for (int64_t p = 0; j < cols && p < k; ++p)
          expected += as_number(kernel.operand, a[size(r * k + p)]) *
                      as_number(kernel.rhs, b[size(p * cols + j)]);
        ASSERT_EQ(c[size(r * c_stride + j)], expected)
            << "row " << r << " of " << rows << ", column " << j << ", k " << k;
      }
  }
}

void test_integer_packing(const GemmKernel& kernel) {
  for (int64_t k : {1, 3, 4, 64, 67, 130})
    for (int n : {1, 7, kernel.cols}) {
      const std::vector<uint8_t> b = random_bytes(size(k * n), 7);
      const auto panel_of = [&](int64_t k_stride, int64_t n_stride, DType dtype) {
        std::vector<uint8_t> memory(size(k * n) * 16);
        for (int64_t p = 0; p < k; ++p)
          for (int j = 0; j < n; ++j)
            store_i64(dtype, memory.data(), p * k_stride + j * n_stride,
                      as_number(kernel.rhs, b[size(p * n + j)]));
        const int64_t bytes = kernel.panel_size(k);
        const auto panel = aligned_bytes(bytes);
        std::memset(panel.get(), 0xff, size(bytes));
        kernel.pack_b(panel.get(), memory.data(), dtype, k_stride, n_stride, k, n);
        const auto* first = static_cast<const uint8_t*>(panel.get());
        return std::vector<uint8_t>(first, first + bytes);
      };
      const std::vector<uint8_t> expected = panel_of(n, 1, kernel.rhs);
      ASSERT_EQ(panel_of(1, k, kernel.rhs), expected) << k << " " << n;
      ASSERT_EQ(panel_of(n + 3, 1, kernel.rhs), expected) << k << " " << n;
      ASSERT_EQ(panel_of(2 * n, 2, kernel.rhs), expected) << k << " " << n;
      ASSERT_EQ(panel_of(1, k, DType::i32), expected) << k << " " << n;
    }
}

void test_integers(const GemmKernel& kernel) {
  SCOPED_TRACE(kernel.name);
  const GemmScope scope(kernel);
  for (int64_t k : {1, 3, 4, 63, 64, 65, 200})
    for (int cols : {1, kernel.cols / 2, kernel.cols - 1, kernel.cols}) {
      test_integers(kernel, k, cols);
      if (testing::Test::HasFatalFailure()) return;
    }
  test_integer_packing(kernel);
}

TEST(Gemm, Integers) {
  for (DType lhs : {DType::u8, DType::i8})
    for (DType rhs : {DType::u8, DType::i8}) {
      if (const auto kernel = gemm_int8_amx(lhs, rhs)) test_integers(*kernel);
      if (const auto kernel = gemm_int8_vnni(lhs, rhs)) test_integers(*kernel);
      for_each_target([&] { test_integers(gemm_int8_plain(lhs, rhs)); });
    }
}

// Quantisation after sums, to the neighbour and saturating, of some rows and columns.
TEST(Gemm, IntegerEpilogue) {
  constexpr int kRows = 5;
  std::vector<int32_t> sums(kRows * 48);
  std::mt19937 generator(1);
  for (int32_t& x : sums) x = static_cast<int32_t>(generator()) / 100000;
  const std::vector<float> scale = random_floats(32, 2), bias = random_floats(32, 3);
  const std::vector<uint8_t> residual = random_bytes(kRows * 40, 4);
  using Kind = IntegerStage::Kind;
  const float step = 0.37f;
  const IntegerStage stages[] = {{.kind = Kind::to_f32},
                                 {.kind = Kind::multiply_columns, .columns = scale.data()},
                                 {.kind = Kind::add_columns, .columns = bias.data()},
                                 {.kind = Kind::maximum, .low = -100},
                                 quantise_stage(3, 100, 0, 255),
                                 {.kind = Kind::dequantise, .scale = 0.5f, .zero = 100},
                                 {.kind = Kind::add_all,
                                  .dtype = DType::u8,
                                  .scale = 0.1f,
                                  .zero = 7,
                                  .all = residual.data(),
                                  .row_stride = 40},
                                 quantise_stage(step, 10, -128, 127)};
  for_each_target([&] {
    for (int columns : {1, 15, 16, 17, 32}) {
      std::vector<int8_t> out(kRows * 40, 77);
      finish_integers({.product = sums.data(),
                       .product_stride = 48,
                       .rows = kRows,
                       .columns = columns,
                       .first_row = 0,
                       .stages = stages,
                       .out = out.data(),
                       .out_stride = 40,
                       .dtype = DType::i8});
      for (int r = 0; r < kRows; ++r)
        for (int j = 0; j < 40; ++j) {
          float x = float(sums[size(r * 48 + j)]) * scale[size(j % 32)] + bias[size(j % 32)];
          x = std::clamp(std::nearbyint(std::max(x, -100.0f) / 3) + 100, 0.0f, 255.0f);
          x = (x - 100) * 0.5f + (float(residual[size(r * 40 + j)]) - 7) * 0.1f;
          x = std::clamp(std::nearbyint(x / step) + 10, -128.0f, 127.0f);
          ASSERT_NEAR(out[size(r * 40 + j)], j < columns ? x : 77, j < columns ? 1 : 0);
        }
    }
  });
}

// f32 on matrix units: as accurate as the vector units.
void test_split(const SplitGemm& gemm, int64_t k, int rows, int cols) {
  const GemmKernel f32 = gemm_f32();
  const std::vector<float> a = random_floats(size(rows * k), 1),
                           b = random_floats(size(k * cols), 2);
  const auto panel = aligned_bytes(f32.panel_size(k) * 4);
  f32.pack_b(panel.get(), b.data(), DType::f32, cols, 1, k, cols);
  const auto units = aligned_bytes(SplitGemm::units(rows) * SplitGemm::unit_bytes(k));
  const auto split = aligned_bytes(SplitGemm::panel_bytes(k));
  ASSERT_TRUE(gemm.split_a(units.get(), a.data(), k, rows, k));
  ASSERT_TRUE(gemm.split_b(split.get(), static_cast<float*>(panel.get()), k));
  const std::vector<float> bias = random_floats(size(cols), 3);
  const GemmEpilogue epilogue{.bias = bias.data(), .low = 0};
  std::vector<float> c(size(rows * cols), 1.0f);
  gemm.run({.rows = rows,
            .cols = cols,
            .k = k,
            .a = units.get(),
            .a_stride = SplitGemm::unit_bytes(k),
            .b = split.get(),
            .c = c.data(),
            .c_stride = cols,
            .accumulate = true,
            .epilogue = &epilogue});
  for (int r = 0; r < rows; ++r)
    for (int j = 0; j < cols; ++j) {
      double expected = 1 + bias[size(j)];
      for (int64_t p = 0; p < k; ++p)
        expected += double(a[size(r * k + p)]) * b[size(p * cols + j)];
      ASSERT_NEAR(c[size(r * cols + j)], std::max(0.0, expected),
                  5e-7 * std::sqrt(double(k)) + 2e-7)
          << "row " << r << " of " << rows << ", column " << j << ", k " << k;
    }
}

TEST(Gemm, Split) {
  const SplitGemm* gemm = split_gemm();
  if (!gemm) GTEST_SKIP() << "no matrix units on this machine";
  const GemmScope scope(*gemm);
  for (int64_t k : {1, 2, 31, 32, 33, 100, 1000})
    for (int rows : {1, 15, 16, 17, 31, 32})
      for (int cols : {1, 16, 31, 32}) {
        test_split(*gemm, k, rows, cols);
        if (testing::Test::HasFatalFailure()) return;
      }
}

TEST(Gemm, SplitKnowsWhatDoesNotSplit) {
  const SplitGemm* gemm = split_gemm();
  if (!gemm) GTEST_SKIP() << "no matrix units on this machine";
  const auto memory = aligned_bytes(SplitGemm::panel_bytes(40));
  const auto panel = aligned_bytes(40 * SplitGemm::kCols * 4);
  auto* values = static_cast<float*>(panel.get());
  for (float last : {1e38f, 2e38f, -2e38f, HUGE_VALF, -HUGE_VALF, NAN}) {
    std::fill_n(values, 40 * SplitGemm::kCols, 1.0f);
    values[39] = last;
    EXPECT_EQ(gemm->split_a(memory.get(), values, 40, 1, 40), last == 1e38f) << last;
    values[39] = 1;
    values[40 * SplitGemm::kCols - 1] = last;
    EXPECT_EQ(gemm->split_b(memory.get(), values, 40), last == 1e38f) << last;
  }
}

// A residual that lies in C itself.
TEST(Gemm, ResidualInPlace) {
  for_each_target([] {
    const GemmKernel kernel = gemm_f32();
    const Problem problem(kernel, 40, kernel.cols);
    std::vector<float> c(size(kernel.rows * kernel.cols), 2.0f);
    const GemmEpilogue epilogue{.residual = c.data(), .residual_stride = kernel.cols};
    kernel.run({.rows = kernel.rows,
                .cols = kernel.cols,
                .k = 40,
                .a = problem.block.get(),
                .a_stride = problem.a_stride,
                .b = problem.panel.get(),
                .c = c.data(),
                .c_stride = kernel.cols,
                .epilogue = &epilogue});
    for (int r = 0; r < kernel.rows; ++r)
      for (int j = 0; j < kernel.cols; ++j)
        ASSERT_NEAR(c[size(r * kernel.cols + j)], problem.exact(r, j) + 2, 1e-4);
  });
}

// Every way to stride B gives the panel of the plain one.
void test_packing(const GemmKernel& kernel, DType dtype) {
  SCOPED_TRACE(kernel.name);
  const int64_t operand_bytes = bits(kernel.operand) / 8;
  for (int64_t k : {1, 2, 31, 64, 65, 130})
    for (int n : {1, 7, kernel.cols / 2, kernel.cols}) {
      const std::vector<float> b = random_floats(size(k * n), 7);
      const auto panel_of = [&](int64_t k_stride, int64_t n_stride) {
        std::vector<uint16_t> memory(size(k * n) * 16);
        for (int64_t p = 0; p < k; ++p)
          for (int j = 0; j < n; ++j)
            store_f64(dtype, memory.data(), p * k_stride + j * n_stride, b[size(p * n + j)]);
        const int64_t bytes = kernel.panel_size(k) * operand_bytes;
        const auto panel = aligned_bytes(bytes);
        std::memset(panel.get(), 0xff, size(bytes));
        kernel.pack_b(panel.get(), memory.data(), dtype, k_stride, n_stride, k, n);
        const auto* first = static_cast<const uint8_t*>(panel.get());
        return std::vector<uint8_t>(first, first + bytes);
      };
      const std::vector<uint8_t> expected = panel_of(n, 1);
      ASSERT_EQ(panel_of(1, k), expected) << k << " " << n;
      ASSERT_EQ(panel_of(n + 3, 1), expected) << k << " " << n;
      ASSERT_EQ(panel_of(1, k + 1), expected) << k << " " << n;
      ASSERT_EQ(panel_of(2 * n, 2), expected) << k << " " << n;
    }
}

TEST(Gemm, PacksAnyStrideAndDtype) {
  for_each_target([] {
    for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      test_packing(gemm_f32(), dtype);
      if (const auto kernel = gemm_bf16()) test_packing(*kernel, dtype);
      if (const auto kernel = gemm_bf16_dot()) test_packing(*kernel, dtype);
    }
  });
}

}  // namespace
}  // namespace onrush::cpu
