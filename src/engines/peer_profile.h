// What a peer's own profiler says of its runs.
#pragma once

#include <string>
#include <vector>

#include "engines/worker.h"

namespace onrush::engines {

// On the CPU a node or operator. On a GPU what a kernel of it takes of the run, without what an
// earlier one overlaps; or the time for which the GPU has nothing to do because the host is at a
// node ("MemcpyToHost", or any of ONNX Runtime's on the CPU), a copy ("Memcpy HtoD") or
// "synchronize". There, what no event accounts for is spent starting kernels.
struct PeerEvent {
  std::string name;         // of the node, as the peer calls it
  std::string op;           // "Conv", "FusedConv", "aten::conv2d"
  std::string provider;     // ONNX Runtime's: "CUDAExecutionProvider"; empty for others
  double time_us = 0;       // in a run
  double calls = 0;         // in a run
  std::string kernel = {};  // of a GPU: "nchwToNhwcKernel"
  double device_us = 0;     // of time_us: the GPU's, which being watched does not slow down
  int position = -1;        // of the node or operator in the run: its kernels share it; -1: none
};

struct PeerProfile {
  double run_us = 0;              // a profiled run, all of it
  std::vector<PeerEvent> events;  // in order of execution
  std::string graph = {};         // the ONNX file that the peer ran in the end; empty: none
  double unwaited_us = 0;         // what a clock shows that does not wait for the GPU; 0: unknown
};

// Asks the worker, which has loaded the model, for a profile of so many runs. What it writes goes
// to `folder`. Throws WorkerError.
PeerProfile profile_peer(Worker& worker, int runs, const std::string& folder, bool on_gpu);

// A worker's answer.
PeerProfile peer_profile(const Json& answer);

// "sgemm" of "void cutlass::sgemm<float>(float*)", whether mangled or not. Of
// "cutlass::Kernel2<cutlass_80_gemm>" what it is made for.
std::string kernel_title(const std::string& symbol);

}  // namespace onrush::engines
