// What a session's memory is used for.
#pragma once

#include <cstddef>

namespace onrush {

// In bytes; on the GPU for sessions there, else on the host.
struct MemoryUse {
  // Computed from the model's weights for its kernels. The CPU reads other weights where the
  // model's file is mapped; they are not counted.
  size_t weights = 0;
  size_t scratch = 0;  // arenas of runs, kept for further ones
  size_t graphs = 0;   // of recorded CUDA graphs: what was missing on the device after recording
  size_t pinned = 0;   // on the host, for inputs and outputs on their way to a GPU and from it
};

}  // namespace onrush
