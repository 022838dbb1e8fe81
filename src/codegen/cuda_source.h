// Loops and contractions printed as CUDA C++.
//
// The text calls the functions of device/onrush.cuh and nothing else. Sizes are arguments: a kernel
// serves every size, so equal text is one program. Work is one element or one row:
//   - pointwise: a thread computes an element of the parallel axes, in a grid-stride loop
//   - row: a block reduces one row, its threads side by side along the innermost reduce axis
//   - column: a thread reduces one element's column by itself
//   - contraction: a thread computes one element of the result
#pragma once

#include <span>
#include <string>
#include <vector>

#include "codegen/loops.h"

namespace onrush {

enum class CudaSchedule : uint8_t { pointwise, row, column, contraction };

struct CudaKernel {
  std::string text;  // arguments and body; equal text is one function
  CudaSchedule schedule;
  int threads;                      // a block
  std::vector<LoopBuffer> buffers;  // pointer arguments, in order
  std::vector<Dim> sizes;           // elements of the Sizes argument, in order
  Dim work;                         // elements or rows
};

CudaKernel print_cuda(const Loops& loops);
CudaKernel print_cuda(const Contraction& contraction);

// A compilable program of several kernels, given by their text: kernel i is the extern "C" function
// "kernel_i". Its arguments are the buffers' pointers, the sizes as a struct of i64, and a pointer
// to a u32 that becomes 1 if an index was out of range. wide_index: offsets may pass 2^31.
std::string cuda_program(std::span<const std::string> texts, bool wide_index);

// The text of device/onrush.cuh, which the programs include under the name "onrush.cuh".
std::string_view cuda_device_header();

}  // namespace onrush
