// What a peer's own profiler says of its runs.
#pragma once

#include <string>
#include <vector>

#include "engines/worker.h"

namespace onrush::engines {

struct PeerEvent {
  std::string name;      // of the node, as the peer calls it
  std::string op;        // "Conv", "FusedConv", "aten::conv2d"
  std::string provider;  // ONNX Runtime's: "CUDAExecutionProvider"; empty for others
  double time_us = 0;    // in a run
  double calls = 0;      // in a run
};

struct PeerProfile {
  double run_us = 0;              // a profiled run, all of it
  std::vector<PeerEvent> events;  // in order of execution
  std::string graph;              // the ONNX file that the peer ran in the end; empty: none
};

// Asks the worker, which has loaded the model, for a profile of so many runs. What it writes goes
// to `folder`. Throws WorkerError.
PeerProfile profile_peer(Worker& worker, int runs, const std::string& folder);

}  // namespace onrush::engines
