// Parts of a bound contraction; shared by its source files only.
#pragma once

#include <optional>
#include <span>

#include "backend/cpu/contraction_kernel.h"

namespace onrush::cpu {

// The address at an index of every axis.
inline int64_t dot(const ConcreteAffine& a, const int64_t* index, int axes) {
  int64_t sum = a.offset;
  for (int i = 0; i < axes; ++i) sum += a.stride[static_cast<size_t>(i)] * index[i];
  return sum;
}

enum AxisKind : uint8_t { kBatch, kM, kN, kK };

// A kernel of the contraction together with its axes by kind.
struct ContractionPart {
  TileKernel kernel;
  std::vector<int> axes[4];  // by AxisKind, outer first
  int64_t extent[4] = {1, 1, 1, 1};

  ContractionPart(const Loops& loops, const SizeTable& sizes, std::span<const uint8_t> kinds,
                  int column);

  // Writes the index of each axis of `kind` for a flat position.
  void place(int64_t* index, AxisKind kind, int64_t position) const;
  // Row table for `rows` consecutive positions of `kind`; other axes as in `base`.
  void rows(int64_t* table, const int64_t* base, AxisKind kind, int64_t first, int64_t rows) const;
  // Extent of the innermost axis of a kind, 1 if there is none.
  int64_t inner_extent(AxisKind kind) const;
};

// The epilogue clamp(accumulator + bias + residual), stored as f32: done in registers.
struct SimpleEpilogue {
  int output = -1, bias = -1, residual = -1;  // buffers; -1: none
  ConcreteAffine output_address, bias_address, residual_address;
  float low, high;
};

// Recognised where `column` is the axis kind whose elements lie side by side.
std::optional<SimpleEpilogue> simple_epilogue(const Loops& epilogue, const SizeTable& sizes,
                                              const ContractionPart& part, AxisKind column);

struct ContractionKernel::Impl {
  ContractionPart lhs, rhs, epilogue;
  int64_t batch = 1, m = 1, n = 1, k = 1;
  bool depthwise = false;
  GemmKernel gemm;
  std::optional<SimpleEpilogue> simple;

  // How a pure-load left operand is copied: for each outer index of k, where its run of columns
  // starts and what it adds to the bounded indices.
  struct Copies {
    int64_t run = 1;  // elements side by side in the block
    int64_t stride = 1;
    size_t bounds = 0;
    std::vector<int64_t> offsets, bound_offsets, extents;
    std::vector<int32_t> all_inside;
  };
  std::optional<Copies> copies;

  Impl(const Contraction& contraction, const SizeTable& sizes, const GemmKernel& kernel);
  int64_t panels() const { return (n + gemm.cols - 1) / gemm.cols; }

  void plan_copies();
  // Rows of the left operand as f32, and as the matrix kernel reads them. Strides count elements.
  struct Rows {
    const float* data;
    int64_t stride;
  };
  struct Block {
    const void* memory;
    int64_t row_bytes, stride;
    const char* row(int64_t r) const { return static_cast<const char*>(memory) + r * row_bytes; }
  };
  std::optional<Rows> direct_rows(int64_t batch_index, int64_t first, void* const* buffers) const;
  Rows load_rows(int64_t batch_index, int64_t first, int64_t rows, void* const* buffers) const;
  Block load_block(int64_t batch_index, int64_t first, int64_t rows, void* const* buffers) const;
  int64_t padded_rows(int64_t rows) const {
    return (rows + gemm.row_multiple - 1) / gemm.row_multiple * gemm.row_multiple;
  }
  int64_t panel_bytes() const { return gemm.panel_size(k) * bits(gemm.operand) / 8; }

  void copy_block(float* block, int64_t stride, int64_t batch_index, int64_t first, int64_t rows,
                  void* const* buffers) const;
  void compute_block(const ContractionPart& part, AxisKind row_kind, float* block, int64_t stride,
                     int64_t batch_index, int64_t first, int64_t rows, void* const* buffers) const;
  void pack_panel(int64_t batch_index, int64_t panel, void* const* buffers, char* packed) const;
  void pack_depthwise(void* const* buffers, float* packed) const;

  void run_gemm(ThreadPool& pool, void* const* lhs_buffers, const char* packed,
                void* const* epilogue_buffers) const;
  void run_block(int64_t batch_index, int64_t m_first, int64_t m_last, int64_t panel_first,
                 int64_t panel_last, void* const* lhs_buffers, const char* packed,
                 void* const* epilogue_buffers) const;
  void run_epilogue(const float* tile, int64_t tile_stride, int64_t batch_index, int64_t m_first,
                    int64_t rows, int64_t n_first, int64_t cols, void* const* buffers) const;
  void run_depthwise(ThreadPool& pool, void* const* lhs_buffers, const float* packed,
                     void* const* epilogue_buffers) const;
  void depthwise_row(int64_t row, void* const* lhs_buffers, const float* packed,
                     void* const* epilogue_buffers) const;
  bool can_run_depthwise() const;
};

}  // namespace onrush::cpu
