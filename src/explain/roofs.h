// How fast this machine can be: the best that kernels of Onrush reach here when nothing but memory,
// or nothing but arithmetic, is in their way. The best ever measured is kept in the cache folder.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <onrush/session.h>

namespace onrush::explain {

struct Roofs {
  struct Bandwidth {
    double bytes;             // that a kernel reads and writes together
    double bytes_per_second;  // of both
  };
  std::vector<Bandwidth> bandwidth;  // ascending by bytes: caches first, then memory
  double product_flops = 0;          // a second, of matrix products in the session's precision
  double vector_flops = 0;           // a second, of elementwise arithmetic in f32
  double start_us = 0;               // a kernel that computes one element

  // The rate for a kernel that moves so many bytes, interpolated between those measured.
  double bytes_per_second(double bytes) const;
};

// Measures for a second or two the first time on this device with these threads and this precision,
// later for a moment, in case the machine was busy before. Throws what sessions throw.
Roofs roofs(const SessionOptions& options,
            const std::function<void(const std::string&)>& progress = {});

// The processor's name, or the GPU's.
std::string device_name(const SessionOptions& options);

}  // namespace onrush::explain
