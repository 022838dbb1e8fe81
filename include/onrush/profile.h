// Where the time of runs goes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace onrush {

// A piece of work that runs time by itself: a kernel of a plan, mostly.
struct ProfiledStep {
  // "pointwise", "reduction", "window", "contraction", "concat": a kernel of that form;
  // "attention": several of them as one; "primitive": a sort, scan or the like by its own kernels;
  // "loop": a plan of its own, run once a trip; "host": a primitive that is evaluated by itself;
  // "graph": all of a plan of the reference device; "compile": a plan is made, in the first run and
  // for sizes that no plan serves yet; "bind": a plan is given sizes that it has not had lately. On
  // a GPU also "copy": of inputs and outputs; "send": the host hands these copies to the driver;
  // "launch": it hands it kernels; "wait": it waits for the device, which is idle or not yet heard
  // of.
  std::string kind;
  std::string name;                       // its primitives, as in "dot+add+max"
  std::vector<std::string> nodes;         // the ONNX nodes that it computes
  std::vector<std::string> inlined = {};  // nodes that it computes for itself, as others may too
  std::string apart = {};                 // why it is not part of a kernel before it
  std::string way = {};  // on a GPU, where there are several: how it is computed at the sizes

  // At the sizes of the run. All 0 for "graph", "compile" and "bind".
  int64_t bytes_read = 0;  // each element that is needed counts once
  int64_t bytes_written = 0;
  int64_t flops = 0;          // floating-point operations; a function such as exp is one
  int64_t product_flops = 0;  // of these, in matrix products and convolutions
  int64_t scratch_bytes = 0;  // alive in the arena meanwhile
  int kernels = 1;            // each leaves an event
};

struct ProfileEvent {
  std::shared_ptr<const ProfiledStep> step;  // the same object in every run of the same sizes
  int64_t start_ns;                          // of std::chrono::steady_clock
  int64_t duration_ns;
};

// What one run did. Events are in order and do not overlap; what they leave of the duration is
// spent between steps: checking inputs, finding the plan, passing on outputs. Work of a GPU goes
// before that of the host at the same time, and a kernel that starts while the one ahead ends
// counts from that end on.
struct RunProfile {
  int64_t start_ns = 0;  // of std::chrono::steady_clock
  int64_t duration_ns = 0;
  std::vector<ProfileEvent> events;
  // What timed the work of a GPU: "CUPTI"; "events", each of which keeps the kernels on both of its
  // sides from overlapping; empty if none did any.
  std::string device_clock;
  // In: whether a GPU's work is timed, too, which keeps the host longer. Else the events are those
  // of the host alone.
  bool device = true;
};

}  // namespace onrush
