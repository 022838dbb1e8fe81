#include "engines/contest.h"

#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <future>

#include "base/check.h"
#include "measure/process.h"
#include "measure/statistics.h"
#include "npy/npy.h"
#include "onnx/encode.h"

namespace onrush::engines {
namespace {

constexpr size_t kMostRuns = 2000;  // of one engine in a round

// numpy's name of a type that it has; empty for others.
std::string numpy_name(DType dtype) {
  switch (dtype) {
    case DType::f16: return "float16";
    case DType::f32: return "float32";
    case DType::f64: return "float64";
    case DType::boolean: return "bool";
    default: return is_integer(dtype) && !is_sub_byte(dtype) ? std::string(onnx_name(dtype)) : "";
  }
}

// Types and shapes, for engines that want memory for their outputs beforehand. Null if one has a
// type that numpy lacks.
Json described(const std::vector<Tensor>& outputs) {
  Json list = Json::array();
  for (const Tensor& output : outputs) {
    if (numpy_name(output.dtype()).empty()) return nullptr;
    list.push_back({numpy_name(output.dtype()), output.shape()});
  }
  return list;
}

std::vector<Tensor> fetch_outputs(Worker& worker, const std::string& path,
                                  std::span<const DType> declared, double timeout_s) {
  worker.call({{"call", "outputs"}, {"file", path}}, timeout_s);
  const NpzFile file(path);
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < file.names().size(); ++i)
    outputs.push_back(
        file.read(std::to_string(i), i < declared.size() ? declared[i] : DType::undefined));
  return outputs;
}

void load(Contestant& contestant, const ContestOptions& options, size_t number,
          const measure::Gpu* gpu) {
  Worker& worker = *contestant.worker;
  contestant.bytes_before = measure::resident_memory(worker.process()).now;
  const uint64_t gpu_before = gpu ? gpu->used_bytes() : 0;
  const Json loaded = worker.call(contestant.load, options.timeout_s);
  if (gpu) contestant.gpu_bytes = gpu->used_bytes() - std::min(gpu->used_bytes(), gpu_before);
  contestant.load_ms = loaded.at("load_ms");
  contestant.first_ms = loaded.at("first_ms");
  contestant.bytes_peak = measure::resident_memory(worker.process()).peak;
  contestant.loaded = true;
  contestant.outputs =
      fetch_outputs(worker, fmt::format("{}/outputs-{}.npz", options.folder, number),
                    options.outputs, options.timeout_s);
}

void run_round(Contestant& contestant, const ContestOptions& options) {
  const Json answer = contestant.worker->call({{"call", "round"},
                                               {"seconds", options.round_seconds},
                                               {"least", options.least_runs},
                                               {"most", kMostRuns}},
                                              options.timeout_s);
  std::vector<double> milliseconds;
  for (const Json& ns : answer.at("ns")) milliseconds.push_back(ns.get<double>() / 1e6);
  contestant.rounds.push_back(std::move(milliseconds));
  const uint64_t peak = measure::resident_memory(contestant.worker->process()).peak;
  contestant.bytes_peak = std::max(contestant.bytes_peak, peak);
}

// Runs `work` and makes what goes wrong the contestant's failure; false if the user interrupted.
template <class WorkOf>
bool attempt(Contestant& contestant, const WorkOf& work) {
  try {
    work();
    return true;
  } catch (const Interrupted&) {
    if (contestant.rounds.empty()) contestant.failure = "interrupted";
    return false;
  } catch (const std::exception& error) {
    contestant.failure = error.what();
    contestant.worker.reset();
    return true;
  }
}

// Starts the processes side by side: a peer in Python is imported for seconds. False if the user
// interrupted.
bool start_all(std::vector<Contestant>& contestants, const ContestOptions& options) {
  std::vector<std::future<std::string>> versions(contestants.size());
  for (size_t i = 0; i < contestants.size(); ++i) {
    Contestant& contestant = contestants[i];
    if (!contestant.failure.empty()) continue;
    if (!attempt(contestant, [&] { contestant.worker = contestant.start(); })) return false;
    if (contestant.worker)
      versions[i] = std::async(std::launch::async, [&] {
        return contestant.worker->call({{"call", "version"}}, options.timeout_s)
            .at("version")
            .get<std::string>();
      });
  }
  bool go_on = true;
  for (size_t i = 0; i < contestants.size(); ++i)
    if (versions[i].valid())
      go_on &= attempt(contestants[i], [&] { contestants[i].version = versions[i].get(); });
  return go_on;
}

}  // namespace

std::vector<double> round_medians(const Contestant& contestant) {
  std::vector<double> medians;
  for (const auto& round : contestant.rounds) medians.push_back(measure::median(round));
  return medians;
}

std::vector<double> all_runs(const Contestant& contestant) {
  std::vector<double> runs;
  for (const auto& round : contestant.rounds) runs.insert(runs.end(), round.begin(), round.end());
  return runs;
}

void load_all(std::vector<Contestant>& contestants, const ContestOptions& options,
              const measure::Gpu* gpu, const ShowProgress& show) {
  Json outputs;
  show(fmt::format("starting {} engines", contestants.size()));
  bool go_on = start_all(contestants, options);
  for (size_t i = 0; i < contestants.size(); ++i) {
    Contestant& contestant = contestants[i];
    if (!go_on) contestant.failure = "interrupted";
    if (!contestant.failure.empty()) continue;
    show(fmt::format("loading the model in {} ({} of {})", contestant.name, i + 1,
                     contestants.size()));
    if (!outputs.is_null()) contestant.load["outputs"] = outputs;
    go_on = attempt(contestant, [&] { load(contestant, options, i, gpu); });
    if (outputs.is_null() && contestant.loaded) outputs = described(contestant.outputs);
  }
}

void run_rounds(std::vector<Contestant>& contestants, const ContestOptions& options,
                const ShowProgress& show) {
  for (size_t round = 0; round < options.rounds; ++round)
    for (size_t i = 0; i < contestants.size(); ++i) {
      Contestant& contestant = contestants[(i + round) % contestants.size()];
      if (!contestant.worker || !contestant.failure.empty()) continue;
      show(fmt::format("round {} of {}: {}", round + 1, options.rounds, contestant.name));
      if (!attempt(contestant, [&] { run_round(contestant, options); })) return;
    }
}

std::vector<Tensor> run_other_model(Contestant& contestant, const onnx::Model& model,
                                    const NamedTensors& inputs, const ContestOptions& options) {
  if (!contestant.worker) contestant.worker = contestant.start();
  const std::string model_path = options.folder + "/part.onnx";
  const std::string inputs_path = options.folder + "/part-inputs.npz";
  std::ofstream(model_path, std::ios::binary) << onnx::encode(model);
  write_npz(inputs_path, inputs);
  Json load = contestant.load;
  load["model"] = model_path;
  load["inputs"] = inputs_path;
  load["types"] = Json::object();
  load["order"] = Json::array();
  load.erase("outputs");
  for (const auto& [name, tensor] : inputs) {
    load["types"][name] = onnx_name(tensor.dtype());
    load["order"].push_back(name);
  }
  contestant.worker->call(load, options.timeout_s);
  std::vector<DType> declared;
  for (const auto& output : model.graph.outputs) declared.push_back(output.type.element);
  return fetch_outputs(*contestant.worker, options.folder + "/part-outputs.npz", declared,
                       options.timeout_s);
}

}  // namespace onrush::engines
