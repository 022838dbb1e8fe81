// What one run works with besides its inputs and outputs.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "backend/cuda/recording.h"

namespace onrush::cuda {

// The memory of one run, reused by later ones.
struct Frame {
  static constexpr size_t kErrorBytes = 256;  // of host memory, behind what a run needs

  Frame(CudaShared& shared, size_t bytes, size_t host_bytes);
  uint32_t& host_error() {
    return *reinterpret_cast<uint32_t*>(host.data() + host.bytes() - kErrorBytes);
  }

  Stream own;
  Stream stream;        // of the latest run: its own or the caller's
  DeviceBuffer memory;  // arena, then inputs, outputs and results of host steps
  DeviceBuffer words;   // RunWords
  PinnedBuffer host;    // inputs and small outputs on their way, then the error
  MemoryCount scratch, pinned;
  Event ready;           // the default stream has done what came before the latest run
  Event done;            // of the latest run
  bool pending = false;  // nobody has waited for it
  bool staged = false;   // it read inputs from `host`
  int runs = 0;
  std::optional<Recording> recording;
};

// Inputs and outputs that lie on the device, aligned, are used in place; others have a copy in the
// frame.
RunMemory memory_of_run(const BoundPlan& plan, const Frame& frame,
                        std::span<const Tensor> inputs = {}, std::span<const Tensor> outputs = {});

}  // namespace onrush::cuda
