#include "engines/onrush_engine.h"

#include <chrono>
#include <optional>

#include "base/check.h"
#include "engines/open_loop.h"
#include "engines/worker.h"
#include "measure/process.h"
#include "npy/npy.h"
#include "runtime/precision.h"
#include "runtime/session_impl.h"
#include <onrush/device_memory.h>

namespace onrush::engines {
namespace {

class OnrushEngine {
 public:
  Json answer(const Json& request) {
    const std::string call = request.at("call");
    if (call == "load") return load(request);
    if (call == "outputs") return outputs(request);
    if (call == "round") return round(request);
    if (call == "memory") return memory();
    if (call == "version") return {{"version", version()}};
    if (call == "gpu") return gpu(request.at("device"));
    if (call == "open_loop") return open_loop(request);
    fail(ErrorCode::invalid_argument, "there is no call '{}'", call);
  }

 private:
  Json load(const Json& request) {
    *this = OnrushEngine();
    SessionOptions options;
    options.device = request.at("device");
    options.threads = request.at("threads");
    options.precision = precision_of(request.at("precision").get<std::string>()).value();
    options.cache_folder = request.value("cache_folder", "");
    options.tune = request.value("tune", false);
    const measure::Stopwatch loading;
    session_.emplace(Session::load(request.at("model").get<std::string>(), options));
    const double load_ms = loading.milliseconds();

    const NpzFile file(request.at("inputs").get<std::string>());
    for (const Argument& input : session_->inputs())
      if (file.contains(input.name)) inputs_[input.name] = file.read(input.name, input.dtype);
    const measure::Stopwatch first;
    first_outputs_ = session_->run(inputs_);
    const double first_ms = first.milliseconds();
    if (request.at("placement") == "device") move_to_device(options.device);
    // What runs often is ready after a few runs: a GPU's kernels are recorded in the second.
    for (int i = 0; i < 2; ++i) run();
    return {{"load_ms", load_ms}, {"first_ms", first_ms}};
  }

  void move_to_device(const std::string& device) {
    const std::optional<int> ordinal = cuda_ordinal(device);
    if (!ordinal)
      fail(ErrorCode::invalid_argument, "inputs can only be placed on a GPU, not on '{}'", device);
    placement_ = Device{Device::Kind::cuda, *ordinal};
    for (auto& [name, value] : inputs_) value = moved_to(*placement_, value.tensor());
    options_ = new_options();
  }

  // With memory for the outputs where they are to be placed on a GPU.
  RunOptions new_options() const {
    RunOptions options;
    for (size_t i = 0; placement_ && i < first_outputs_.size(); ++i) {
      const Tensor& host = first_outputs_[i].tensor();
      options.outputs[session_->outputs()[i].name] =
          new_tensor(host.dtype(), host.shape(), *placement_);
    }
    return options;
  }

  void run() { session_->run(inputs_, {}, options_, results_); }

  Json outputs(const Json& request) {
    std::vector<std::pair<std::string, Tensor>> arrays;
    Json names = Json::array();
    for (size_t i = 0; i < first_outputs_.size(); ++i) {
      arrays.emplace_back(std::to_string(i), first_outputs_[i].tensor());
      names.push_back(session_->outputs()[i].name);
    }
    write_npz(request.at("file"), arrays);
    return {{"names", names}};
  }

  Json round(const Json& request) {
    using Clock = std::chrono::steady_clock;
    const auto least = request.at("least").get<size_t>(), most = request.at("most").get<size_t>();
    std::vector<int64_t> times;
    run();  // after others had the caches; not counted
    const auto end =
        Clock::now() + std::chrono::duration<double>(request.at("seconds").get<double>());
    while (times.size() < most && (times.size() < least || Clock::now() < end)) {
      const auto begin = Clock::now();
      run();
      times.push_back(std::chrono::nanoseconds(Clock::now() - begin).count());
    }
    return {{"ns", times}};
  }

  Json memory() const {
    const MemoryUse use = session_->memory_use();
    return {{"weights", use.weights},
            {"scratch", use.scratch},
            {"graphs", use.graphs},
            {"pinned", use.pinned}};
  }

  static Json gpu(const std::string& device) {
    const std::optional<int> ordinal = cuda_ordinal(device);
    if (!ordinal) fail(ErrorCode::invalid_argument, "'{}' is no GPU", device);
    return {{"pci_address", pci_address({Device::Kind::cuda, *ordinal})}};
  }

  Json open_loop(const Json& request) {
    const OpenLoop loop = {request.at("rate"), request.at("callers"), request.at("seconds")};
    struct Caller {
      RunOptions options;
      std::vector<Value> results;
    };
    std::vector<Caller> callers(static_cast<size_t>(loop.callers));
    for (Caller& caller : callers) caller.options = new_options();
    const auto run = [&](int number) {
      Caller& caller = callers[static_cast<size_t>(number)];
      session_->run(inputs_, {}, caller.options, caller.results);
    };
    // All at once, so that each has its memory before the first request.
    constexpr int kWarmRuns = 3;
    for (int i = 0; i < kWarmRuns; ++i)
      measure_open_loop({1e9, loop.callers, loop.callers / 1e9}, run);
    const OpenLoopFigures figures = measure_open_loop(loop, run);
    return {{"latencies", figures.latencies},
            {"service_times", figures.service_times},
            {"unserved", figures.unserved},
            {"served_rate", figures.served_rate}};
  }

  std::optional<Session> session_;
  std::optional<Device> placement_;  // of inputs and outputs, if on a GPU
  NamedValues inputs_;
  RunOptions options_;
  std::vector<Value> first_outputs_, results_;
};

}  // namespace

void serve_onrush() {
  OnrushEngine engine;
  serve([&](const Json& request) { return engine.answer(request); });
}

}  // namespace onrush::engines
