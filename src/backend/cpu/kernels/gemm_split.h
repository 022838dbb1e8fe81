// Products of f32 on matrix units that multiply bf16.
//
// Every f32 x is the sum of three bf16: high + middle + low, exactly, where high is x rounded and
// middle is what is left rounded. Of the nine products of two such sums the six largest are added;
// the other three are below 2^-26 of the whole, less than the rounding of one f32 product. Sums are
// f32. On AMX this is more than twice as fast as the vector units.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels/gemm.h"

namespace onrush::cpu {

// Multiplies blocks of rows by the panels of gemm_f32(), 32 columns wide. Both are split first.
struct SplitGemm {
  static constexpr int kRows = 32;      // of C, at most, in one run
  static constexpr int kTileRows = 16;  // rows are done in units of so many
  static constexpr int kCols = 32;
  static constexpr int64_t kStep = 32;  // of k; zeros are added up to a multiple

  // Both give false, and rubbish, if an element is infinite, NaN, or at least 2^127: then its parts
  // do not stand for it.
  // Rows to units [rows / 16][k / 32][part][16][32]; rows beyond the last are left as they are.
  bool (*split_a)(void* split, const float* a, int64_t a_stride, int64_t rows, int64_t k);
  // A panel [k][32] to [k / 32][part][half][16 pairs of k][16 columns][2].
  bool (*split_b)(void* split, const float* panel, int64_t k);

  // The pixels of an image to [pixel][k / 32][part][32], pixels `out_bytes` apart.
  bool (*split_pixels)(void* split, int64_t out_bytes, const float* a, int64_t a_stride,
                       int64_t pixels, int64_t k);

  // As GemmKernel's, with `a` at a unit of rows and a_stride the bytes from unit to unit.
  void (*begin)();
  void (*end)();
  void (*run)(const GemmTile& tile);
  // As GemmKernel's.
  void (*multiply_pixels)(const PixelRows& rows, void* product);

  static constexpr int64_t units(int64_t rows) { return (rows + kTileRows - 1) / kTileRows; }
  static constexpr int64_t pixel_bytes(int64_t k) { return steps(k) * 3 * kStep * 2; }
  static constexpr int64_t steps(int64_t k) { return (k + kStep - 1) / kStep; }
  static constexpr int64_t unit_bytes(int64_t k) { return steps(k) * 3 * kTileRows * kStep * 2; }
  static constexpr int64_t panel_bytes(int64_t k) { return steps(k) * 3 * kCols * kStep * 2; }
};

// For this machine; null if it has no matrix units. The first call asks the operating system for
// the use of AMX by this process.
const SplitGemm* split_gemm();

}  // namespace onrush::cpu
