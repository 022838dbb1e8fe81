// How long a model took, and how much memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace onrush::cli {

class Stopwatch {
 public:
  double milliseconds() const {
    return std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

// The value below which this share of the samples lies, interpolated between neighbours.
// REQUIRES: at least one sample, 0 <= share <= 1.
double quantile(std::vector<double> samples, double share);

// Most memory this process ever had resident, in bytes; 0 where the system does not tell. Unlike
// getrusage's figure it leaves out the program that started this one.
uint64_t peak_resident_bytes();

}  // namespace onrush::cli
