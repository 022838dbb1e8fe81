// Times several ways to do the same work against each other.
#pragma once

#include <functional>
#include <vector>

#include "backend/cuda/stream.h"

namespace onrush::cuda {

// Puts the work on a stream, `launches` kernels, by one way. after_kernel: a kernel is ahead of it.
using Candidate = std::function<void(const Stream& stream, bool after_kernel)>;

// Microseconds of a launch by each candidate, medians of rounds in which they take turns: graphs
// of the work again and again, warm. One that cannot do the work gives infinity, as does a
// candidate whose launch is not one kernel: graphs and profiles count on that.
std::vector<double> time_in_turns(const ContextPtr& context,
                                  const std::vector<Candidate>& candidates, size_t launches);

}  // namespace onrush::cuda
