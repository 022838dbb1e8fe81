// Times several ways to do the same work against each other.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend/cuda/stream.h"

namespace onrush::cuda {

struct Candidate {
  std::string way;  // for errors: "tiles of 64 x 32"
  // Puts the work on a stream, `launches` kernels. after_kernel: a kernel is ahead of it.
  std::function<void(const Stream& stream, bool after_kernel)> put;
};

// Microseconds of a launch by each candidate, medians of rounds in which they take turns: graphs
// of the work again and again, warm. One that cannot do the work gives infinity, as does a
// candidate whose launch is not one kernel: graphs and profiles count on that. Throws Error{device}
// that names a candidate after which the device does no more work.
std::vector<double> time_in_turns(const ContextPtr& context,
                                  const std::vector<Candidate>& candidates, size_t launches);

}  // namespace onrush::cuda
