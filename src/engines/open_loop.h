// Requests that arrive at a fixed rate, whether or not those before them are done.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace onrush::engines {

struct OpenLoop {
  double rate = 0;     // requests a second
  int callers = 1;     // that serve them, each one at a time
  double seconds = 1;  // for which requests arrive
};

// Times in seconds. A request's latency runs from the moment it was due, not from the moment when a
// caller came to it: waiting counts (else slow requests hide those that wait behind them, which is
// known as coordinated omission).
struct OpenLoopFigures {
  std::vector<double> latencies;      // of all requests, in the order of their arrival
  std::vector<double> service_times;  // of those served, without waiting
  // Requests left when twice the time was over; their latencies are what they had waited by then.
  uint64_t unserved = 0;
  double served_rate = 0;  // requests a second that were done
};

// `run(caller)` serves one request; it is called by `callers` threads, which have a number each.
// An exception that it throws ends the measurement and is rethrown.
OpenLoopFigures measure_open_loop(const OpenLoop& loop, const std::function<void(int caller)>& run);

}  // namespace onrush::engines
