// A graph cut into groups, each of which becomes one kernel.
#pragma once

#include <string>
#include <vector>

#include "ir/time.h"

namespace onrush {

struct Group {
  enum class Kind : uint8_t {
    pointwise,    // elementwise and movement
    reduction,    // rows: `reduce` nodes over one set of axes and what surrounds them
    window,       // a sliding window and what follows
    contraction,  // dot or conv and its epilogue
    concat,       // parts written side by side
    host,         // one primitive that is not generated: evaluated by itself
  };
  Kind kind;
  NodeId anchor;                // the contraction, window, concat, host node, or first reduction
  std::vector<NodeId> members;  // nodes computed here and nowhere else, ascending
  std::vector<NodeId> outputs;  // members that get a buffer
  Time time = Time::run;        // or Time::prepare: once a session
};

struct Schedule {
  Graph graph;
  std::vector<Group> groups;       // in an order of execution
  std::vector<int> home;           // by node: its group, or -1: computed inside every user
  std::vector<bool> materialised;  // by node: has a buffer (inputs and constants have one too)
};

std::string to_string(const Schedule& schedule);

}  // namespace onrush
