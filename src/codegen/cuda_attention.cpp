// Attention as one kernel.
#include <algorithm>
#include <bit>

#include "codegen/cuda_operand.h"
#include "codegen/cuda_source.h"
#include "codegen/cuda_writer.h"

namespace onrush {
namespace {

using Part = CudaContraction::Part;

constexpr int64_t kMostElements = 128;  // of a query and of a value: they stay in registers
// Of a warp's tile: with more, registers leave room for fewer blocks, and the last tile is emptier.
constexpr int kKeys = 32;

// The constant product of the extents of a kind of axes; 0 if it is not constant.
int64_t elements(const Contraction& c, int kind) {
  const std::vector<int> kinds = kinds_of(c);
  int64_t product = 1;
  for (size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i] != kind) continue;
    const Dim extent = c.lhs.axes[i].extent;
    if (!extent.is_constant()) return 0;
    product *= extent.value();
  }
  return product;
}

int padded(int64_t elements) {
  return std::max(16, static_cast<int>(std::bit_ceil(static_cast<uint64_t>(elements))));
}

}  // namespace

std::optional<CudaAttention> make_cuda_attention(const Contraction& scores,
                                                 const Contraction& values, bool nan_to_zero,
                                                 ContractionMath f32_math) {
  const ContractionMath math = math_of(scores, f32_math);
  if (math != math_of(values, f32_math)) return std::nullopt;
  if (math != ContractionMath::f16 && math != ContractionMath::bf16) return std::nullopt;
  for (const int64_t count :
       {elements(scores, CudaContraction::k), elements(values, CudaContraction::n)})
    if (count == 0 || count > kMostElements || count % 8) return std::nullopt;
  CudaAttention a;
  a.math = math;
  a.factor = math == ContractionMath::f16 ? DType::f16 : DType::bf16;
  a.query = merged(scores.lhs, kinds_of(scores));
  a.key = merged(scores.rhs, kinds_of(scores));
  a.score = merged(scores.epilogue, kinds_of(scores));
  a.value = merged(values.rhs, kinds_of(values));
  a.epilogue = merged(values.epilogue, kinds_of(values));
  a.nan_to_zero = nan_to_zero;
  return a;
}

CudaKernel print_cuda(const CudaAttention& a, const PrintSizes& sizes, const CudaTarget& target) {
  Writer w(sizes);
  const auto print = [&](const Part& part, int rows, const char* name, const char* prefix) {
    return print_operand(w, {&part, rows, name, prefix, a.factor, DType::f32});
  };
  const PrintedOperand query = print(a.query, CudaContraction::m, "Query", "q"),
                       key = print(a.key, CudaContraction::n, "Key", "k"),
                       value = print(a.value, CudaContraction::n, "Value", "x");
  const std::string make_score = print_score(w, a.score),
                    make_epilogue = print_epilogue(w, a.epilogue, DType::f32).make;
  const Extent batch = extent_of(a.query, CudaContraction::batch),
               m = extent_of(a.query, CudaContraction::m), n = extent_of(a.key, CudaContraction::n),
               depth = extent_of(a.query, CudaContraction::k),
               width = extent_of(a.value, CudaContraction::n);
  // Few queries: the warps of a block share them.
  const int64_t blocks = (m.at(sizes) + 63) / 64 * batch.at(sizes);
  const bool share = blocks < target.multiprocessors;
  const int warps_q = share ? 1 : 4, warps_k = share ? 4 : 1;
  const int rows = 16 * warps_q, padded_depth = padded(depth.at(sizes)),
            padded_width = padded(width.at(sizes));
  Extent tiles = m;
  tiles.width = rows;
  w.line("const index tile = (index)blockIdx.x;");
  w.line(fmt::format("const index batch = {};", w.quotient("tile", tiles)));
  w.line(fmt::format(
      "attend<{}, {}, {}, {}, {}, {}, {}>({}, {}, {}, {}, {}, batch, tile - batch * {}, "
      "{}, {}, {});",
      a.math == ContractionMath::f16 ? "F16Math" : "Bf16Math", warps_q, warps_k, kKeys,
      padded_depth, padded_width, a.nan_to_zero, query.make, key.make, value.make, make_score,
      make_epilogue, w.size(tiles), w.size(m), w.size(n), w.size(width)));
  CudaKernel kernel = w.finish(32 * warps_q * warps_k);
  kernel.schedule = CudaSchedule::attention;
  kernel.work = batch;
  kernel.m = m, kernel.n = n, kernel.k = depth;
  kernel.tile = {rows, kKeys * warps_k, warps_q, 1, warps_k, 0, 0, false};
  const int64_t staged = int64_t{rows} * padded_depth * 2 +
                         int64_t{2} * kKeys * warps_k * (padded_depth + padded_width) * 2;
  const int64_t joined = int64_t{warps_k} * rows * (padded_width + 8 + 2) * 4;
  kernel.shared_bytes = std::max(staged, joined);
  return kernel;
}

}  // namespace onrush
