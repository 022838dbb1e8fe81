#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/pack.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>
#include <cstring>

#include "hwy/highway.h"
//
#include "backend/cpu/kernels/gemm_parts.h"
#include "backend/cpu/kernels/half-inl.h"
#include "backend/cpu/kernels/memory.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {

// pairs[j] = bf16(even[j]) in the low half, bf16(odd[j]) in the high half.
void interleave_bf16(uint32_t* pairs, const float* even, const float* odd, int n) {
  for (int j = 0; j < n; ++j)
    pairs[j] = uint32_t{to_bf16(even[j])} | uint32_t{to_bf16(odd[j])} << 16;
}

// quads[j] = the bytes j of four rows, the first one lowest.
void interleave_bytes(uint8_t* quads, const uint8_t* const* rows, int n) {
  int j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<uint8_t, 16> tag;
  const auto lanes = int(hn::Lanes(tag));
  for (; j + lanes <= n; j += lanes)
    hn::StoreInterleaved4(hn::LoadU(tag, rows[0] + j), hn::LoadU(tag, rows[1] + j),
                          hn::LoadU(tag, rows[2] + j), hn::LoadU(tag, rows[3] + j), tag,
                          quads + 4 * j);
#endif
  for (; j < n; ++j)
    for (int i = 0; i < 4; ++i) quads[4 * j + i] = rows[i][j];
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(interleave_bf16);
HWY_EXPORT(interleave_bytes);
namespace {

constexpr int kMaxCols = 64;    // of any kernel's panel
constexpr int64_t kChunk = 64;  // rows of the panel made at a time from columns of B

// B as f32.
struct Source {
  const void* b;
  DType dtype;
  int64_t k_stride, n_stride;
  LoadKernel load = load_kernel(dtype);

  // Row p, columns 0 .. n-1.
  void row(float* out, int64_t p, int n) const {
    load(out, b, p * k_stride, n_stride, static_cast<size_t>(n));
  }
  // Column j, rows p .. p+count-1.
  void column(float* out, int j, int64_t p, int64_t count) const {
    load(out, b, j * n_stride + p * k_stride, k_stride, static_cast<size_t>(count));
  }
  bool has_adjacent_rows() const { return k_stride == 1 && n_stride != 1; }
};

void pack_columns_f32(float* panel, int cols, const Source& source, int64_t k, int n) {
  alignas(64) float scratch[kMaxCols * kChunk];
  if (n < cols) std::memset(panel, 0, static_cast<size_t>(k * cols) * sizeof(float));
  for (int64_t p = 0; p < k; p += kChunk) {
    const int64_t count = std::min(kChunk, k - p);
    const float* from = static_cast<const float*>(source.b) + p;
    int64_t stride = source.n_stride;
    if (source.dtype != DType::f32) {
      for (int j = 0; j < n; ++j) source.column(scratch + j * kChunk, j, p, count);
      from = scratch;
      stride = kChunk;
    }
    transpose_copy(panel + p * cols, cols, from, stride, n, count, sizeof(float));
  }
}

// The panel as rows of `cols` pairs.
void pack_columns_bf16(uint32_t* panel, int cols, const Source& source, int64_t k, int n) {
  alignas(64) uint16_t scratch[kMaxCols * kChunk];
  alignas(64) float column[kChunk];
  const StoreKernel store = store_kernel(DType::bf16);
  for (int64_t p = 0; p < k; p += kChunk) {
    const int64_t count = std::min(kChunk, k - p);
    for (int j = 0; j < n; ++j) {
      source.column(column, j, p, count);
      if (count % 2 != 0) column[count] = 0;
      store(scratch, j * kChunk, 1, column, static_cast<size_t>(count + count % 2));
    }
    transpose_copy(panel + p / 2 * cols, cols, scratch, kChunk / 2, n, (count + 1) / 2,
                   sizeof(uint32_t));
  }
}

void pack_rows_bf16(uint32_t* panel, int cols, const Source& source, int64_t k, int n) {
  alignas(64) float even[kMaxCols], odd[kMaxCols];
  for (int64_t p = 0; p < k; p += 2) {
    source.row(even, p, n);
    if (p + 1 < k) source.row(odd, p + 1, n);
    else std::fill_n(odd, n, 0.0f);
    HWY_DYNAMIC_DISPATCH(interleave_bf16)(panel + p / 2 * cols, even, odd, n);
  }
}

// B as bytes.
struct ByteSource {
  const void* b;
  DType dtype;  // of 8 bits, or i32
  int64_t k_stride, n_stride;

  void copy(uint8_t* out, int64_t offset, int64_t stride, int64_t n) const {
    if (dtype == DType::i32) {
      const auto* from = static_cast<const int32_t*>(b) + offset;
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(from[i * stride]);
      return;
    }
    const auto* from = static_cast<const uint8_t*>(b) + offset;
    if (stride == 1) return void(std::memcpy(out, from, static_cast<size_t>(n)));
    for (int64_t i = 0; i < n; ++i) out[i] = from[i * stride];
  }
};

void pack_columns_int8(uint8_t* panel, int cols, const ByteSource& source, int64_t k, int n) {
  alignas(64) uint8_t scratch[kMaxCols * kChunk];
  for (int64_t p = 0; p < k; p += kChunk) {
    const int64_t count = std::min(kChunk, k - p), quads = (count + 3) / 4;
    for (int j = 0; j < n; ++j) {
      source.copy(scratch + j * kChunk, j * source.n_stride + p, 1, count);
      std::memset(scratch + j * kChunk + count, 0, static_cast<size_t>(quads * 4 - count));
    }
    transpose_copy(panel + p * cols, cols, scratch, kChunk / 4, n, quads, sizeof(uint32_t));
  }
}

void pack_rows_int8(uint8_t* panel, int cols, const ByteSource& source, int64_t k, int n) {
  alignas(64) uint8_t scratch[4][kMaxCols];
  const bool in_place = source.dtype != DType::i32 && source.n_stride == 1;
  for (int64_t p = 0; p < k; p += 4) {
    const uint8_t* rows[4];
    for (int i = 0; i < 4; ++i) {
      rows[i] = scratch[i];
      if (p + i >= k) std::memset(scratch[i], 0, kMaxCols);
      else if (in_place)
        rows[i] = static_cast<const uint8_t*>(source.b) + (p + i) * source.k_stride;
      else source.copy(scratch[i], (p + i) * source.k_stride, source.n_stride, n);
    }
    HWY_DYNAMIC_DISPATCH(interleave_bytes)(panel + p * cols, rows, n);
  }
}

}  // namespace

void pack_panel_int8(uint8_t* panel, int cols, int64_t padded_k, const void* b, DType dtype,
                     int64_t k_stride, int64_t n_stride, int64_t k, int n) {
  const ByteSource source{b, dtype, k_stride, n_stride};
  const int64_t full = n < cols ? 0 : k / 4 * 4;  // of k, without padding
  std::memset(panel + full * cols, 0, static_cast<size_t>((padded_k - full) * cols));
  if (k_stride == 1 && n_stride != 1) return pack_columns_int8(panel, cols, source, k, n);
  pack_rows_int8(panel, cols, source, k, n);
}

void pack_panel_f32(float* panel, int cols, const void* b, DType dtype, int64_t k_stride,
                    int64_t n_stride, int64_t k, int n) {
  const Source source{b, dtype, k_stride, n_stride};
  if (source.has_adjacent_rows()) return pack_columns_f32(panel, cols, source, k, n);
  for (int64_t p = 0; p < k; ++p) {
    float* row = panel + p * cols;
    source.row(row, p, n);
    std::fill(row + n, row + cols, 0.0f);
  }
}

void pack_panel_bf16(uint16_t* panel, int cols, int64_t padded_k, const void* b, DType dtype,
                     int64_t k_stride, int64_t n_stride, int64_t k, int n) {
  const Source source{b, dtype, k_stride, n_stride};
  auto* pairs = reinterpret_cast<uint32_t*>(panel);
  const int64_t full = n < cols ? 0 : k / 2;  // rows of pairs without padding
  std::memset(pairs + full * cols, 0,
              static_cast<size_t>((padded_k / 2 - full) * cols) * sizeof(uint32_t));
  if (source.has_adjacent_rows()) return pack_columns_bf16(pairs, cols, source, k, n);
  pack_rows_bf16(pairs, cols, source, k, n);
}

}  // namespace onrush::cpu
#endif
