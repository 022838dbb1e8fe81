// A GPU as NVML sees it: memory, clocks, power and what slows it down. NVML comes with NVIDIA's
// driver and is opened at run time.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace onrush::measure {

struct GpuSample {
  double sm_mhz = 0, memory_mhz = 0;
  double watts = 0, celsius = 0;
  uint64_t throttle_reasons = 0;  // NVML's bits
};

class Gpu {
 public:
  // None where NVML or the device is missing. `pci_address` as in "0000:1a:00.0".
  static std::optional<Gpu> open(const std::string& pci_address);

  std::string name() const;
  uint64_t used_bytes() const;  // of the device's memory, by all processes
  double top_sm_mhz() const;
  GpuSample sample() const;  // zeros for what the device does not tell

 private:
  struct Library;
  Gpu(std::shared_ptr<const Library> library, void* device)
      : library_(std::move(library)), device_(device) {}

  std::shared_ptr<const Library> library_;
  void* device_;
};

// "the power limit and the temperature"; empty for none but idleness.
std::string throttle_text(uint64_t reasons);

// Samples a GPU from construction on, ten times a second.
class GpuWatch {
 public:
  explicit GpuWatch(Gpu gpu);
  ~GpuWatch();
  GpuWatch(const GpuWatch&) = delete;
  GpuWatch& operator=(const GpuWatch&) = delete;

  const Gpu& gpu() const { return gpu_; }
  std::vector<GpuSample> samples() const;

 private:
  Gpu gpu_;
  mutable std::mutex mutex_;
  std::vector<GpuSample> samples_;
  std::jthread thread_;
};

// A sentence on what was seen, and one for each thing worth a warning: throttling, a clock that
// changed by more than 5 %. Samples of a device that was idle do not count.
std::vector<std::string> remarks(const std::vector<GpuSample>& samples);

}  // namespace onrush::measure
