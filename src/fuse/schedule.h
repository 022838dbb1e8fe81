// A graph cut into groups, each of which becomes one kernel.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ir/time.h"

namespace onrush {

// Why a group is a kernel of its own, and not part of one that it reads from.
enum class Apart : uint8_t {
  // Always, by what the group's anchor does.
  contraction,
  window,
  concat,
  loop,
  primitive,   // a sort, a scan, a call
  other_rows,  // a reduction that no kernel before it has the rows of
  // Elementwise work or movement whose result is needed in memory: by whom?
  output,    // the caller
  for_host,  // a host primitive
  repeated,  // a kernel that asks for an element several times
  shared,    // several kernels, each of which would have to repeat much work
  prepared,  // the runs: it depends on weights alone
};
// And why elementwise work could not be done where its operands are computed.
enum class Unfit : uint8_t {
  no_kernel,  // they are no kernel's results, or it is no elementwise work
  order,      // it needs them in another order, shape or place
  cycle,      // that kernel would have to wait for one that waits for it
};
// "a product reads each element of its operands many times", ...
std::string to_string(Apart apart, Unfit unfit);

struct Group {
  enum class Kind : uint8_t {
    pointwise,    // elementwise and movement
    reduction,    // rows: `reduce` nodes over one set of axes and what surrounds them
    window,       // a sliding window and what follows
    contraction,  // dot or conv and its epilogue
    concat,       // parts written side by side, but for those that other kernels write there
    host,         // one primitive that is not generated: evaluated by itself
  };
  Kind kind;
  NodeId anchor;                // the contraction, window, concat, host node, or first reduction
  std::vector<NodeId> members;  // nodes computed here and nowhere else, ascending
  std::vector<NodeId> outputs;  // members that get a buffer
  Time time = Time::run;        // or Time::prepare: once a session
  Apart apart = Apart::output;
  Unfit unfit = Unfit::no_kernel;
};

// Where a value lies in memory if that is inside a concatenation: its kernel writes it where it
// belongs, and all who read it read it there.
struct Inside {
  NodeId whole;
  int axis;
  Dim start;   // along that axis
  bool dense;  // side by side, as by itself: else its rows lie apart
};

struct Schedule {
  Graph graph;
  std::vector<Group> groups;       // in an order of execution
  std::vector<int> home;           // by node: its group, or -1: computed inside every user
  std::vector<bool> materialised;  // by node: has a buffer (inputs and constants have one too)
  std::vector<std::optional<Inside>> inside;  // by node
};

std::string to_string(const Schedule& schedule);

}  // namespace onrush
