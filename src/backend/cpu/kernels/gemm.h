// Matrix multiplication of register tiles: the innermost loops of dot and conv.
//
// C[rows x cols] (+)= A[rows x k] * B[k x cols], with rows <= kernel.rows and cols <= kernel.cols.
// A lies row by row with any row stride (elements of a row are adjacent), B in a panel that
// pack_b made, sums are f32, those of 8-bit integers i32. The caller loops over panels, row blocks
// and k chunks so that a panel's chunk stays in the L2 cache and a block of A in L1.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "backend/cpu/kernels/activation.h"
#include "backend/cpu/kernels/integer_epilogue.h"
#include <onrush/dtype.h>

namespace onrush::cpu {

// What happens to C on its way out of the registers:
// C = f(A * B (+ C if accumulate) + bias + residual), where f is the activation or, if there is
// none, clamps to [low, high]. NaN stays NaN.
struct GemmEpilogue {
  const float* bias = nullptr;     // [cols], or null
  const void* residual = nullptr;  // [rows x cols], may be C's own memory, or null
  int64_t residual_stride = 0;
  DType residual_dtype = DType::f32;  // or bf16
  Activation activation = Activation::none;
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

struct GemmTile {
  int rows;       // 1 .. kernel.rows
  int cols;       // 1 .. kernel.cols: columns of C that exist; the panel has kernel.cols regardless
  int64_t k;      // a multiple of kernel.k_multiple
  const void* a;  // kernel.operand [rows][a_stride]
  int64_t a_stride;
  // Of f32 kernels: where the elements of a row of A are, counted from its beginning; null: side by
  // side.
  const int64_t* a_offsets = nullptr;
  const void* b;  // a panel at the row where this chunk of k begins, 64-byte aligned
  void* c;
  int64_t c_stride;
  DType c_dtype = DType::f32;              // or bf16, rounded to nearest even; i32 of integers
  bool accumulate = false;                 // adds to what C holds, f32
  const GemmEpilogue* epilogue = nullptr;  // null: none
  // Of integers; null: C is the sums. C's first row is row `first_row` of the epilogue's.
  const IntegerEpilogue* integer_epilogue = nullptr;
  int64_t first_row = 0;
  // What the caller reads next (the following panel): the kernel may fetch it meanwhile.
  const void* next = nullptr;
  int64_t next_bytes = 0;
};

// Rows of A that are pixels of an image: row r of the first 16 is `row_bytes` * r after first[0],
// those of the second 16 likewise after first[1]. Step s of k is offsets[s] bytes into a row, and
// so far into the panel as its number says.
struct PixelRows {
  const char* first[2];
  int64_t row_bytes;
  const int64_t* offsets;
  int64_t steps;
  const void* b;
  int cols;
};

// One kernel: its sizes and its functions. All strides count elements.
struct GemmKernel {
  const char* name;  // "f32 avx512 14x32"
  DType operand;     // of A: f32, bf16, u8 or s8
  DType rhs;         // of B, in the panel: operand, or the other one of u8 and s8
  int rows;          // largest row count of a tile (MR)
  int cols;          // columns of a panel (NR)
  int k_multiple;    // k is padded to this with zeros in A and in the panel
  int row_multiple;  // A is readable (any finite value) up to a multiple of this many rows

  // A thread calls begin before the first run of a loop nest and end after the last: matrix units
  // have state to set up (some 50 ns) and give back. Other libraries may be called in between only
  // after end. See GemmScope.
  void (*begin)();
  void (*end)();
  void (*run)(const GemmTile& tile);

  // Finishes a tile from sums, as its epilogue says; for any number of rows. product:
  // [tile.rows][stride] of f32, or i32 from integers.
  void (*finish)(const GemmTile& tile, const void* product, int64_t stride);

  // product[32][32] = 32 rows of pixels times a panel; columns beyond the first 16 are done if
  // `cols` is above 16. A step is k_multiple of k. Null: not there.
  void (*multiply_pixels)(const PixelRows& rows, void* product) = nullptr;

  // Writes n elements of a row of A, f32 or for integers i32, as `operand`: rounded to nearest
  // even; of integers the low bits. Null for f32.
  void (*round_a)(void* out, const void* a, int64_t n);

  // Writes the panel of columns 0 .. n-1 of B, n <= cols: element (p, j) is
  // b[p * k_stride + j * n_stride] for p < k. Rows up to padded_k(k) and columns up to `cols`
  // become zero. `dtype` is that of b (f32, bf16, f16 or whatever load_kernel reads as f32; for
  // integers `rhs`, or i32 of which the low bits count); it is rounded to `rhs`. Fast where one of
  // the strides is 1.
  void (*pack_b)(void* panel, const void* b, DType dtype, int64_t k_stride, int64_t n_stride,
                 int64_t k, int n);

  bool is_integer() const { return onrush::is_integer(operand); }
  DType product() const { return is_integer() ? DType::i32 : DType::f32; }
  int64_t operand_bytes() const { return bits(operand) / 8; }
  int64_t padded_k(int64_t k) const { return (k + k_multiple - 1) / k_multiple * k_multiple; }
  // Elements (of `operand`) of a panel of k rows, and where its row p begins; p a multiple of
  // k_multiple.
  int64_t panel_size(int64_t k) const { return padded_k(k) * cols; }
  int64_t panel_offset(int64_t p) const { return p * cols; }
  // A row stride for copied blocks of A: whole cache lines, an odd number of them, so that rows do
  // not compete for the same cache sets.
  int64_t block_stride(int64_t k) const {
    const int64_t line = 64 * 8 / bits(operand);
    return ((padded_k(k) + line - 1) / line | 1) * line;
  }
};

// For f32 operands on this machine.
GemmKernel gemm_f32();

// For bf16 operands, accumulated in f32 (denormals count as zero): AMX, else AVX512_BF16, else
// nothing. The first call asks the operating system for the use of AMX by this process.
std::optional<GemmKernel> gemm_bf16();

// For 8-bit integers, u8 or s8 each, summed exactly as i32 (modulo 2^32): AMX, else AVX512_VNNI,
// else the vector units.
GemmKernel gemm_int8(DType lhs, DType rhs);

// GemmKernel::finish of the kernels for floats.
void finish_tile(const GemmTile& tile, const void* product, int64_t stride);

// The address so many elements of a whole number of bytes further.
inline char* advance(void* at, DType dtype, int64_t elements) {
  return static_cast<char*>(at) + elements * (bits(dtype) / 8);
}
inline const char* advance(const void* at, DType dtype, int64_t elements) {
  return advance(const_cast<void*>(at), dtype, elements);
}

// begin and end of a kernel (or of SplitGemm) on this thread.
class GemmScope {
 public:
  explicit GemmScope(const auto& kernel) : end_(kernel.end) { kernel.begin(); }
  ~GemmScope() { end_(); }
  GemmScope(const GemmScope&) = delete;
  GemmScope& operator=(const GemmScope&) = delete;

 private:
  void (*end_)();
};

}  // namespace onrush::cpu
