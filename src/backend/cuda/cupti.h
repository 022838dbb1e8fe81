// CUPTI's activity records: what a device did and when.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/libraries.h"

namespace onrush::cuda {

struct DeviceActivity {
  enum class Kind { kernel, copy, fill };
  Kind kind;
  int64_t start_ns, end_ns;  // of std::chrono::steady_clock
};

// As found on this machine; its file is empty if none was.
LibraryReport cupti_report();

// Traces what marked parts of this thread's work make the device do, from construction to stop().
// One at a time in a process: a second one waits in its constructor. Where another tool of the
// process listens to CUPTI's records already, it loses those of this time.
class ActivityTrace {
 public:
  static bool available();  // CUPTI was found and takes part

  ActivityTrace();  // REQUIRES available()
  ActivityTrace(const ActivityTrace&) = delete;
  ActivityTrace& operator=(const ActivityTrace&) = delete;
  ~ActivityTrace();

  // Only what this thread launches between them is traced.
  void begin();
  void end();
  // By start. REQUIRES that the work was waited for.
  std::vector<DeviceActivity> stop();

 private:
  std::unique_lock<std::mutex> turn_;
  bool active_ = true;
};

}  // namespace onrush::cuda
