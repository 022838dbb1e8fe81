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
  // "attention": several of them as one;
  // "host": a primitive that is evaluated by itself; "graph": all of a plan of the reference
  // device; "compile": a plan is made, in the first run and for sizes that no plan serves yet.
  std::string kind;
  std::string name;                // its primitives, as in "dot+add+max"
  std::vector<std::string> nodes;  // the ONNX nodes that it computes
};

struct ProfileEvent {
  std::shared_ptr<const ProfiledStep> step;  // the same object in every run of a plan
  int64_t start_ns;                          // of std::chrono::steady_clock
  int64_t duration_ns;
};

// What one run did. Events are in order and do not overlap; what they leave of the duration is
// spent between steps: checking inputs, finding the plan, passing on outputs.
struct RunProfile {
  int64_t start_ns = 0;  // of std::chrono::steady_clock
  int64_t duration_ns = 0;
  std::vector<ProfileEvent> events;
};

}  // namespace onrush
