// Parts of a bound contraction; shared by its source files only.
#pragma once

#include <mutex>
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
  AxisList axes[4];  // by AxisKind, outer first
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

// How a kernel keeps the values that other kernels read.
inline bool is_activation(DType dtype) { return dtype == DType::f32 || dtype == DType::bf16; }

// The epilogue clamp(accumulator + bias + residual) or activation(accumulator + bias + residual),
// stored as f32 or bf16: done in registers.
struct SimpleEpilogue {
  int output = -1, bias = -1, residual = -1;  // buffers; -1: none
  DType output_dtype = DType::f32, residual_dtype = DType::f32;
  ConcreteAffine output_address, bias_address, residual_address;
  Activation activation = Activation::none;
  float low, high;
};

// Recognised where `column` is the axis kind whose elements lie side by side.
std::optional<SimpleEpilogue> simple_epilogue(const Loops& epilogue, const SizeTable& sizes,
                                              const ContractionPart& part, AxisKind column);

// An epilogue of integer sums as stages over vectors in registers.
struct IntegerProgram {
  struct Operand {
    int buffer = -1;
    ConcreteAffine address;
  };
  struct Stage {
    IntegerStage stage;
    int columns = -1;  // of `sides`
    int table = -1;    // of `tables`
    Operand rows, all;
  };
  using Table = std::array<float, 256>;
  // Values that depend on columns alone, of which a tile has 32 at most.
  struct Side {
    enum class Kind : uint8_t { constant, load, unary, binary };
    Kind kind;
    uint32_t constant = 0;  // f32 or i32, as bits
    Operand from;
    DType dtype = DType::f32;  // of the load, in memory
    LoadKernel load = nullptr;
    UnaryKernel unary = nullptr;
    BinaryKernel binary = nullptr;
    int a = -1, b = -1;
  };
  static constexpr size_t kColumns = 32;
  int output = -1;
  DType output_dtype = DType::i32;
  ConcreteAffine output_address;
  std::vector<Stage> stages;
  std::vector<Side> sides;
  std::vector<Table> tables;
};
std::optional<IntegerProgram> integer_program(const Loops& epilogue, const SizeTable& sizes,
                                              const ContractionPart& part, AxisKind column);

struct ContractionKernel::Impl {
  ContractionPart lhs, epilogue;
  std::optional<ContractionPart> rhs;  // where it is packed
  int64_t batch = 1, m = 1, n = 1, k = 1;
  GemmKernel gemm;
  const SplitGemm* split = nullptr;  // for blocks of many rows, where the machine has it
  // At most one of them; neither: the interpreter does it.
  std::optional<SimpleEpilogue> simple;
  std::optional<IntegerProgram> program;
  bool in_registers() const { return simple || program; }
  DType output_dtype() const { return simple ? simple->output_dtype : program->output_dtype; }

  // How a pure-load left operand is copied: pieces of a row, each `repeats` runs of `run` columns
  // that follow each other in memory, unless a bound leaves out the first or last of them.
  struct Copies {
    struct Range {
      int64_t extent, step;  // of the bounded index, from repeat to repeat
    };
    int64_t run = 1;  // elements side by side in the block
    int64_t stride = 1;
    int64_t repeats = 1;
    std::vector<Range> bounds;
    std::vector<int64_t> offsets, bound_offsets;  // by piece; by piece and bound
    uint8_t fill = 0;                             // every byte of what bounds leave out
  };
  std::optional<Copies> copies;

  // A convolution with as many groups as channels: rows of results, each from rows of an image.
  // Integers are multiplied as f32; behind their packed weights lies what all of a window would add
  // if it were padding.
  struct Depthwise {
    struct WindowRow {
      int64_t offset;  // floats: of its first column's pixel
      int64_t tap;     // its first column's
    };
    struct Run {
      int64_t first, count;     // results of a row
      int64_t column, columns;  // of the window that are inside the image
    };
    int64_t width;                    // of a row of results
    int64_t pixel_step, column_step;  // floats, from result to result and within the window
    int64_t weight_step = 1;          // taps from column to column
    std::vector<Run> runs;
    std::vector<WindowRow> window_rows;
    std::vector<ConcreteBound> row_bounds;
    std::vector<int64_t> bound_offsets;  // by row of the window and bound
  };
  std::optional<Depthwise> depthwise;

