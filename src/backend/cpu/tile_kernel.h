// Loops at concrete sizes, interpreted by tiles.
//
// A tile is `rows` x `cols` elements: cols lie along one axis (the column axis, chosen so that most
// memory is read along it), rows along all other parallel axes. Each value of the body becomes a
// dense array: one element where the tile's elements all agree, one a row where they agree along
// the columns, one a column where the rows agree, else rows * cols. Arrays sit in L1, so an
// operation costs one pass over them. A tile that lies side by side in a buffer is read and written
// in place.
//
// Reductions run over the column axis inside a tile and over the other reduce axes (and further
// chunks of columns) as a loop around it. Where a row fits one tile everything is computed once;
// else the body is evaluated in passes, one for each reduction that waits for another, and one to
// store. Few sums of many elements each are divided among threads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/thread_pool.h"
#include "codegen/loops.h"

namespace onrush::cpu {

inline constexpr int kMaxAxes = 16;
inline constexpr int64_t kTileElements = 1024;

// offset + sum of stride[axis] * index[axis]
struct ConcreteAffine {
  int64_t offset = 0;
  std::array<int64_t, kMaxAxes> stride{};
};
struct ConcreteBound {
  ConcreteAffine index;
  int64_t extent;
};
// Elements of a buffer, zeros outside of the bounds.
struct MemoryLoad {
  int buffer;
  DType dtype;  // in memory
  ConcreteAffine address;
  std::vector<ConcreteBound> bounds;
  uint64_t fill;  // outside of the bounds: one element of the compute type
  // Of 8-bit integers.
  int integer_fill() const { return static_cast<int32_t>(fill); }
};

// Some axes of a kernel, outer first.
class AxisList {
 public:
  void push_back(int axis) { axes_.at(count_++) = static_cast<uint8_t>(axis); }
  void clear() { count_ = 0; }
  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  int operator[](size_t i) const { return axes_[i]; }
  int back() const { return axes_[count_ - 1]; }
  const uint8_t* begin() const { return axes_.data(); }
  const uint8_t* end() const { return axes_.data() + count_; }

 private:
  std::array<uint8_t, kMaxAxes> axes_{};
  uint8_t count_ = 0;
};

// Which axis is which, once adjacent axes that behave as one are merged.
struct TileAxes {
  int count = 0;
  std::array<int64_t, kMaxAxes> extent{};
  std::array<uint8_t, kMaxAxes> kind{};    // caller's: only axes of one kind merge
  std::array<uint8_t, kMaxAxes> origin{};  // the innermost original axis of each
};

// The column axis of a TileKernel, where it is not a given one.
inline constexpr int kBestColumn = -1;
inline constexpr int kNoColumn = -2;

// What one tile is computed for.
struct TilePlace {
  // Rows are consecutive positions of row_axes (outer first; others stand still) from `first` on:
  // the index of every axis, the column axis's that of the first column.
  int64_t rows = 1;
  std::array<int64_t, kMaxAxes> first{};
  std::span<const uint8_t> row_axes;
  int64_t cols = 1;
  void* const* buffers = nullptr;     // by Loops::buffers
  const void* accumulator = nullptr;  // AccumulatorValue: [rows][accumulator_stride]
  int64_t accumulator_stride = 0;
  void* operand = nullptr;  // Store to buffer -1: [rows][operand_stride]
  int64_t operand_stride = 0;
};

class TileKernel {
 public:
  // kinds: one number an axis of `loops`; empty: parallel and reduce. column: an axis that must be
  // the column axis (as numbered in `loops`, before merging), kBestColumn or kNoColumn.
  TileKernel(const Loops& loops, const SizeTable& sizes, std::span<const uint8_t> kinds = {},
             int column = kBestColumn);
  ~TileKernel();
  TileKernel(TileKernel&&) noexcept;
  TileKernel& operator=(TileKernel&&) noexcept;

  const TileAxes& axes() const;
  int column_axis() const;  // after merging; -1 if there is none

  // --- for kernels that range over all of their parallel axes by themselves
  void run(ThreadPool& pool, void* const* buffers) const;

  // --- for contractions: one tile at a given place (no reductions in the body)
  void run_tile(const TilePlace& place) const;

  // The one load that is all the body does, if so: contractions then copy by themselves.
  // Its fill is 0 but of 8-bit integers.
  const MemoryLoad* pure_load() const;

  struct Impl;  // tile_impl.h

 private:
  std::unique_ptr<Impl> impl_;
};

// Scratch memory of the calling thread, at least `bytes`, 64-byte aligned, valid until the next
// call on this thread with the same slot. Slots keep nested users apart.
enum class ScratchSlot : uint8_t {
  tile_arrays,
  tile_places,
  row_offsets,
  element_offsets,
  partial_sums,  // of the tile interpreter
  lhs_block,
  lhs_operand,
  split_panel,
  split_panels,
  result_tile,
  places,
  pointers,
  columns,  // of contractions
};
void* thread_scratch(ScratchSlot slot, size_t bytes);

}  // namespace onrush::cpu
