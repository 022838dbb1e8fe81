// A contraction at concrete sizes: blocks of the left operand are gathered (copied, or computed by
// the tile interpreter), multiplied with packed panels of the right one in registers, and the
// result goes through the epilogue while it is in L1.
#pragma once

#include <memory>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/thread_pool.h"
#include "backend/cpu/tile_kernel.h"
#include "codegen/loops.h"

namespace onrush::cpu {

class ContractionKernel {
 public:
  // packs: pack_rhs will be called; else the packed operand comes from a kernel of other sizes.
  ContractionKernel(const Contraction& contraction, const SizeTable& sizes, const GemmKernel& gemm,
                    bool packs);
  ~ContractionKernel();
  ContractionKernel(ContractionKernel&&) noexcept;

  // Size of the packed right operand, for all batches.
  int64_t packed_bytes() const;
  // How the right operand is packed; equal layouts of one operand are interchangeable.
  std::string packed_layout() const;
  // buffers: by Contraction::rhs.buffers. `packed` is 64-byte aligned.
  void pack_rhs(ThreadPool& pool, void* const* buffers, void* packed) const;

  // lhs_buffers, epilogue_buffers: by Loops::buffers of those kernels.
  void run(ThreadPool& pool, void* const* lhs_buffers, const void* packed,
           void* const* epilogue_buffers) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onrush::cpu