  // A convolution that reads the image itself, split or rounded once: where windows overlap, no
  // window is copied. Every 16 pixels of results that lie at even distances in the image are rows
  // of a tile. A tap is a pixel of the window, or a whole row of it: of few channels, whose pixels
  // are steps of k together, and what they read beyond the row meets zeros.
  struct Direct {
    struct Axis {
      int64_t size, padding, padded;  // of the image; zeros before it; with those before and after
      int64_t pitch;                  // elements from one row, or pixel, to the next
      int64_t results, step;          // step: from one result's window to the next one's
      int64_t window, dilation;
    };
    Axis rows, columns;
    int64_t channels, channel_pitch;
    bool channels_last;            // in the order of k; else columns are
    int64_t origin;                // elements: of the image's first pixel
    bool by_row = false;           // a tap is a row of the window
    int64_t tap_length = 0;        // elements
    std::vector<int64_t> offsets;  // bytes, by step of k
    struct Segment {
      int row, rows;  // of the tile
      int64_t m;      // the first one's position among the results
    };
    struct Tile {
      int64_t pixel;  // of the padded image
      int count;      // of its segments; more than 2 are not kept
      Segment segments[2];
    };
    // Whether a tile may go on in the next row of results, and positions from one such row to the
    // next: those beyond its results are thrown away.
    bool joined;
    int64_t line, tiles;
    Tile tile(int64_t index) const;
    int64_t step_length;  // of k: elements
    int64_t steps(int64_t length) const { return (length + step_length - 1) / step_length; }
    int64_t taps() const { return static_cast<int64_t>(offsets.size()) / steps(tap_length); }
    // As the matrix kernel reads them: a pixel; a tap in a panel; whether the packed panels are so
    // already.
    int64_t pixel_bytes, tap_bytes;
    bool panels_ready;
    int64_t panel_bytes() const { return taps() * tap_bytes; }
  };
  std::optional<Direct> direct;

  // A convolution whose windows the vector units read where they are in the image: element p of a
  // row of the left operand is `offsets[p]` from the row's beginning. Rows of which a part is
  // padding are copied.
  struct Windows {
    struct Range {
      int64_t least, most;  // of a bounded index over k
    };
    std::vector<int64_t> offsets;
    std::vector<Range> bounds;
  };
  std::optional<Windows> windows;

  Impl(const Contraction& contraction, const SizeTable& sizes, const GemmKernel& kernel,
       bool packs);
  int64_t panels() const { return (n + gemm.cols - 1) / gemm.cols; }

  // Rows along the innermost axis of m: evenly spaced, under the bounds as well.
  struct RowsInSource {
    static constexpr size_t kMaxBounds = 8;
    const void* first;
    int64_t step, rows;
    std::array<int64_t, kMaxBounds> position, position_step;  // by bound
  };
  // Some rows of the left operand: as f32 (of integers i32), unless they lie in memory as the
  // matrix kernel reads them, and as it does. Strides count elements.
  struct Block {
    int64_t batch_index, first, rows;
    float* source = nullptr;
    int64_t source_stride = 0;
    bool in_place = false;  // the source, or the operand, is the buffer itself
    char* operand = nullptr;
    int64_t row_bytes = 0, stride = 0;
    char* split = nullptr;  // in SplitGemm's form, where it is used
    // Of an operand in place: rows from here on are a copy, with readable rows after the last.
    int64_t tail_first = 0;
    char* tail = nullptr;
    const char* row(int64_t r) const {
      return tail && r >= tail_first ? tail + (r - tail_first) * row_bytes
                                     : operand + r * row_bytes;
    }
  };
  // The right operand: packed panels, and the same in SplitGemm's form if several blocks read them.
  struct Panels {
    const char* packed;
    const char* split = nullptr;
  };
  struct BlockMemory {
    float* rows;
    char* operand;
  };
  void plan_copies();
  // Whether memory holds what the matrix kernel multiplies, so that nothing is converted.
  bool is_operand() const { return copies && lhs.kernel.pure_load()->dtype == gemm.operand; }
  bool reads_in_place(int64_t rows) const;
  int64_t tail_rows(int64_t rows) const;
  int64_t row_stride() const;
  // Neither short sums nor small products are worth the splitting.
  bool splits(int64_t rows) const {
    return split && rows >= SplitGemm::kTileRows && k > 2 * SplitGemm::kStep &&
           batch * m * n * k >= kLeastSplitProducts;
  }
  static constexpr int64_t kLeastSplitProducts = 24 << 20;
  // Memory that blocks of so many rows need.
  size_t source_bytes(int64_t rows) const;
  size_t operand_bytes(int64_t rows) const;
  Block new_block(int64_t batch_index, int64_t first, int64_t rows, void* const* buffers,
                  BlockMemory memory) const;
  bool fill_block(const Block& block, int64_t begin, int64_t end, void* const* buffers) const;
  void fill_operand(const Block& block, int64_t begin, int64_t end, void* const* buffers) const;
  void pad_operand(const Block& block, int64_t begin, int64_t end) const;
  RowsInSource rows_in_source(int64_t batch_index, int64_t first, int64_t rows,
                              void* const* buffers) const;
  // Element: float, uint16_t for bf16, or uint8_t for 8-bit integers.
  template <class Element>
  void copy_block(Element* block, int64_t stride, int64_t batch_index, int64_t first, int64_t rows,
                  void* const* buffers) const;
  template <class Element>
  void copy_piece(Element* out, int64_t stride, int64_t piece, const RowsInSource& from) const;
  template <class Element>
  void copy_clipped(Element* out, int64_t piece, const RowsInSource& from, int64_t r) const;
  int64_t padded_rows(int64_t rows) const {
    return (rows + gemm.row_multiple - 1) / gemm.row_multiple * gemm.row_multiple;
  }
  int64_t panel_bytes() const { return gemm.panel_size(k) * gemm.operand_bytes(); }

