// Operands and epilogues of contractions, printed as structs that device/*.cuh call.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codegen/cuda_source.h"
#include "codegen/cuda_writer.h"

namespace onrush {

// The kind of each axis that the three Loops of a contraction share.
std::vector<int> kinds_of(const Contraction& contraction);
// Loops of a contraction with merged axes.
CudaContraction::Part merged(const Loops& loops, const std::vector<int>& kinds);
// How its factors are multiplied, where those of type f32 are by `f32_math`.
ContractionMath math_of(const Contraction& contraction, ContractionMath f32_math);

std::vector<int> axes_of(const CudaContraction::Part& part, int kind);
Extent extent_of(const CudaContraction::Part& part, int kind);

struct CudaOperand {
  const CudaContraction::Part* part;
  int rows;            // the kind of its rows: m or n
  std::string name;    // of the struct
  std::string prefix;  // of its values
  DType factor;        // as the products take it
  DType sum;
  bool packed = false;
  int64_t padded_k = 0;
};

struct PrintedOperand {
  std::string make;  // an expression that makes one
  bool across;       // its tiles are stored with k as their rows
};
// Declares the struct.
PrintedOperand print_operand(Writer& w, const CudaOperand& operand);

// The axes of the image that a convolution reads: of pixels, the last two of m; of k. channel is -1
// where k has no further axis.
struct WindowAxes {
  int y, x, tap_y, channel, tap_x;
};
// Declares struct Image, as device/window.cuh needs it; gives an expression that makes one.
std::string print_image(Writer& w, const CudaOperand& operand, const WindowAxes& axes);

// Declares struct Score, which gives what follows a product before its softmax; gives an expression
// that makes one.
std::string print_score(Writer& w, const CudaContraction::Part& part);

struct PrintedEpilogue {
  std::string make;  // an expression that makes one
  int width;         // results that it takes at once
  bool along_m;      // results lie along m, not n
};
// Declares struct Epilogue, which stores the results. fetches: what it reads of vectors along n and
// of matrices is read by functions of its own, ahead of the results, and can be prefetched.
PrintedEpilogue print_epilogue(Writer& w, const CudaContraction::Part& part, DType sum,
                               bool fetches = false);

// An operand that is stored as plain rows of neighbours along k, aligned as tensor maps need it:
// its map, with boxes of so many rows. The buffer is as in the part.
std::optional<CudaTensorMap> tensor_map_of(Writer& w, const CudaOperand& operand, int box_rows);

}  // namespace onrush
