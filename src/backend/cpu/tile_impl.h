// The interpreter's program; shared by its two source files only.
#pragma once

#include "backend/cpu/tile_kernel.h"

namespace onrush::cpu {

// How many distinct elements a value has within one tile.
enum class Spread : uint8_t { uniform, row, column, full };
inline Spread join(Spread a, Spread b) {
  if (a == b || b == Spread::uniform) return a;
  return a == Spread::uniform ? b : Spread::full;
}

// Whether elements in memory are those of the compute type.
inline bool is_plain(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::i32 || dtype == DType::i64 ||
         dtype == DType::u64;
}

// Outside of the bounds elements are `fill`.
struct TileLoad : MemoryLoad {
  struct Dynamic {
    int value;
    int64_t stride, extent;
  };
  std::vector<Dynamic> dynamic;
  bool plain;  // a copy, no conversion
  LoadKernel load;
  GatherKernel gather;
};

struct TileReduce {
  ReduceKind kind;
  bool last;
  ConcreteAffine position;
  int best;  // argmax, argmin: offset of the best values so far, as `offset` of a value
};

// One instruction; writes the array at `offset` of the scratch memory.
struct TileValue {
  enum class Kind : uint8_t {
    constant,
    index,
    load,
    unary,
    binary,
    select,
    convert,
    bounds,
    reduce,
    accumulator,
    expand
  };
  Kind kind = Kind::constant;
  Spread spread = Spread::uniform;
  Compute compute = Compute::f32;
  int64_t offset = 0;          // bytes
  int a = -1, b = -1, c = -1;  // operands
  UnaryKernel unary = nullptr;
  UnaryKernel then = nullptr;  // wraps or rounds the result in place
  BinaryKernel binary = nullptr;
  bool by_row = false;  // binary: the operands spread differently, rows are done one by one
  SelectKernel select = nullptr;
  int detail = -1;          // of loads, reductions, affines or bounds
  bool to_boolean = false;  // convert: x != 0
  bool inner = false;       // depends on a reduce axis
  int depth = 0;            // reductions that must be complete before
};

struct TileStore {
  int buffer;
  ConcreteAffine address;
  int value;
  Spread spread;
  bool inner;
  bool plain;   // a copy, no conversion
  bool direct;  // the value may be computed where it is stored
  StoreKernel store;
  int copied = -1;  // a load whose rows are copied as they are in memory; then there is no value
};

struct TileKernel::Impl {
  TileAxes axes;
  int column = -1;
  bool column_reduces = false;
  AxisList row_axes, reduce_axes;  // the column axis is in neither
  int64_t total_rows = 1, column_extent = 1;
  int64_t rows = 1, cols = 1;  // of a tile, at most
  bool one_pass = true;

  std::vector<TileValue> values;
  std::vector<TileLoad> loads;
  std::vector<TileReduce> reduces;
  std::vector<ConcreteAffine> affines;
  std::vector<std::vector<ConcreteBound>> bounds;
  std::vector<TileStore> stores;
  std::vector<uint64_t> uniforms;  // initial contents of the uniform area
  int64_t scratch_bytes = 0;
  int passes = 0;  // reductions that wait for each other

  std::vector<std::vector<int>> pass_values;   // inner values of each pass; the last one's store
  std::vector<std::vector<int>> outer_values;  // by depth
  int64_t tiles = 0, tiles_per_task = 1;
  int pure = -1;  // of the loads: all that the body does

  int64_t elements(Spread spread, int64_t rows_, int64_t cols_) const {
    if (spread == Spread::uniform) return 1;
    return spread == Spread::row ? rows_ : rows_ * cols_;
  }
};

}  // namespace onrush::cpu
