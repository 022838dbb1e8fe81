// Why CUDA works here, or does not.
#pragma once

#include <string>

#include "base/disk_cache.h"

namespace onrush::cuda {

// A report to print: the driver, each device, each library with its path and version, the cache,
// what is missing with what that costs and what to install, and everywhere that was looked.
// Opens the libraries but leaves the devices alone. Never throws because something is missing.
std::string doctor_report(const CacheOptions& cache = {});

// The file that CUPTI was found in, which tells what a GPU did and when; empty: not found.
std::string cupti_path();

// As its vendor calls it. Throws Error where there is no such GPU.
std::string device_name(int ordinal);

}  // namespace onrush::cuda
