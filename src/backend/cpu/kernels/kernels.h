// The vector kernels of the CPU backend. Each is compiled for several instruction sets (AVX-512,
// AVX2 and the compiler's baseline) and chosen at run time.
#pragma once

#include "backend/cpu/kernels/compute.h"
#include "backend/cpu/kernels/depthwise.h"
#include "backend/cpu/kernels/gemm.h"
#include "backend/cpu/kernels/gemm_split.h"
#include "backend/cpu/kernels/memory.h"
#include "backend/cpu/kernels/reduce.h"
#include "backend/cpu/kernels/tile.h"
