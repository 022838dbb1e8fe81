// What a client of the optimizer chooses, and what it can watch.
#pragma once

#include <climits>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/graph.h"

namespace onrush {

// One run of a pass. The graphs live for the duration of the call only.
struct PassReport {
  std::string_view pass;
  int step;  // position in the list of passes
  double milliseconds;
  const Graph& before;
  const Graph& after;
};

struct OptimizeOptions {
  std::vector<std::string> disabled;  // names of passes to leave out
  int stop_after = INT_MAX;           // run only that many of the list, for bisection
  bool verify = true;                 // verify(graph, Stage::optimized) after every pass
  std::function<void(const PassReport&)> observer = {};  // called after every pass that ran
};

}  // namespace onrush
