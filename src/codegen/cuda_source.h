// Loops, contractions and other primitives printed as CUDA C++.
//
// The text calls the functions of device/*.cuh and nothing else. Sizes are arguments: a kernel
// serves every size for which its facts hold, and equal text is one program.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/loops.h"

namespace onrush {

enum class CudaSchedule : uint8_t {
  pointwise,  // a thread computes neighbouring elements
  row,        // threads side by side reduce one row
  column,     // a thread reduces neighbouring columns, or a slice of them
  tile,       // a contraction: a block computes a tile of the result
  window,     // a convolution of an image with few channels: a block computes a patch of it
  depthwise,  // a convolution of channels by themselves: a block computes tiles of several
  attention,  // a block computes the results of neighbouring queries
  primitive,  // one of the kernels of a primitive that is no Loops
};

// Sizes that a kernel is printed for: those at hand, for which it is to be fast, and others that it
// is to compute, too. Refers to both.
class PrintSizes {
 public:
  PrintSizes(const SizeTable& at_hand, std::span<const SizeTable> others = {})  // NOLINT: only one
      : at_hand_(at_hand), others_(others) {}

  operator const SizeTable&() const { return at_hand_; }  // NOLINT
  int64_t operator()(Dim dim) const { return at_hand_(dim); }
  // At all of them.
  bool divides(Dim dim, int width) const;

 private:
  const SizeTable& at_hand_;
  std::span<const SizeTable> others_;
};

// A product of sizes, divided by `width` and rounded up.
struct Extent {
  Extent() = default;
  Extent(Dim dim, int divided_by = 1) : factors{dim}, width(divided_by) {}
  int64_t at(const SizeTable& sizes) const;

