#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/transpose.cpp"
#include "hwy/foreach_target.h"
//
#include <cstring>

#include "base/check.h"
#include "hwy/highway.h"
//
#include "backend/cpu/kernels/memory.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
struct Matrix {
  T* data;
  int64_t stride;
  T* at(int64_t row, int64_t col) const { return data + row * stride + col; }
};

template <class T>
void transpose_plain(Matrix<T> dst, Matrix<const T> src, int64_t rows, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c)
    for (int64_t r = 0; r < rows; ++r) std::memcpy(dst.at(c, r), src.at(r, c), sizeof(T));
}

#if HWY_TARGET == HWY_SCALAR
template <class T>
int64_t transpose_whole_blocks(Matrix<T>, Matrix<const T>, int64_t, int64_t) {
  return 0;
}
#else
// The lanes of one 128-bit block of a vector, in which interleaving works.
template <class T>
inline constexpr int kSide = 16 / sizeof(T);

// A vector of kSide columns of several rows, one to a block, that are kSide rows apart.
template <class D, class T = hn::TFromD<D> >
HWY_INLINE hn::Vec<D> load_blocks(D d, const T* src, int64_t stride) {
  if constexpr (hn::MaxLanes(D()) == kSide<T>) {
    return hn::LoadU(d, src);
  } else {
    const hn::Half<D> half;
    const int64_t rows = hn::MaxLanes(half);
    return hn::Combine(d, load_blocks(half, src + rows * stride, stride),
                       load_blocks(half, src, stride));
  }
}

// kSide columns of as many rows as a vector has lanes. Interleaving vectors i and i + half moves
// one bit of the row number below those of the column; after log2(kSide) rounds all have moved.
template <class D, class T = hn::TFromD<D> >
HWY_INLINE void transpose_block(D d, Matrix<T> dst, Matrix<const T> src) {
  constexpr int kRows = kSide<T>;
  hn::Vec<D> rows[kRows], next[kRows];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) rows[i] = load_blocks(d, src.at(i, 0), src.stride);
#pragma GCC unroll 4
  for (int round = 1; round < kRows; round *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows / 2; ++i) {
      next[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + kRows / 2]);
      next[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + kRows / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) rows[i] = next[i];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i) hn::StoreU(rows[i], d, dst.at(i, 0));
}

// Transposes what fits whole blocks of D and returns the rows done; columns beyond a multiple of
// kSide are left.
template <class D, class T = hn::TFromD<D> >
int64_t transpose_blocks(D d, Matrix<T> dst, Matrix<const T> src, int64_t rows, int64_t cols) {
  const auto height = int64_t(hn::Lanes(d));
  int64_t r = 0;
  for (; r + height <= rows; r += height)
    for (int64_t c = 0; c + kSide<T> <= cols; c += kSide<T>)
      transpose_block(d, Matrix<T>{dst.at(c, r), dst.stride},
                      Matrix<const T>{src.at(r, c), src.stride});
  return r;
}

// Transposes some of the first rows and returns how many.
template <class T>
int64_t transpose_whole_blocks(Matrix<T> dst, Matrix<const T> src, int64_t rows, int64_t cols) {
  int64_t done = transpose_blocks(hn::ScalableTag<T>(), dst, src, rows, cols);
  done += transpose_blocks(hn::CappedTag<T, kSide<T> >(), {dst.at(0, done), dst.stride},
                           {src.at(done, 0), src.stride}, rows - done, cols);
  const int64_t whole = cols / kSide<T> * kSide<T>;
  transpose_plain<T>({dst.at(whole, 0), dst.stride}, {src.at(0, whole), src.stride}, done,
                     cols - whole);
  return done;
}
#endif

template <class T>
void transpose_typed(Matrix<T> dst, Matrix<const T> src, int64_t rows, int64_t cols) {
  const int64_t done = transpose_whole_blocks(dst, src, rows, cols);
  transpose_plain<T>({dst.at(0, done), dst.stride}, {src.at(done, 0), src.stride}, rows - done,
                     cols);
}

void transpose(void* dst, int64_t dst_stride, const void* src, int64_t src_stride, int64_t rows,
               int64_t cols, int element_bytes) {
  const auto typed = [&]<class T>(T) HWY_ATTR {
    transpose_typed<T>({static_cast<T*>(dst), dst_stride}, {static_cast<const T*>(src), src_stride},
                       rows, cols);
  };
  switch (element_bytes) {
    case 1: return typed(uint8_t{});
    case 2: return typed(uint16_t{});
    case 4: return typed(uint32_t{});
    case 8: return typed(uint64_t{});
    default: internal_error("no transposing copy of elements of this size");
  }
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(transpose);
void transpose_copy(void* dst, int64_t dst_stride, const void* src, int64_t src_stride,
                    int64_t rows, int64_t cols, int element_bytes) {
  HWY_DYNAMIC_DISPATCH(transpose)
  (dst, dst_stride, src, src_stride, rows, cols, element_bytes);
}
}  // namespace onrush::cpu
#endif
