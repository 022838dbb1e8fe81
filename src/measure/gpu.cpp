#include "measure/gpu.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <fmt/format.h>

#include "backend/cuda/shared_library.h"
#include "measure/report.h"
#include "measure/statistics.h"

namespace onrush::measure {
namespace {

constexpr int kVersions[] = {1};
constexpr cuda::LibraryName kNvml = {"NVML", "libnvidia-ml.so", kVersions, "ONRUSH_NVML"};

// Of nvml.h, which is not needed to build.
using Status = int;  // 0: success
constexpr int kClockSm = 1, kClockMemory = 2;
constexpr int kTemperatureOfChip = 0;
struct Memory {
  unsigned long long total, free, used;
};

struct Reason {
  uint64_t bit;
  const char* text;
};
constexpr Reason kReasons[] = {
    {0x2, "clocks that someone has set"},
    {0x4, "the power limit"},
    {0x8, "a slowdown by hardware"},
    {0x10, "the clocks of other GPUs"},
    {0x20, "the temperature"},
    {0x40, "the temperature (by hardware)"},
    {0x80, "the power supply"},
    {0x100, "clocks of the display"},
};
constexpr uint64_t kIdle = 0x1;

}  // namespace

struct Gpu::Library {
  Status (*init)();
  Status (*handle)(const char* address, void** device);
  Status (*name)(void* device, char* text, unsigned length);
  Status (*memory)(void* device, Memory*);
  Status (*clock)(void* device, int kind, unsigned* mhz);
  Status (*top_clock)(void* device, int kind, unsigned* mhz);
  Status (*power)(void* device, unsigned* milliwatts);
  Status (*temperature)(void* device, int sensor, unsigned* celsius);
  Status (*reasons)(void* device, unsigned long long* bits);

  // Null if this machine has none.
  static std::shared_ptr<const Library> open() {
    const auto library = std::make_shared<Library>();
    const auto rejected = [&](const cuda::SharedLibrary& file) -> std::string {
      cuda::SymbolBinder bind(file);
      bind(library->init, "nvmlInit_v2");
      bind(library->handle, "nvmlDeviceGetHandleByPciBusId_v2");
      bind(library->name, "nvmlDeviceGetName");
      bind(library->memory, "nvmlDeviceGetMemoryInfo");
      bind(library->clock, "nvmlDeviceGetClockInfo");
      bind(library->top_clock, "nvmlDeviceGetMaxClockInfo");
      bind(library->power, "nvmlDeviceGetPowerUsage");
      bind(library->temperature, "nvmlDeviceGetTemperature");
      bind(library->reasons, "nvmlDeviceGetCurrentClocksThrottleReasons");
      if (bind.missing()) return fmt::format("too old: it lacks {}", bind.missing());
      return library->init() == 0 ? "" : "it finds no driver";
    };
    const cuda::Search found = cuda::search(kNvml, cuda::process_environment, rejected);
    return found.library ? library : nullptr;
  }
};

std::optional<Gpu> Gpu::open(const std::string& pci_address) {
  static const std::shared_ptr<const Library> library = Library::open();
  void* device = nullptr;
  if (!library || library->handle(pci_address.c_str(), &device) != 0) return std::nullopt;
  return Gpu(library, device);
}

std::string Gpu::name() const {
  char text[96] = {};
  return library_->name(device_, text, sizeof text) == 0 ? text : "";
}

uint64_t Gpu::used_bytes() const {
  Memory memory = {};
  return library_->memory(device_, &memory) == 0 ? memory.used : 0;
}

double Gpu::top_sm_mhz() const {
  unsigned mhz = 0;
  return library_->top_clock(device_, kClockSm, &mhz) == 0 ? mhz : 0;
}

GpuSample Gpu::sample() const {
  GpuSample sample;
  unsigned value = 0;
  unsigned long long reasons = 0;
  if (library_->clock(device_, kClockSm, &value) == 0) sample.sm_mhz = value;
  if (library_->clock(device_, kClockMemory, &value) == 0) sample.memory_mhz = value;
  if (library_->power(device_, &value) == 0) sample.watts = value / 1e3;
  if (library_->temperature(device_, kTemperatureOfChip, &value) == 0) sample.celsius = value;
  if (library_->reasons(device_, &reasons) == 0) sample.throttle_reasons = reasons;
  return sample;
}

std::string throttle_text(uint64_t reasons) {
  std::vector<std::string> texts;
  for (const Reason& reason : kReasons)
    if (reasons & reason.bit) texts.emplace_back(reason.text);
  return fmt::format("{}", fmt::join(texts, " and "));
}

GpuWatch::GpuWatch(Gpu gpu) : gpu_(std::move(gpu)) {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::mutex sleeping;
    std::condition_variable_any wake;
    while (!stop.stop_requested()) {
      const GpuSample sample = gpu_.sample();
      {
        const std::lock_guard lock(mutex_);
        samples_.push_back(sample);
      }
      std::unique_lock lock(sleeping);
      wake.wait_for(lock, stop, std::chrono::milliseconds(100), [] { return false; });
    }
  });
}

GpuWatch::~GpuWatch() = default;

std::vector<GpuSample> GpuWatch::samples() const {
  const std::lock_guard lock(mutex_);
  return samples_;
}

std::vector<std::string> remarks(const std::vector<GpuSample>& samples) {
  std::vector<double> clocks, watts;
  uint64_t reasons = 0;
  for (const GpuSample& sample : samples) {
    if (sample.throttle_reasons & kIdle) continue;
    clocks.push_back(sample.sm_mhz);
    watts.push_back(sample.watts);
    reasons |= sample.throttle_reasons;
  }
  if (clocks.empty()) return {};
  const double slow = quantile(clocks, 0.05), fast = quantile(clocks, 0.95);
  std::vector<std::string> texts = {fmt::format("GPU: clock {:.0f} to {:.0f} MHz, {:.0f} W at most",
                                                slow, fast, quantile(watts, 1))};
  if (slow < 0.95 * fast) texts.emplace_back("the GPU's clock changed during the measurement");
  if (const std::string why = throttle_text(reasons); !why.empty())
    texts.push_back("the GPU was slowed down by " + why);
  return texts;
}

}  // namespace onrush::measure
