// Engines side by side: each in a process of its own, in turns, on the same inputs.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engines/bisect.h"
#include "engines/worker.h"
#include "measure/gpu.h"
#include <onrush/tensor.h>

namespace onrush::engines {

// Who takes part, and what is known of it so far.
struct Contestant {
  std::string name;               // "onnxruntime:tuned"
  std::function<Worker()> start;  // its process
  Json load;                      // what it is asked to load, see onrush_engine.h

  std::string failure;  // why there is no more; empty: none
  std::optional<Worker> worker;
  std::string version;
  double load_ms = 0, first_ms = 0;
  // Resident memory of its process: before it loaded the model, and the most so far.
  uint64_t bytes_before = 0, bytes_peak = 0;
  uint64_t gpu_bytes = 0;  // of GPU memory that went when it loaded the model and ran it
  bool loaded = false;
  std::vector<Tensor> outputs;              // of the first run
  std::vector<std::vector<double>> rounds;  // milliseconds of each run in each round
};

// The medians of its rounds, and all its runs.
std::vector<double> round_medians(const Contestant& contestant);
std::vector<double> all_runs(const Contestant& contestant);

struct ContestOptions {
  size_t rounds = 50;
  double round_seconds = 0.05;  // that an engine runs in each round ...
  size_t least_runs = 2;        // ... but so often at least, after one that is not counted
  double timeout_s = 600;       // for each thing an engine is asked to do
  std::string folder;           // for arrays and logs
  std::vector<DType> outputs;   // types that the model declares; undefined: the engine's
};

using ShowProgress = std::function<void(std::string_view)>;

// A contestant that fails keeps what was measured before, with the reason as its `failure`. Where
// the user interrupts, the functions return early.
void load_all(std::vector<Contestant>& contestants, const ContestOptions& options,
              const measure::Gpu* gpu, const ShowProgress& show);
// Round by round, each starting with another contestant.
void run_rounds(std::vector<Contestant>& contestants, const ContestOptions& options,
                const ShowProgress& show);

// Runs another model in the contestant's process, once: its outputs, of the types that the model
// declares where it does. Throws WorkerError or Interrupted.
std::vector<Tensor> run_other_model(Contestant& contestant, const onnx::Model& model,
                                    const NamedTensors& inputs, const ContestOptions& options);

}  // namespace onrush::engines