  void compute_block(const ContractionPart& part, AxisKind row_kind, float* block, int64_t stride,
                     int64_t batch_index, int64_t first, int64_t rows, void* const* buffers) const;
  void pack_panel(int64_t batch_index, int64_t panel, void* const* buffers, char* packed) const;
  void pack_depthwise(void* const* buffers, float* packed) const;

  void run_gemm(ThreadPool& pool, void* const* lhs_buffers, const char* packed,
                void* const* epilogue_buffers) const;
  // Where the epilogue in registers finds its operands, for a block's first row and a panel.
  struct Registers {
    GemmEpilogue epilogue;
    IntegerEpilogue integer_epilogue;
    char* c;
    int64_t c_stride;
  };
  // To the rows after the next `rows`.
  static void next_rows(GemmTile& tile, GemmEpilogue* epilogue, int64_t rows) {
    tile.c = advance(tile.c, tile.c_dtype, rows * tile.c_stride);
    tile.first_row += rows;
    if (epilogue && epilogue->residual)
      epilogue->residual =
          advance(epilogue->residual, epilogue->residual_dtype, rows * epilogue->residual_stride);
  }
  // Valid until the next call on this thread.
  Registers registers(int64_t batch_index, int64_t m_first, int64_t n_first,
                      void* const* buffers) const;
  IntegerEpilogue integer_stages(const int64_t* index, int64_t n_first, void* const* buffers) const;
  const char* split_panels(ThreadPool& pool, const char* packed) const;
  const char* split_panel(const Panels& panels, int64_t panel, int64_t p, int64_t rows) const;
  void multiply(const Block& block, GemmTile& t, GemmEpilogue* epilogue, const char* split_b,
                int64_t first, int64_t p) const;
  // `panel`, panel_first, panel_last: of all batches.
  void run_panel(const Block& block, const Panels& panels, int64_t panel, bool last,
                 void* const* epilogue_buffers) const;
  void run_in_chunks(const Block& block, const Panels& panels, int64_t panel_first,
                     int64_t panel_last, int64_t chunk, void* const* epilogue_buffers) const;
  void run_block(const Block& block, const Panels& panels, int64_t panel_first, int64_t panel_last,
                 void* const* epilogue_buffers) const;
  int64_t first_column(int64_t panel) const { return panel % panels() * gemm.cols; }
  int columns(int64_t panel) const {
    return static_cast<int>(std::min<int64_t>(gemm.cols, n - first_column(panel)));
  }
  std::optional<Direct::Axis> image_axis(const ConcreteBound& bound, int m_axis, int k_axis) const;
  std::optional<Direct> image() const;
  bool plan_tiles(Direct& d) const;
  bool plan_pixels(Direct& d) const;
  void plan_direct();
  bool write_pixels(char* out, const void* pixels) const;
  template <class Element>
  bool write_joined_pixels(Element* out, const void* pixels) const;
  bool write_image(ThreadPool& pool, void* const* lhs_buffers, char* image) const;
  template <class Element>
  void write_row_of_taps(Element* out, const Element* panel, int64_t first) const;
  bool write_taps(char* out, const char* packed, int64_t panel) const;
  void run_direct_panel(const char* image, const char* b, int64_t panel, int64_t tile_first,
                        int64_t tile_last, void* const* epilogue_buffers) const;
  bool run_direct(ThreadPool& pool, void* const* lhs_buffers, const char* packed,
                  void* const* epilogue_buffers) const;
  bool sums_are_short() const { return k <= 2 * SplitGemm::kStep; }
  void plan_windows();
  std::pair<int64_t, int64_t> rows_inside(const RowsInSource& line) const;
  void run_windows(ThreadPool& pool, void* const* lhs_buffers, const char* packed,
                   void* const* epilogue_buffers) const;
  // Blocks of rows, each for all panels or for several tasks with some of the panels.
  struct Partition {
    int64_t block_rows, blocks, panels_each, parts;
    bool split_panels;
    int64_t cycles;  // what it is expected to take
  };
  struct Costs;
  Costs costs(bool splits) const;
  Partition partition(const Costs& costs, int64_t blocks, int64_t parts, bool split_panels,
                      int threads) const;
  Partition best_partition(int threads) const;
  // Of the first run, and kept: small products take less time than choosing it.
  mutable std::once_flag partitioned;
  mutable Partition partition_of_runs;
  void run_epilogue(const void* tile, int64_t tile_stride, int64_t batch_index, int64_t m_first,
                    int64_t rows, int64_t n_first, int64_t cols, void* const* buffers) const;
  void plan_depthwise();
  void run_depthwise(ThreadPool& pool, void* const* lhs_buffers, const float* packed,
                     void* const* epilogue_buffers) const;
  void finish_depthwise_row(const int32_t* sums, int64_t row, int64_t c_first, int64_t channels,
                            void* const* epilogue_buffers) const;
  void depthwise_row(int64_t row, int64_t c_first, int64_t c_last, void* const* lhs_buffers,
                     const float* packed, void* const* epilogue_buffers) const;
};

}  // namespace onrush::cpu
