// Functions that follow products and convolutions.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels/tile.h"

namespace onrush::cpu {

enum class Activation : uint8_t {
  none,
  silu,        // x * sigmoid(x)
  hard_swish,  // x * clamp(x / 6 + 1 / 2, 0, 1)
  gelu,        // x * (1 + erf(x / sqrt(2))) / 2
  gelu_tanh,   // x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2
};

// For f32; null for none.
UnaryKernel activation_kernel(Activation activation);

}  // namespace onrush::cpu
