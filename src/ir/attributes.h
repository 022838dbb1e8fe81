// What a primitive is told besides its operands, one struct each.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "ir/dim.h"
#include <onrush/tensor.h>

namespace onrush {

struct Graph;

using Axes = std::vector<int>;

struct InputAttr {
  int index;  // into Graph::inputs
};
// Small tensors (up to 4 KiB) are equal by content, larger ones by the address of their bytes.
struct ConstantAttr {
  Tensor tensor;
};
// An integer or boolean tensor whose elements are functions of the input dims, row-major.
struct DimsAttr {
  Dims elements;
};
// The index along `axis`.
struct IotaAttr {
  int axis;
};
// A counter-based generator; draws with one stream are independent of all others.
struct RandomAttr {
  uint64_t seed;
  uint64_t stream;
  bool seeded;  // false: a fresh seed for every run
};
struct CastAttr {
  DType dtype;
  bool saturate;  // to the 8-bit floats only
};
struct ReshapeAttr {
  Dims shape;
};
struct TransposeAttr {
  Axes permutation;  // result axis i is operand axis permutation[i]
};
struct BroadcastAttr {
  Dims shape;  // same rank; axes of extent 1 are repeated
};
// result[i] = operand[start + i * step] for each axis.
struct SliceAttr {
  Dims start;
  std::vector<int64_t> step;  // nonzero, may be negative
  Dims shape;
};
struct PadAttr {
  Dims low, high;  // elements added before and after, not negative
};
struct ConcatAttr {
  int axis;
};

enum class ReduceKind : uint8_t { sum, product, max, min, argmax, argmin };
// The reduced axes stay with extent 1. argmax and argmin take one axis and give i64; of equal
// elements the first, or the last if `last`.
struct ReduceAttr {
  ReduceKind kind;
  Axes axes;  // ascending
  bool last = false;
};
// Reduces a sliding window; every vector has one entry an axis. Padding never contributes.
// argmax gives the i64 flat index within the window.
struct WindowAttr {
  ReduceKind kind;
  std::vector<int64_t> size, stride, dilation;
  Dims low, high;  // padding
};
struct ScanAttr {
  ReduceKind kind;  // sum or product
  int axis;
  bool exclusive, reverse;
};
// Tuple (values, i64 indices along the axis), the first `limit` in order; stable.
struct SortAttr {
  int axis;
  bool descending;
  Dim limit;
};

// How each axis of the data is addressed: >= 0: by that coordinate of the result (gather) or of the
// updates (scatter); < 0: by index operand ~source.
struct IndexAttr {
  std::vector<int> source;
};
enum class ScatterKind : uint8_t { set, add, mul, max, min };
struct ScatterAttr {
  std::vector<int> source;
  ScatterKind kind;
};

// result[batch..., lhs free..., rhs free...] = sum over the contracted axes. Free axes keep their
// order. Accumulates in f32 for f16 and bf16 operands, in i32 for 8-bit integers.
struct DotAttr {
  Axes lhs_batch, rhs_batch;
  Axes lhs_contract, rhs_contract;
  DType dtype;  // of the result
};
// Channels last: x [N, spatial..., C], w [O, kernel..., C / groups] -> [N, spatial..., O].
// input_dilation inserts that many minus one zeros between elements of x (transposed convolution).
// Padding may be negative only where input_dilation makes the extent larger.
struct ConvAttr {
  std::vector<int64_t> stride, dilation, input_dilation;
  Dims low, high;
  int64_t groups;
  DType dtype;
};

// A function of src/reference/calls.h by name, for what is neither fused nor generated: sorting out
// data-dependent sizes, strings, tree ensembles. Results form a tuple; dims may be unknown.
struct CallAttr {
  std::string callee;
  std::vector<std::pair<std::string, Tensor>> parameters;
};
// Runs `body` `trips` times. Operands: carried values, scanned values (axis 0 has `trips` elements;
// each trip sees one, from the end if reversed), captured values. Body inputs: the same, scanned
// ones without axis 0, then the i64 scalar trip number. Body outputs: carried values, then scan
// outputs. Result tuple: final carried values, then scan outputs stacked along a new axis 0.
struct LoopAttr {
  std::shared_ptr<const Graph> body;
  Dim trips;
  int carried;
  int scanned;
  bool reverse;
};
struct GetAttr {
  int index;
};

using Attr = std::variant<std::monostate, InputAttr, ConstantAttr, DimsAttr, IotaAttr, RandomAttr,
                          CastAttr, ReshapeAttr, TransposeAttr, BroadcastAttr, SliceAttr, PadAttr,
                          ConcatAttr, ReduceAttr, WindowAttr, ScanAttr, SortAttr, IndexAttr,
                          ScatterAttr, DotAttr, ConvAttr, CallAttr, LoopAttr, GetAttr>;

// Equal for two attributes exactly if they mean the same; for hash-consing.
void append_key(std::string& key, const Attr& attr);
// "axes=[1,2] kind=max"; empty for monostate.
std::string to_string(const Attr& attr);
std::string_view name(ReduceKind kind);
std::string_view name(ScatterKind kind);

}  // namespace onrush
