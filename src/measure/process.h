// What the system says about processes, and the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <sys/types.h>

namespace onrush::measure {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  double milliseconds() const { return 1e3 * seconds(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

// Memory that a process has resident, in bytes; zeros where the system does not tell. Unlike
// getrusage's figure the peak leaves out the program that started it.
struct ResidentMemory {
  uint64_t now = 0, peak = 0;
};
ResidentMemory resident_memory();  // of this process
ResidentMemory resident_memory(pid_t process);

// The processor time that a process has used, in seconds; 0 where the system does not tell.
double processor_seconds(pid_t process);

// How busy the machine's processors were since construction.
class ProcessorUse {
 public:
  ProcessorUse();
  // Processors that were busy on average, all work of the machine counted, and those that the
  // hypervisor gave to others meanwhile.
  struct Use {
    double busy = 0, stolen = 0;
  };
  Use use() const;

 private:
  struct Ticks {
    double busy = 0, stolen = 0;
  };
  static Ticks read();

  Ticks begin_;
  Stopwatch watch_;
};

std::string processor_name();  // "AMD EPYC 7B13"; empty where the system does not tell

}  // namespace onrush::measure
