// What the commands that measure have in common.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "engines/contest.h"
#include "engines/temporary_folder.h"
#include "measure/gpu.h"
#include "measure/process.h"
#include "measure/report.h"
#include <onrush/session.h>

namespace onrush::cli {

// Throws Error{invalid_argument} for a file that cannot be written, before hours are spent.
void check_writable(const std::string& path);

// Files that a report is written to besides being printed; empty: none.
struct ReportFiles {
  std::string json, csv, markdown;

  void check() const;                               // that they can be written
  void write(const measure::Report& report) const;  // csv has the first table
};

// A model as the engines are given it.
struct MeasuredModel {
  explicit MeasuredModel(const std::string& path);

  std::string path;  // absolute: a peer may work in another folder
  std::vector<Argument> inputs, outputs;
};

// A set of inputs, as a file that all engines read.
struct InputFile {
  // Throws Error{unsupported} for inputs that are no tensors.
  InputFile(const MeasuredModel& model, const InputTexts& texts, const std::string& path);

  std::string path;
  measure::Json types = measure::Json::object();  // by input, where numpy lacks the type
  measure::Json order = measure::Json::array();   // of the inputs in the model
  std::string shapes;                             // "x 1x3x224x224"
  std::string hint;  // for errors: which sizes had to be guessed; may be empty
};

// Where and how all engines run.
struct Setting {
  std::string device = "cpu";
  std::string placement;  // "host" or "device"
  std::string precision = "standard";
  int threads = 0;    // 0: one a processor
  bool tune = false;  // Onrush on a GPU only
};
// What an engine is asked to load, see engines/onrush_engine.h.
measure::Json load_request(const MeasuredModel& model, const InputFile& inputs,
                           const Setting& setting);
int thread_count(int chosen);

// A contestant that is Onrush itself.
engines::Contestant onrush_contestant(const std::string& name, measure::Json load,
                                      const std::string& folder);

// None for the CPU, and where NVML does not tell. REQUIRES what Worker::fork does.
std::optional<measure::Gpu> find_gpu(const std::string& device, const std::string& folder);

// Model, processor or GPU, versions, threads.
void add_machine_facts(measure::Report& report, const MeasuredModel& model, const Setting& setting,
                       const std::optional<measure::Gpu>& gpu);

// Sees how busy the machine is with other things from construction on.
class OtherWork {
 public:
  // Empty if nothing else of note ran. `own_seconds`: of processor time, used by the engines.
  std::vector<std::string> remarks(double own_seconds) const;

 private:
  measure::ProcessorUse use_;
  measure::Stopwatch watch_;
};

}  // namespace onrush::cli