  std::vector<Dim> factors;
  int width = 1;
};
struct SizeArgument {
  enum class Kind : uint8_t {
    size,
    divisor,  // what device/onrush.cuh's quotient() needs, not the size itself
    pass,     // which of the kernel's launches it is
  };
  Extent extent;
  Kind kind;
};
// `dim` divides by `width`, or does not: then a kernel does without what this would allow.
struct SizeFact {
  Dim dim;
  int width;
  bool divides;
};

// How a contraction is cut into tiles, given the sizes.
struct ContractionTile {
  int m, n;                       // elements of a block's tile
  int warps_m, warps_n, warps_k;  // how the warps share it
  int chunks;                     // 16-byte pieces of a row that one stage holds
  int stages;
  bool group;               // four warps multiply 64 rows together
  bool persistent = false;  // blocks stay and take tile after tile, see device/persistent.cuh
  bool operator==(const ContractionTile&) const = default;
  int threads() const { return persistent ? 384 : 32 * warps_m * warps_n * warps_k; }
};

// What the operands and results of a contraction allow beyond the products of single warps.
enum class Grouping : uint8_t {
  none,
  blocks,      // four warps multiply what lies in shared memory
  persistent,  // and operands are plain matrices, and results lie along n
};

// A matrix, or a batch of them, that a kernel reads by boxes: cuTensorMapEncodeTiled.
struct CudaTensorMap {
  int buffer = 0;  // of the kernel
  Extent columns, rows, batches = Dim(1);
  Extent row_stride, batch_stride = Dim(0);  // in elements
  int box_rows = 0;                          // of 128 bytes each
  // Of each 32 rows, row 8 q + 2 j + e is at place 8 j + 2 q + e of the box, for q and j up to 4, e
  // up to 2: a lane of `wgmma` then has results of neighbouring rows. REQUIRES a multiple of 32
  // rows, of the matrix and of a box, and one batch.
  bool by_lanes = false;
};

// A tile, and how many blocks of a cluster share one.
struct TileChoice {
  ContractionTile tile;
  int cluster;
  bool operator==(const TileChoice&) const = default;
};

// How the factors are multiplied.
enum class ContractionMath : uint8_t { scalar, tf32, f16, bf16 };

// The kernels of primitives that are no Loops, in the order in which they run.
enum class PrimitivePart : uint8_t {
  // scatter, bitcast: the data, and what later kernels need cleared
  copy,
  // scatter: of the updates of one element the last counts
  claim_elements,
  set_elements,
  // scatter: as they come, where the order makes no difference
  combine_elements,
  // scatter: sorted by element, as rows are
  sort_updates,
  merge_updates,
  combine_in_order,
  // sort: pieces of rows in shared memory; pairs of sorted pieces, once for each doubling
  sort_tiles,
  merge_runs,
  // scan: of chunks, of all before each chunk, of the elements
  scan_totals,
  scan_running_totals,
  scan_elements,
  // random_bits: a seed that the model does not give, and the numbers
  draw_seed,
  random_bits,
};

struct CudaKernel {
  std::string text;                 // arguments and body; equal text is one function
  std::vector<LoopBuffer> buffers;  // pointer arguments, in order
  std::vector<SizeArgument> sizes;  // elements of the Sizes argument, in order
  std::vector<SizeFact> facts;
  bool checks_indices = false;  // may set the error
  CudaSchedule schedule;
  Extent work;                       // vectors, rows, columns; of a contraction: batch
  std::vector<Extent> further_work;  // pointwise: of loops that follow the first
  Extent reduced;                    // elements of a row or column
  int threads = 256;                 // of a block
  int row_threads = 0;               // row: that share one row
  bool constant_rows = false;        // row: of an extent that no size changes
  int slice_rows = 0;                // column: elements of a column that a slice of it has at least
  std::vector<Extent> grid;          // window: their product is the number of blocks
  Extent m, n, k;                    // tile
  ContractionTile tile = {};
  int cluster = 0;  // tile: blocks that share one; 0: as a model of the device says
  ContractionMath math = ContractionMath::scalar;
  Grouping grouping = Grouping::none;  // tile
  double after_us = 0;                 // tile: what 128 x 128 results take besides being stored
  std::vector<CudaTensorMap> maps;     // arguments after all others
  int factor_bytes = 0;                // tile: of an element in shared memory
  int sum_bytes = 0;                   // tile: of a partial sum
  int64_t shared_bytes = 0;            // attention, depthwise, window
  PrimitivePart part = {};             // primitive: its rows are `work`, their length `reduced`
  Extent limit;                        // primitive: of a sorted row, how much is kept
  Extent inner;                        // primitive: rows that lie side by side
  // The parts_of() it was printed for, half to twice as many of which it serves; 0: any number. Of
  // a depthwise convolution they are its blocks: of images, along columns, rows and channels.
  int64_t printed_for = 0;
};

// What of a device the kernels depend on.
struct CudaTarget {
  int multiprocessors;
  bool clusters;    // blocks can work in clusters: compute capability 9.0
  bool warpgroups;  // four warps can multiply together: sm_90a
};

// Of shared memory, that a block can have on every GPU since compute capability 8.0.
constexpr int64_t kSharedBytes = 96 << 10;

struct CudaLaunch {
  int64_t blocks;
  int threads_x, threads_y;
  int cluster;
  int64_t shared_bytes;
};

// The product of work, m, n and k.
int64_t parts_of(const CudaKernel& kernel, const SizeTable& sizes);
// Whether the kernel is right for these sizes, fast or not.
bool computes(const CudaKernel& kernel, const SizeTable& sizes);
// Whether the kernel serves these sizes, about as well as one printed for them would. Of a tile
// that was chosen by measurement only whether it serves them.
bool serves(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target);
// How often the kernel is launched, one pass after the other.
int passes_of(const CudaKernel& kernel, const SizeTable& sizes);
CudaLaunch launch_of(const CudaKernel& kernel, const SizeTable& sizes, const CudaTarget& target,
                     int pass = 0);
// The values of the Sizes argument.
std::vector<int64_t> size_arguments(const CudaKernel& kernel, const SizeTable& sizes, int pass = 0);

// Axes are best merged before (merge_axes.h). Makes no new Dims. Several loops become one kernel:
// REQUIRES that they need nothing of each other, and do not reduce.
CudaKernel print_cuda(std::span<const Loops> loops, const PrintSizes& sizes);

// A contraction as its kernel sees it. Each of the three Loops has merged axes of its own; what
// they share is the position in each kind of axis.
struct CudaContraction {
  enum Kind : int { batch, m, n, k };  // of an axis
  struct Part {
    Loops loops;
    std::vector<int> kinds;  // by axis
  };
  ContractionMath math;
  DType factor;  // of factors in shared memory, and in the packed copy
  DType sum;     // of partial sums
  // Weights on the right are copied once into the order in which the kernel reads them. The
  // buffer of the copy is the one whose node is not valid().
  bool packed = false;
  Loops packing;  // makes the copy; empty if there is none
  int64_t packed_count = 0;
  // What the last axis of k counts as, so that it divides into pieces of 16 bytes; 0: its extent.
  int64_t padded_k = 0;
  bool direct = false;  // a thread computes neighbouring results by itself: depthwise convolutions
  Part lhs, rhs, epilogue;
  Contraction unmerged;  // with its axes as they were before; of `packing`, too
};
// `weights`: the right operand depends on weights alone. `f32_math`: how factors of type f32 are
// multiplied. `sizes` decide whether it is direct. May make new Dims.
CudaContraction make_cuda_contraction(const Contraction& contraction, bool weights,
                                      ContractionMath f32_math, const SizeTable& sizes);
// Whether it is cut into tiles, of which there is a choice.
bool has_tiles(const CudaContraction& contraction);
// `choice`: how it is cut, if it has tiles; null: the best by a model of the device.
CudaKernel print_cuda(const CudaContraction& contraction, const PrintSizes& sizes,
                      const CudaTarget& target, const TileChoice* choice = nullptr);

// softmax(scores) values as one kernel: two contractions, the first's results and their softmax
// never in memory.
struct CudaAttention {
  ContractionMath math;  // f16 or bf16
  DType factor;
  CudaContraction::Part query, key, value;  // operands of the products
  CudaContraction::Part score;              // what follows the first product; its store's value
  CudaContraction::Part epilogue;           // what follows the second
  bool nan_to_zero;                         // rows without any key give zeros
};
// The parts must be as plan/attention.h found them. Nothing where no kernel fits: factors that
// are not rounded to 16 bits, or more than 128 elements of a query or a value.
std::optional<CudaAttention> make_cuda_attention(const Contraction& scores,
                                                 const Contraction& values, bool nan_to_zero,
                                                 ContractionMath f32_math);
CudaKernel print_cuda(const CudaAttention& attention, const PrintSizes& sizes,
                      const CudaTarget& target);

// One kernel of a primitive that is no Loops: scatter, sort, scan, random numbers, bitcast.
struct CudaPrimitive {
  NodeId node;
  PrimitivePart part;
  std::vector<NodeId> results;  // by part of the tuple, or the node itself; one that nobody reads
                                // is not valid()
};
// In the order in which they run; none where the primitive or its dtype has no kernels. `outputs`
// are the results that are read.
std::vector<CudaPrimitive> make_cuda_primitives(const Graph& graph, NodeId node,
                                                std::span<const NodeId> outputs);
// Its workspace, which all kernels of the primitive share, is the buffer whose node is not valid().
CudaKernel print_cuda(const CudaPrimitive& primitive, const Graph& graph, const PrintSizes& sizes);
int64_t workspace_bytes(const CudaKernel& kernel, const SizeTable& sizes, bool wide_index);

// Copies bytes from its first buffer to its second, as many as its only size says.
std::string copy_kernel_text();
CudaLaunch copy_launch(int64_t bytes, const CudaTarget& target);

// A compilable program of several kernels, given by their text: kernel i is the extern "C" function
// "kernel_i". Its arguments are the buffers' pointers, the sizes as a struct of i64, and a pointer
// to a u32 that becomes 1 if an index was out of range; 8 bytes further is the next seed, a u64.
// wide_index: offsets may pass 2^31.
std::string cuda_program(std::span<const std::string> texts, bool wide_index);

// The files that programs include, by name.
struct DeviceHeader {
  std::string_view name, text;
};
std::span<const DeviceHeader> cuda_device_headers();

}  // namespace onrush
